//! Where log lines go and which.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::{Config, LogFormat, LogLevel, Source};

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("{path}: cannot write the log: {cause}; set logging.file to another place")]
    File { path: PathBuf, cause: io::Error },
    #[error("RUST_LOG is `{filter}`, which is no filter: {cause}")]
    Filter { filter: String, cause: String },
}

/// Once a process.
pub fn init(config: &Config) -> Result<(), LoggingError> {
    let settings = &config.settings;
    let flag = match config.source("logging.level") {
        Some(Source::CommandLine(flag)) => Some(*flag),
        _ => None,
    };
    let filter = choose_filter(settings.logging_level, flag, config.surroundings.variable("RUST_LOG"));
    let filter = EnvFilter::try_new(&filter)
        .map_err(|cause| LoggingError::Filter { filter: filter.clone(), cause: cause.to_string() })?;
    let (writer, colours) = match &settings.logging_file {
        None => (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal()),
        Some(path) => {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
            let file = file.map_err(|cause| LoggingError::File { path: path.clone(), cause })?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        }
    };
    let structured = settings.logging_structured;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(writer);
    let lines = lines.with_file(structured).with_line_number(structured).with_thread_names(structured);
    let first = match settings.logging_format {
        LogFormat::Pretty => lines.try_init(),
        LogFormat::Compact => lines.compact().try_init(),
        LogFormat::Json => lines.json().flatten_event(structured).try_init(),
    };
    // Only a second call in one process fails, and then the first one's log is as good.
    if first.is_ok() {
        for remark in &config.remarks {
            tracing::warn!("{remark}");
        }
    }
    Ok(())
}

/// The flag that asks for everything, also what the crates below us log.
pub const EVERYTHING: &str = "-vvv";

/// Beyond this the AWS crates log requests with their session tokens, and the keys that come back.
const NO_SECRETS: &str = "aws_config=debug,aws_runtime=debug,aws_sigv4=debug,aws_smithy_runtime=debug";

/// RUST_LOG is finer than a level, so it wins, but not over what was typed just now.
fn choose_filter(level: LogLevel, flag: Option<&str>, rust_log: Option<&str>) -> String {
    if let Some(filter) = rust_log.filter(|_| flag.is_none()) {
        return filter.to_owned();
    }
    if flag == Some(EVERYTHING) {
        return format!("trace,{NO_SECRETS}");
    }
    match level {
        LogLevel::Error => format!("error,{QUIET}"),
        LogLevel::Warn => format!("warn,{QUIET}"),
        LogLevel::Info => format!("info,{QUIET}"),
        LogLevel::Debug | LogLevel::Trace => format!("info,{QUIET},weightfs={}", level.as_str()),
    }
}

/// The FUSE crate logs what it does with every request. Those of Xet log every range, and every range that is not wanted
/// any more as a warning, and that of AWS every way to credentials that leads nowhere; what matters of theirs, `origin` says.
const QUIET: &str = "fuser=warn,xet_client=off,xet_data=off,xet_runtime=off,aws_config=off";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_wins_over_the_level_and_the_flag_over_rust_log() {
        assert_eq!(choose_filter(LogLevel::Info, None, Some("weightfs::cache=trace")), "weightfs::cache=trace");
        assert_eq!(
            choose_filter(LogLevel::Warn, Some("log-level"), Some("weightfs::cache=trace")),
            format!("warn,{QUIET}")
        );
        assert_eq!(choose_filter(LogLevel::Debug, None, None), format!("info,{QUIET},weightfs=debug"));
        assert!(choose_filter(LogLevel::Trace, Some(EVERYTHING), Some("off")).starts_with("trace,"));
    }

    #[test]
    fn every_level_makes_a_filter() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace] {
            EnvFilter::try_new(choose_filter(level, None, None)).unwrap();
        }
        EnvFilter::try_new(choose_filter(LogLevel::Trace, Some(EVERYTHING), None)).unwrap();
    }
}
