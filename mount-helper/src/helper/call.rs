//! The arguments that mount(8) gives, taken apart. Pure: nothing here looks at the machine.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::options::Options;

/// What may be mounted, as the first word of a line in fstab.
const SOURCES: [&str; 1] = ["hub"];

/// Said as it is; the program's name stands before it.
pub type Wrong = String;

/// One call of this program.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    Help,
    Version,
    Mount(Box<Request>),
}

/// What to mount, where and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// As it shows in the list of mounts. mount(8) compares it with fstab to tell what is mounted already.
    pub source: String,
    pub directory: PathBuf,
    /// The mount namespace to do it in.
    pub namespace: Option<PathBuf>,
    /// Everything but the mount itself.
    pub fake: bool,
    pub verbose: bool,
    pub options: Options,
}

/// Arguments as far as they have been read.
#[derive(Default)]
struct Reading {
    /// Source and directory.
    places: Vec<OsString>,
    namespace: Option<PathBuf>,
    fake: bool,
    verbose: bool,
    options: Options,
}

/// The program's arguments without its name: `SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`, in any order.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Call, Wrong> {
    let mut arguments = arguments.into_iter();
    let mut reading = Reading::default();
    while let Some(argument) = arguments.next() {
        match argument.as_bytes() {
            b"--" => reading.places.extend(arguments.by_ref()),
            b"-h" | b"--help" => return Ok(Call::Help),
            b"-V" | b"--version" => return Ok(Call::Version),
            [b'-', b'-', ..] => return Err(unknown_flag(&argument)),
            [b'-', letters @ ..] if !letters.is_empty() => reading.flags(letters, &argument, &mut arguments)?,
            _ => reading.places.push(argument),
        }
    }
    reading.request().map(|request| Call::Mount(Box::new(request)))
}

impl Reading {
    /// Flags behind one dash; the value of the last one may be the rest of it, or the next argument.
    fn flags(
        &mut self,
        letters: &[u8],
        argument: &OsStr,
        more: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Wrong> {
        for (at, letter) in letters.iter().enumerate() {
            match letter {
                // Unknown settings are found out by the program that has them; there is no mtab any more.
                b's' | b'n' => {}
                b'f' => self.fake = true,
                b'v' => self.verbose = true,
                b'o' | b't' | b'N' => {
                    let rest = Some(&letters[at + 1..]).filter(|rest| !rest.is_empty());
                    let value = rest.map(|rest| OsString::from_vec(rest.to_vec())).or_else(|| more.next());
                    let value = value.ok_or_else(|| format!("-{} wants a value behind it", char::from(*letter)))?;
                    return self.value(*letter, value);
                }
                _ => return Err(unknown_flag(argument)),
            }
        }
        Ok(())
    }

    fn value(&mut self, letter: u8, value: OsString) -> Result<(), Wrong> {
        match letter {
            b'o' => self.options.add(&value)?,
            b't' => check_type(&value)?,
            _ => self.namespace = Some(namespace_path(value)),
        }
        Ok(())
    }

    fn request(self) -> Result<Request, Wrong> {
        let Self { places, namespace, fake, verbose, options } = self;
        let [source, directory] = <[OsString; 2]>::try_from(places).map_err(|places| match places.as_slice() {
            [] => "it wants what to mount and where: mount.weightfs hub DIR [-o OPTIONS]".to_owned(),
            [one] => format!("it wants what to mount before where: mount.weightfs hub {}", one.display()),
            [_, _, more @ ..] => {
                let more: Vec<_> = more.iter().map(|word| word.display().to_string()).collect();
                format!("`{}` is too much; quote what has spaces in it", more.join(" "))
            }
        })?;
        Ok(Request { source: check_source(&source)?, directory: directory.into(), namespace, fake, verbose, options })
    }
}

fn unknown_flag(argument: &OsStr) -> Wrong {
    format!(
        "`{}` is no flag of it; `mount.weightfs --help` shows them, and settings stand behind -o",
        argument.display()
    )
}

fn check_type(kind: &OsStr) -> Result<(), Wrong> {
    match kind.as_bytes() {
        b"weightfs" | b"fuse.weightfs" => Ok(()),
        _ => Err(format!("-t {}: the type is weightfs or fuse.weightfs", kind.display())),
    }
}

fn check_source(source: &OsStr) -> Result<String, Wrong> {
    let known = SOURCES.into_iter().find(|known| source == *known);
    known.map(str::to_owned).ok_or_else(|| {
        format!("`{}` cannot be mounted; what can: {} (the Hugging Face Hub)", source.display(), SOURCES.join(", "))
    })
}

/// mount(8) takes a process's number or a file.
fn namespace_path(value: OsString) -> PathBuf {
    match value.to_str().map(str::parse::<u32>) {
        Some(Ok(pid)) => format!("/proc/{pid}/ns/mnt").into(),
        _ => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Call, Wrong> {
        parse(line.split(' ').filter(|word| !word.is_empty()).map(OsString::from))
    }

    fn request(line: &str) -> Request {
        match call(line) {
            Ok(Call::Mount(request)) => *request,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn wrong(line: &str) -> String {
        call(line).unwrap_err()
    }

    #[test]
    fn a_call_of_mount_8_is_understood_in_every_order_it_has() {
        let plain = request("hub /mnt/hf -o rw");
        assert_eq!((plain.source.as_str(), plain.directory.to_str()), ("hub", Some("/mnt/hf")));
        assert_eq!((plain.fake, plain.verbose), (false, false));
        assert_eq!(plain.options, Options::default());
        for line in
            ["hub /mnt -sfnv -t weightfs -o offline", "-o offline -v -s hub -n /mnt -f", "-fvooffline -- hub /mnt"]
        {
            let full = request(line);
            assert_eq!((full.fake, full.verbose), (true, true), "{line}");
            assert_eq!(full.options.words, ["--offline"], "{line}");
        }
        assert_eq!(request("hub /mnt -o offline -otoken_file=/t").options.words, ["--offline", "--token-file=/t"]);
        assert_eq!(request("hub /mnt -N 12").namespace.unwrap(), PathBuf::from("/proc/12/ns/mnt"));
        assert_eq!(request("hub /mnt -N /run/netns/a").namespace.unwrap(), PathBuf::from("/run/netns/a"));
        assert_eq!(call("--help"), Ok(Call::Help));
        assert_eq!(call("hub -V"), Ok(Call::Version));
    }

    #[test]
    fn a_wrong_call_is_told_what_is_wrong() {
        assert!(wrong("").contains("what to mount and where"));
        assert!(wrong("/mnt").contains("mount.weightfs hub /mnt"));
        assert!(wrong("hub /mnt more").contains("`more` is too much"));
        assert!(wrong("s3 /mnt").contains("what can: hub"));
        assert!(wrong("hub /mnt -t ext4").contains("weightfs or fuse.weightfs"));
        assert!(wrong("hub /mnt -x").contains("`-x` is no flag"));
        assert!(wrong("hub /mnt --offline").contains("settings stand behind -o"));
        assert!(wrong("hub /mnt -o").contains("-o wants a value"));
    }
}
