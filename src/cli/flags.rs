//! Flags for settings, made from the table of settings.

use std::ffi::OsString;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Config, Flag, Given, Layer, SETTINGS, Setting, Source, Written};
use crate::daemon::logging::EVERYTHING;

use super::format::Format;

/// `--config` and the flags of every command.
#[derive(Debug, Clone, Default)]
pub struct CommonFlags {
    pub config: Option<PathBuf>,
    pub layer: Layer,
    pub format: Format,
    /// Only look whether the settings are right.
    pub validate: bool,
}

/// Where the level of the log comes from with `-q`.
const QUIET: &str = "-q";

/// Whether nothing but results and errors is to be told.
pub fn is_quiet(config: &Config) -> bool {
    config.source("logging.level") == Some(&Source::CommandLine(QUIET))
}

/// More flags of those commands that may start a daemon.
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
    let argument = match flag {
        "endpoint" => argument.short('e').alias("server-endpoint"),
        "timeout" => argument.short('t'),
        // As the original's command line has it.
        "cache-directory" => argument.aliases(["cache-path", "storage-path"]),
        _ => argument,
    };
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
        match (&given.source, &given.written) {
            // How much this command prints is not how much a daemon logs.
            (Source::CommandLine(QUIET), _) => {}
            (Source::CommandLine(flag), _) if flag.starts_with('-') => words.push(flag.into()),
            (Source::CommandLine(flag), Written::Word(word)) => words.push(format!("--{flag}={word}").into()),
            _ => {}
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

fn verbosity(matches: &ArgMatches) -> Option<(&'static str, &'static str)> {
    match matches.get_count("verbose") {
        0 if matches.get_flag("quiet") => Some((QUIET, "error")),
        0 => None,
        1 => Some(("-v", "debug")),
        2 => Some(("-vv", "trace")),
        _ => Some((EVERYTHING, "trace")),
    }
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
        let validate = Arg::new("validate-config")
            .long("validate-config")
            .action(ArgAction::SetTrue)
            .global(true)
            .help("Do nothing but check the settings; exit status 0 or 1");
        let format = Arg::new("format")
            .long("format")
            .short('f')
            .value_name("FORMAT")
            .value_parser(clap::value_parser!(Format))
            .default_value("human")
            .global(true)
            .help("How to print results and errors");
        let verbose = Arg::new("verbose")
            .long("verbose")
            .short('v')
            .action(ArgAction::Count)
            .global(true)
            .help("Log more: -v debug, -vv trace, -vvv also of the libraries; --log-level wins");
        let quiet = Arg::new("quiet")
            .long("quiet")
            .short('q')
            .action(ArgAction::SetTrue)
            .global(true)
            .help("Show no progress, and log errors only; -v and --log-level win");
        let flags = SETTINGS.iter().filter_map(|setting| Some(argument(setting, common_flag(setting)?).global(true)));
        let command = command.next_help_heading("Options of every command");
        command.args([config, validate, format, verbose, quiet]).args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for CommonFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut layer = layer(matches, common_flag);
        if let Some((flag, level)) = verbosity(matches) {
            layer.0.entry("logging.level").or_insert_with(|| given(flag, level));
        }
        Ok(Self {
            config: matches.get_one("config").cloned(),
            layer,
            format: matches.get_one("format").copied().unwrap_or_default(),
            validate: matches.get_flag("validate-config"),
        })
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
        if let Some(Command::Mount(mount)) = cli.command {
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
        let cache = vec![("cache.directory", "`/c`".to_owned())];
        for line in ["weightfs --cache-path /c model list", "weightfs model list --cache-directory /c"] {
            assert_eq!(parse(line).unwrap(), cache, "{line}");
        }
    }

    #[test]
    fn verbosity_is_a_level_unless_one_is_given() {
        let level = |line: &str| parse(line).unwrap().first().map(|(_, word)| word.clone());
        let word = |word: &str| Some(format!("`{word}`"));
        assert_eq!(level("weightfs status"), None);
        assert_eq!(level("weightfs -v status"), word("debug"));
        assert_eq!(level("weightfs status -vv"), word("trace"));
        assert_eq!(level("weightfs -q status"), word("error"));
        assert_eq!(level("weightfs -vv status --log-level warn"), word("warn"));
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
