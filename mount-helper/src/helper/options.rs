//! The text behind `-o` of mount(8), taken apart. Pure: nothing here looks at the machine.
//!
//! The settings are not known here. What is neither mount(8)'s, the kernel's nor the helper's own goes on to
//! `weightfs mount` as a flag, and that program says what is wrong with it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::mount::MsFlags;

use super::call::Wrong;

/// What stands behind `-o`.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose daemon it is to be.
    pub run_as: Option<String>,
    pub program: Option<PathBuf>,
    /// Whether others than the daemon's user may enter, where it is said.
    pub allow_other: Option<bool>,
    pub flags: MsFlags,
    /// For the kernel, as it was written.
    pub contexts: Vec<OsString>,
    /// For `weightfs mount`.
    pub words: Vec<OsString>,
    /// One of those words too.
    pub cache_directory: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            run_as: None,
            program: None,
            allow_other: None,
            flags: MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            contexts: Vec::new(),
            words: Vec::new(),
            cache_directory: None,
        }
    }
}

/// For mount(8) itself, fstab(5), systemd, or what holds for every mount of ours; nothing is to be done about it.
const PASSED_OVER: [&str; 36] = [
    "rw",
    "defaults",
    "auto",
    "noauto",
    "nofail",
    "_netdev",
    "user",
    "nouser",
    "users",
    "nousers",
    "owner",
    "noowner",
    "group",
    "nogroup",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "async",
    "sync",
    "dirsync",
    "mand",
    "nomand",
    "loud",
    "silent",
    "iversion",
    "noiversion",
    "lazytime",
    "nolazytime",
    "norelatime",
    "nostrictatime",
    "nosymfollow",
    "symfollow",
    "default_permissions",
    "nodefaults",
    "nonempty",
];
/// The same with a value.
const PASSED_OVER_WITH_VALUE: [&str; 5] = ["comment", "user", "uhelper", "helper", "nofail"];
const CONTEXTS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];
/// Shorter names than the flags' own.
const SHORT_NAMES: [(&str, &str); 2] = [("cache_dir", "cache-directory"), ("endpoint", "hub-endpoint")];
/// Flags that have no sense here, and why.
const REFUSED: [(&str, &str); 12] = [
    ("ro", "a read-only HF_HOME breaks the programs that use it; models are protected without it: write rw"),
    ("remount", "a mount cannot be changed while it is there; unmount it and mount it again"),
    ("bind", "mount(8) itself makes bind mounts: leave out `-t weightfs`"),
    ("token", "everybody could read it in the list of processes; write it to a file and give token_file=FILE"),
    ("hf_token", "everybody could read it in the list of processes; write it to a file and give token_file=FILE"),
    ("foreground", "mount(8) waits for a mount in the background; use `weightfs mount --foreground DIR` without it"),
    ("held", "this program holds the mount; WEIGHTFS_DAEMON_HELD=false weightfs mount DIR does without"),
    ("daemon_held", "this program holds the mount; WEIGHTFS_DAEMON_HELD=false weightfs mount DIR does without"),
    ("auto_unmount", "it would end the mount when the daemon dies, and another one is to take over then"),
    ("allow_root", "allow_other lets root in and everybody else"),
    ("help", "`mount.weightfs --help` shows what can be written here"),
    ("version", "`mount.weightfs --version` shows it"),
];

impl Options {
    /// Takes in one `-o`. Of options that contradict each other the last one counts.
    pub fn add(&mut self, text: &OsStr) -> Result<(), Wrong> {
        for option in split(text.as_bytes())? {
            let (name, value) = match option.iter().position(|byte| *byte == b'=') {
                Some(at) => (&option[..at], Some(&option[at + 1..])),
                None => (option, None),
            };
            let name = str::from_utf8(name).ok().filter(|name| is_name(name)).ok_or_else(|| {
                format!("-o {}: a name has letters, digits and `_` only", OsStr::from_bytes(option).display())
            })?;
            self.take(name, value, option)?;
        }
        Ok(())
    }

    fn take(&mut self, name: &str, value: Option<&[u8]>, option: &[u8]) -> Result<(), Wrong> {
        let plain = name.replace('-', "_");
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == plain) {
            // Without its value: that may be the secret.
            return Err(format!("-o {name}: {why}"));
        }
        if is_passed_over(name, value.is_some()) || self.set_flag(name, value.is_some()) {
            return Ok(());
        }
        let text = value.map(unquoted);
        let needed = || format!("-o {name} wants a value: {name}=VALUE");
        match plain.as_str() {
            "run_as" => self.run_as = Some(utf8(text.ok_or_else(needed)?, name)?),
            "program" => self.program = Some(OsStr::from_bytes(text.ok_or_else(needed)?).into()),
            _ if CONTEXTS.contains(&plain.as_str()) => self.contexts.push(OsStr::from_bytes(option).to_owned()),
            _ => {
                match plain.as_str() {
                    "allow_other" => self.allow_other = Some(is_on(text)),
                    "cache_dir" | "cache_directory" => {
                        self.cache_directory = text.map(|text| OsStr::from_bytes(text).into());
                    }
                    _ => {}
                }
                self.words.push(word(&plain, text));
            }
        }
        Ok(())
    }

    /// Whether it is one of those flags of the kernel that make a difference on such a mount.
    fn set_flag(&mut self, name: &str, has_value: bool) -> bool {
        let (flag, on) = match name {
            "noexec" => (MsFlags::MS_NOEXEC, true),
            "exec" => (MsFlags::MS_NOEXEC, false),
            "noatime" => (MsFlags::MS_NOATIME, true),
            "atime" => (MsFlags::MS_NOATIME, false),
            "nodiratime" => (MsFlags::MS_NODIRATIME, true),
            "diratime" => (MsFlags::MS_NODIRATIME, false),
            "relatime" => (MsFlags::MS_RELATIME, true),
            "strictatime" => (MsFlags::MS_STRICTATIME, true),
            _ => return false,
        };
        self.flags.set(flag, on);
        !has_value
    }
}

