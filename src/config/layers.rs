//! A layer: what one source gives, by key, not yet given a type.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag, a long one without its dashes.
    CommandLine(&'static str),
    /// An environment variable.
    Environment(String),
    File {
        path: PathBuf,
        line: u64,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::CommandLine(flag) if flag.starts_with('-') => f.write_str(flag),
            Source::CommandLine(flag) => write!(f, "--{flag}"),
            Source::Environment(name) => f.write_str(name),
            Source::File { path, line } => write!(f, "{}, line {line}", path.display()),
        }
    }
}

/// A value as written. A flag or a variable is a bare word and may stand for any type; YAML has types of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    Word(String),
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    /// Of texts.
    List(Vec<String>),
    /// Texts by name.
    Table(Vec<(String, String)>),
    /// Anything else that is no single value.
    Group,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Written::Word(text) | Written::Text(text) => write!(f, "`{text}`"),
            Written::Null => f.write_str("null"),
            Written::Bool(value) => write!(f, "{value}"),
            Written::Integer(value) => write!(f, "{value}"),
            Written::Float(value) => write!(f, "{value}"),
            Written::List(_) => f.write_str("a list"),
            Written::Table(_) | Written::Group => f.write_str("a group of keys"),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Given {
    pub written: Written,
    pub source: Source,
    /// What a relative path is relative to; in a file it is refused, since a daemon and its caller may stand elsewhere.
    pub base: Option<PathBuf>,
    /// What `~/` stands for; a shell has expanded it on the command line.
    pub home: Option<PathBuf>,
}

/// Every key is one of the table's: whoever fills a layer checks that.
#[derive(Debug, Clone, Default)]
pub struct Layer(pub BTreeMap<&'static str, Given>);

impl Layer {
    /// Both; where they say different things, what `other` says.
    pub fn with(mut self, other: Layer) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// What the first of `layers`, highest first, says of `key`.
pub fn highest<'a>(layers: &'a [Layer], key: &str) -> Option<&'a Given> {
    layers.iter().find_map(|layer| layer.0.get(key))
}
