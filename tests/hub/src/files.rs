//! The files of a commit to be, as a test or a folder gives them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::content::{Content, DiskFile};

/// Entries of a folder that are not content of the repository.
const NOT_CONTENT: [&str; 2] = [".hub", ".git"];

/// The complete tree of a commit: path in the repository to content.
///
/// `Files::new().text("config.json", "{}").disk("model.safetensors", "/data/m.safetensors")`, or from an array of
/// pairs: `Files::from([("config.json", "{}")])`.
#[derive(Clone, Debug, Default)]
pub struct Files(pub(crate) BTreeMap<String, Source>);

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Memory(Bytes),
    Disk(PathBuf),
}

impl Source {
    pub(crate) fn open(self) -> io::Result<Content> {
        match self {
            Source::Memory(bytes) => Ok(Content::Memory(bytes)),
            Source::Disk(path) => Ok(Content::Disk(DiskFile::look_at(path)?)),
        }
    }
}

impl Files {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn text(self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.bytes(path, text.into().into_bytes())
    }

    pub fn bytes(mut self, path: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        self.0.insert(path.into(), Source::Memory(bytes.into()));
        self
    }

    /// A file of the local disk, streamed from there whenever it is asked for.
    pub fn disk(mut self, path: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        self.0.insert(path.into(), Source::Disk(file.into()));
        self
    }

    /// Everything below a local folder, except `.hub` and `.git`.
    pub fn dir(mut self, folder: impl AsRef<Path>) -> io::Result<Self> {
        self.add_folder(folder.as_ref(), "")?;
        Ok(self)
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(not_utf8)?;
            if NOT_CONTENT.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            // Follows symlinks: the snapshot folders of a cache are made of them.
            if std::fs::metadata(entry.path())?.is_dir() {
                self.add_folder(&entry.path(), &format!("{path}/"))?;
            } else {
                self.0.insert(path, Source::Disk(entry.path()));
            }
        }
        Ok(())
    }
}

fn not_utf8(name: std::ffi::OsString) -> io::Error {
    let message = format!("{name:?} is not UTF-8, which the Hub does not accept");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl<P: Into<String>, B: Into<Bytes>> FromIterator<(P, B)> for Files {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(pairs: I) -> Self {
        let empty = Files::new();
        let add = |files: Files, (path, bytes): (P, B)| files.bytes(path, bytes);
        pairs.into_iter().fold(empty, add)
    }
}

impl<P: Into<String>, B: Into<Bytes>, const N: usize> From<[(P, B); N]> for Files {
    fn from(pairs: [(P, B); N]) -> Self {
        pairs.into_iter().collect()
    }
}