fn is_passed_over(name: &str, has_value: bool) -> bool {
    // `x-` is for programs in general, `X-` the same without a record of it.
    let foreign = name.starts_with("x-") || name.starts_with("X-");
    foreign || if has_value { PASSED_OVER_WITH_VALUE.contains(&name) } else { PASSED_OVER.contains(&name) }
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    // What begins with `-` would be another flag.
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && name.bytes().all(is_part)
}

/// A flag of `weightfs mount`.
fn word(name: &str, value: Option<&[u8]>) -> OsString {
    let name = match SHORT_NAMES.iter().find(|(short, _)| *short == name) {
        Some((_, flag)) => (*flag).to_owned(),
        None => name.replace('_', "-"),
    };
    let mut word = OsString::from(format!("--{name}"));
    if let Some(value) = value {
        word.push("=");
        word.push(OsStr::from_bytes(value));
    }
    word
}

fn utf8(value: &[u8], name: &str) -> Result<String, Wrong> {
    str::from_utf8(value).map(str::to_owned).map_err(|_| format!("-o {name}: its value is no valid UTF-8"))
}

/// A switch as the settings read it; what they do not know they refuse.
fn is_on(value: Option<&[u8]>) -> bool {
    let off: [&[u8]; 4] = [b"false", b"0", b"no", b"off"];
    !value.is_some_and(|value| off.iter().any(|off| value.eq_ignore_ascii_case(off)))
}

/// At the commas, but for those within double quotes. Empty ones are left out, as mount(8) does.
fn split(text: &[u8]) -> Result<Vec<&[u8]>, Wrong> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if quoted {
        // Not the text itself: it may hold a secret that would be refused.
        return Err("-o: a double quote is not closed".to_owned());
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.is_empty());
    Ok(parts)
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Options, Wrong> {
        let mut options = Options::default();
        options.add(text.as_ref()).map(|()| options)
    }

    fn options(text: &str) -> Options {
        read(text).unwrap()
    }

    fn wrong(text: &str) -> String {
        read(text).unwrap_err()
    }

    #[test]
    fn what_is_for_others_is_passed_over() {
        let text = "rw,noexec,nosuid,nodev,nofail,_netdev,user,x-systemd.automount,x-systemd.idle-timeout=5,X-mount.mkdir,\
                    comment=hf,defaults,noauto,default_permissions,uhelper=x,users,owner,group,,";
        let options = options(text);
        assert_eq!(options.words, [] as [&str; 0]);
        assert!(options.flags.contains(MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV));
    }

    #[test]
    fn of_flags_that_contradict_each_other_the_last_one_counts() {
        assert!(!options("noexec,noatime,exec").flags.contains(MsFlags::MS_NOEXEC));
        assert!(options("noexec,noatime,exec").flags.contains(MsFlags::MS_NOATIME));
        assert!(options("suid,dev").flags.contains(MsFlags::MS_NOSUID | MsFlags::MS_NODEV));
    }

    #[test]
    fn settings_become_flags_of_the_program() {
        let text = "cache_dir=/c,max_size=9,endpoint=http://h/,token_file=/t,offline,passthrough=off,log_level=debug,\
                    runtime-directory=/r";
        let expected = [
            "--cache-directory=/c",
            "--max-size=9",
            "--hub-endpoint=http://h/",
            "--token-file=/t",
            "--offline",
            "--passthrough=off",
            "--log-level=debug",
            "--runtime-directory=/r",
        ];
        assert_eq!(options(text).words, expected);
    }

    #[test]
    fn a_quoted_value_keeps_its_commas() {
        let options = options(r#"token_file="/a,b=c",context="system_u:object_r:x_t:s0:c1,c2",offline"#);
        assert_eq!(options.words, ["--token-file=/a,b=c", "--offline"]);
        assert_eq!(options.contexts, [r#"context="system_u:object_r:x_t:s0:c1,c2""#]);
        assert!(wrong(r#"token_file="/a,b"#).contains("not closed"));
    }

    #[test]
    fn who_runs_it_and_who_may_enter_is_for_the_helper() {
        let options = options("run_as=alice,program=/opt/weightfs,allow_other");
        assert_eq!((options.run_as.as_deref(), options.allow_other), (Some("alice"), Some(true)));
        assert_eq!(options.program, Some("/opt/weightfs".into()));
        assert_eq!(options.words, ["--allow-other"]);
        assert_eq!(self::options("allow_other=no").allow_other, Some(false));
        assert!(wrong("run_as").contains("run_as=VALUE"));
    }

    #[test]
    fn what_has_no_sense_is_refused_and_a_secret_is_not_repeated() {
        assert!(wrong("ro").contains("read-only"));
        assert!(wrong("remount,rw").contains("unmount it"));
        for line in ["token=hf_secret", "hf-token=hf_secret", "token=\"hf_secret"] {
            let said = wrong(line);
            assert!(!said.contains("hf_secret"), "{said}");
        }
        assert!(wrong("token=x").contains("token_file"));
        assert!(wrong("foreground").contains("--foreground"));
    }

    #[test]
    fn no_option_becomes_another_word_than_one_flag() {
        for text in ["-evil", "--config=/x", "=x", "a b", "näme=1"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(options("cache_dir=/with space --evil").words, ["--cache-directory=/with space --evil"]);
    }
}
