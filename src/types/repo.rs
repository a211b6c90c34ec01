//! How the Hub names a repository, a revision and a commit.

use std::fmt;
use std::str::FromStr;

use super::RepoPath;

/// The kinds of repository: the Hub's four, each with its own folder prefix and API path, and those of other origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RepoType {
    Model,
    Dataset,
    Space,
    Kernel,
    /// What lies below a prefix of an S3 bucket: `BUCKET/PREFIX`.
    Bucket,
    /// A directory of this machine under the name that the configuration gives it.
    Directory,
}

impl RepoType {
    /// The Hub's own.
    pub const HUB: [RepoType; 4] = [RepoType::Model, RepoType::Dataset, RepoType::Space, RepoType::Kernel];

    /// `models`, `datasets` …: the word in API paths and folder names.
    pub fn plural(self) -> &'static str {
        match self {
            RepoType::Model => "models",
            RepoType::Dataset => "datasets",
            RepoType::Space => "spaces",
            RepoType::Kernel => "kernels",
            RepoType::Bucket => "s3",
            RepoType::Directory => "dir",
        }
    }

    pub fn is_on_hub(self) -> bool {
        Self::HUB.contains(&self)
    }

    fn from_plural(word: &str) -> Option<Self> {
        Self::HUB.into_iter().find(|kind| kind.plural() == word)
    }
}

/// A repository by its kind and plain id: `org/name`, or `name` for the few without an organisation; `bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoId {
    kind: RepoType,
    name: String,
}

/// Why a text is not a repository's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a repository name: expected ORG/NAME or NAME of letters, digits, `-`, `_` and `.`, or s3://BUCKET/PREFIX or dir://NAME"
)]
pub struct ParseRepoError(pub String);

impl RepoId {
    /// The Hub's own limit on each part of a name.
    const MAX_PART: usize = 96;
    const MIN_BUCKET: usize = 3;

    pub fn new(kind: RepoType, name: &str) -> Result<Self, ParseRepoError> {
        let plausible = match kind {
            RepoType::Bucket => Self::is_bucket(name),
            RepoType::Directory => Self::is_part(name),
            _ => name.split('/').count() <= 2 && name.split('/').all(Self::is_part),
        };
        if !plausible {
            return Err(ParseRepoError(name.to_owned()));
        }
        Ok(Self { kind, name: name.to_owned() })
    }

    // Stores differ in what they allow; none allows what could be taken for another path.
    fn is_bucket(name: &str) -> bool {
        let bucket = name.split('/').next().unwrap_or(name);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        bucket.len() >= Self::MIN_BUCKET && bucket.chars().all(allowed) && RepoPath::new(name).is_ok()
    }

    // `--` is the folder's separator and the Hub forbids it, so a folder has one meaning only.
    fn is_part(part: &str) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty()
            && part.len() <= Self::MAX_PART
            && part.chars().all(allowed)
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            && !part.contains("--")
            && !part.contains("..")
    }

    /// The meaning of a folder below `hub/`: `models--org--name`.
    pub fn from_folder(folder: &str) -> Option<Self> {
        let (plural, name) = folder.split_once("--")?;
        let kind = RepoType::from_plural(plural)?;
        Self::new(kind, &name.replacen("--", "/", 1)).ok()
    }

    /// `models--org--name`, as huggingface_hub names the folder. `None` for what is not of the Hub's kinds.
    pub fn folder(&self) -> Option<String> {
        self.kind.is_on_hub().then(|| format!("{}--{}", self.kind.plural(), self.name.replace('/', "--")))
    }

    pub fn kind(&self) -> RepoType {
        self.kind
    }

    /// `org/name` or `name`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `org/name` for a model, `datasets/org/name` for the others, as on the Hub's pages; `s3://bucket/prefix`, `dir://name`.
impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RepoType::Model => f.write_str(&self.name),
            kind @ (RepoType::Bucket | RepoType::Directory) => write!(f, "{}://{}", kind.plural(), self.name),
            kind => write!(f, "{}/{}", kind.plural(), self.name),
        }
    }
}

/// Reads what `Display` writes.
impl FromStr for RepoId {
    type Err = ParseRepoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        for kind in [RepoType::Bucket, RepoType::Directory] {
            if let Some(name) = text.strip_prefix(kind.plural()).and_then(|rest| rest.strip_prefix("://")) {
                return Self::new(kind, name);
            }
        }
        if let Some((plural, name)) = text.split_once('/')
            && let Some(kind) = RepoType::from_plural(plural)
        {
            return Self::new(kind, name);
        }
        Self::new(RepoType::Model, text)
    }
}

/// A revision as asked for: a branch, a tag, `refs/pr/N` or a commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a revision: expected a branch, tag, refs/pr/N or commit")]
pub struct ParseRevisionError(pub String);

impl Revision {
    pub const MAIN: &'static str = "main";
    const MAX: usize = 255;

    /// Git's rules for ref names, as far as they keep a name from being a path or a command.
    pub fn new(text: &str) -> Result<Self, ParseRevisionError> {
        let bad_char = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
        let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
        if text.is_empty()
            || text.len() > Self::MAX
            || text.contains("..")
            || text.contains("@{")
            || text.starts_with('-')
            || text.ends_with('.')
            || text.chars().any(bad_char)
            || text.split('/').any(bad_part)
        {
            return Err(ParseRevisionError(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn main() -> Self {
        Self(Self::MAIN.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Forty hex digits name a commit, which never moves.
    pub fn as_commit(&self) -> Option<Commit> {
        self.0.parse().ok()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A revision as resolved: it names one tree of files and never changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commit([u8; 20]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a commit: expected 40 lower-case hex digits")]
pub struct ParseCommitError(pub String);

impl Commit {
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl FromStr for Commit {
    type Err = ParseCommitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 20];
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        if !lower || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(ParseCommitError(text.to_owned()));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_its_repo_name_each_other() {
        for folder in
            ["models--google-t5--t5-small", "models--gpt2", "datasets--org--d.1", "spaces--a--b", "kernels--a--b"]
        {
            let repo = RepoId::from_folder(folder).unwrap();
            assert_eq!(repo.folder().as_deref(), Some(folder));
            assert_eq!(repo.to_string().parse::<RepoId>().unwrap(), repo);
        }
    }

    #[test]
    fn what_lies_elsewhere_has_a_name_and_no_folder() {
        for text in ["s3://bucket", "s3://my.bucket/a/b@c", "dir://pvc"] {
            let repo: RepoId = text.parse().unwrap();
            assert_eq!((repo.to_string().as_str(), repo.folder()), (text, None));
        }
        for text in ["s3://", "s3://bucket/", "s3://bucket/../x", "s3://b u/x", "dir://", "dir://a/b", "dir://.."] {
            assert!(text.parse::<RepoId>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_repo_folder_is_refused() {
        for folder in [
            "models",
            "models--",
            "models----a",
            "model--a--b",
            "models--a--b--c",
            "models--..--b",
            ".locks",
            "models--a--.git",
        ] {
            assert_eq!(RepoId::from_folder(folder), None, "{folder}");
        }
    }

    #[test]
    fn a_revision_is_never_a_path_out_of_refs() {
        for text in ["", "..", "a/../b", "/a", "a/", "a b", "a\0", "-x", ".hidden", "a.lock", "a@{1}"] {
            assert!(Revision::new(text).is_err(), "{text:?}");
        }
        for text in ["main", "refs/pr/1", "v1.0", "feature/x"] {
            assert!(Revision::new(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn only_forty_lower_hex_digits_are_a_commit() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(text.parse::<Commit>().unwrap().to_string(), text);
        assert!(text.to_uppercase().parse::<Commit>().is_err());
        assert!(text[1..].parse::<Commit>().is_err());
    }
}
