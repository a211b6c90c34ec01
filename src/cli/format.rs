//! How a command prints what it found: for people, or for programs.

use clap::ValueEnum;
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    #[value(alias = "table")]
    Human,
    /// For programs, in one line; docs/CLI.md names the fields
    Json,
    /// The same, indented
    JsonPretty,
}

/// The command failed and has said so already.
#[derive(Debug, thiserror::Error)]
#[error("the command has said what failed")]
pub struct Reported;

impl Format {
    pub fn is_human(self) -> bool {
        self == Format::Human
    }

    /// One of both, on standard output.
    pub fn print(self, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) -> anyhow::Result<()> {
        match self {
            Format::Human => super::print(&text()),
            Format::Json => super::print(&format!("{}\n", value())),
            Format::JsonPretty => super::print(&format!("{:#}\n", value())),
        }
    }

    /// What was done, and what of it went wrong. `value` is an object, which gets `success` and `error`.
    pub fn finish(self, text: &str, mut value: Value, problem: Option<String>) -> anyhow::Result<()> {
        if let Some(fields) = value.as_object_mut() {
            fields.insert("success".to_owned(), problem.is_none().into());
            if let Some(problem) = &problem {
                fields.insert("error".to_owned(), problem.as_str().into());
            }
        }
        self.print(|| text.to_owned(), || value)?;
        match problem {
            None => Ok(()),
            Some(problem) if self.is_human() => Err(anyhow::Error::msg(problem)),
            Some(_) => Err(Reported.into()),
        }
    }

    /// An error that nothing else is to be told with.
    pub fn fail(self, error: &anyhow::Error) {
        if error.is::<Reported>() {
            return;
        }
        let sentence = super::sentence(error);
        let told =
            !self.is_human() && self.print(String::new, || json!({ "success": false, "error": sentence })).is_ok();
        if !told {
            eprintln!("weightfs: {sentence}");
        }
    }
}
