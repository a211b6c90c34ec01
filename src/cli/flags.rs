//! Flags for settings, made from the table of settings.

use std::ffi::OsString;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Config, Flag, Given, Layer, SETTINGS, Setting, Source, Written};

/// `--config` and the flags of every command.
#[derive(Debug, Clone, Default)]
pub struct CommonFlags {
    pub config: Option<PathBuf>,
    pub layer: Layer,
}

/// The flags of those commands that may start a daemon.
pub type DaemonFlags = SettingFlags<OfDaemon>;
/// The same and those of the one that serves other machines.
pub type ServeFlags = SettingFlags<OfServe>;
/// Those of a daemon and those of a mount.
pub type MountFlags = SettingFlags<OfMount>;

#[derive(Debug, Clone, Default)]
pub struct SettingFlags<K> {
    pub layer: Layer,
    kind: PhantomData<K>,
}

/// Which settings have a flag there.
pub trait FlagKind {
    fn flag(setting: &Setting) -> Option<&'static str>;
}

#[derive(Debug, Clone, Default)]
pub struct OfDaemon;
#[derive(Debug, Clone, Default)]
pub struct OfMount;
#[derive(Debug, Clone, Default)]
pub struct OfServe;

impl FlagKind for OfDaemon {
    fn flag(setting: &Setting) -> Option<&'static str> {
        match setting.flag {
            Flag::Daemon(flag) => Some(flag),
            _ => None,
        }
    }
}

impl FlagKind for OfMount {
    fn flag(setting: &Setting) -> Option<&'static str> {
        match setting.flag {
            Flag::Daemon(flag) | Flag::Mount(flag) => Some(flag),
            _ => None,
        }
    }
}

impl FlagKind for OfServe {
    fn flag(setting: &Setting) -> Option<&'static str> {
        match setting.flag {
            Flag::Daemon(flag) | Flag::Serve(flag) => Some(flag),
            _ => None,
        }
    }
}

fn common_flag(setting: &Setting) -> Option<&'static str> {
    match setting.flag {
        Flag::All(flag) => Some(flag),
        _ => None,
    }
}

fn argument(setting: &'static Setting, flag: &'static str) -> Arg {
    let check = move |word: String| match setting.check(&given(flag, &word)) {
        Ok(()) => Ok(word),
        Err(_) => Err(format!("it must be {}", setting.expected())),
    };
    let argument = Arg::new(setting.key)
        .long(flag)
        .value_name(setting.hint)
        .value_parser(StringValueParser::new().try_map(check))
        .help(setting.help)
        .long_help(format!(
            "{}.\n\nDefault: {}. In the file `{}`, in the environment {}.",
            setting.help,
            setting.default,
            setting.key,
            setting.variable()
        ));
    match setting.is_switch() {
        true => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        false => argument,
    }
}

/// The flags that this command was given, for another call of this program.
pub fn words(config: &Config) -> Vec<OsString> {
    let mut words = Vec::new();
    if let Some(file) = &config.file {
        words.extend(["--config".into(), file.clone().into()]);
    }
    for given in config.command_line().0.values() {
        if let (Source::CommandLine(flag), Written::Word(word)) = (&given.source, &given.written) {
            words.push(format!("--{flag}={word}").into());
        }
    }
    words
}

fn given(flag: &'static str, word: &str) -> Given {
    Given {
        written: Written::Word(word.to_owned()),
        source: Source::CommandLine(flag),
        base: std::env::current_dir().ok(),
        // The shell has expanded `~`.
        home: None,
    }
}

fn layer(matches: &ArgMatches, flag: fn(&Setting) -> Option<&'static str>) -> Layer {
    let mut layer = Layer::default();
    for setting in SETTINGS {
        let Some(flag) = flag(setting) else { continue };
        if let Some(word) = matches.get_one::<String>(setting.key) {
            layer.0.insert(setting.key, given(flag, word));
        }
    }
    layer
}

impl Args for CommonFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .global(true)
            .help("A YAML file with settings")
            .long_help(
                "A YAML file with settings, instead of WEIGHTFS_CONFIG and /etc/weightfs/config.yaml (for root) or \
                 $XDG_CONFIG_HOME/weightfs/config.yaml (for a user).",
            );
        let flags = SETTINGS.iter().filter_map(|setting| Some(argument(setting, common_flag(setting)?).global(true)));
        command.next_help_heading("Options of every command").arg(config).args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for CommonFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { config: matches.get_one("config").cloned(), layer: layer(matches, common_flag) })
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Err(clap::Error::new(ErrorKind::InvalidSubcommand))
    }
}

impl<K: FlagKind> Args for SettingFlags<K> {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().filter_map(|setting| Some(argument(setting, K::flag(setting)?))))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<K: FlagKind> FromArgMatches for SettingFlags<K> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { layer: layer(matches, K::flag), kind: PhantomData })
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Err(clap::Error::new(ErrorKind::InvalidSubcommand))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};

    /// Key and word of everything that `line` sets.
    fn parse(line: &str) -> Result<Vec<(&'static str, String)>, String> {
        let cli = Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        let mut layer = cli.common.layer;
        if let Command::Mount(mount) = cli.command {
            layer = layer.with(mount.settings.layer);
        }
        Ok(layer.0.into_iter().map(|(key, given)| (key, given.written.to_string())).collect())
    }

    #[test]
    fn flags_of_every_command_stand_before_or_after_it() {
        let expected = vec![("logging.level", "`debug`".to_owned())];
        assert_eq!(parse("weightfs --log-level debug status").unwrap(), expected);
        assert_eq!(parse("weightfs status --log-level debug").unwrap(), expected);
        assert_eq!(parse("weightfs mount /x").unwrap(), []);
    }

    #[test]
    fn a_switch_needs_no_value_and_may_have_one() {
        assert_eq!(parse("weightfs mount --offline /x").unwrap(), [("hub.offline", "`true`".to_owned())]);
        assert_eq!(parse("weightfs mount --offline=no /x").unwrap(), [("hub.offline", "`no`".to_owned())]);
    }

    #[test]
    fn a_wrong_value_is_a_usage_error_that_says_what_is_allowed() {
        let error = parse("weightfs status --log-level loud").unwrap_err();
        assert!(error.contains("invalid value 'loud' for '--log-level <LEVEL>'"), "{error}");
        assert!(error.contains("one of error, warn, info, debug, trace"), "{error}");
        assert!(parse("weightfs mount /x --hub-endpoint nowhere").unwrap_err().contains("http:// or https://"));
    }
}
