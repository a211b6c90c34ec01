//! Where models lie beside the Hub, as a configuration names it.

use std::fmt;
use std::path::PathBuf;

use super::{RepoId, RepoType};

/// A place that holds the files of one model, or a cache of many.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SourcePlace {
    /// `s3://bucket/prefix`, without a slash at its end.
    Bucket(Prefix),
    /// An absolute path.
    Directory(PathBuf),
}

/// What lies below a prefix of a bucket. The empty prefix is the whole bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix {
    pub bucket: String,
    pub prefix: String,
}

impl Prefix {
    /// From `bucket/prefix`; `None` if it is no bucket's name or no plain path.
    pub fn new(text: &str) -> Option<Self> {
        let repo = RepoId::new(RepoType::Bucket, text.trim_end_matches('/')).ok()?;
        let (bucket, prefix) = repo.name().split_once('/').unwrap_or((repo.name(), ""));
        Some(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// The repository that it is by itself, under `s3/`.
    pub fn repo(&self) -> RepoId {
        let name = match self.prefix.as_str() {
            "" => self.bucket.clone(),
            prefix => format!("{}/{prefix}", self.bucket),
        };
        RepoId::new(RepoType::Bucket, &name).expect("it was read from one")
    }
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourcePlace::Bucket(prefix) => prefix.repo().fmt(f),
            SourcePlace::Directory(path) => path.display().fmt(f),
        }
    }
}
