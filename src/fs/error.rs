//! Why a request of a program was not granted.

use crate::cache::CacheError;
use crate::db::DbError;
use crate::fs::scratch::ScratchError;
use crate::tree::TreeError;

#[derive(Debug, thiserror::Error)]
pub enum FsError {
    #[error("no such file")]
    Absent,
    #[error("the virtual part of the tree cannot be changed")]
    ReadOnly,
    #[error("a file is in the way")]
    Exists,
    #[error("not a directory")]
    NotADirectory,
    #[error("a directory")]
    IsADirectory,
    #[error("not a symbolic link")]
    NotALink,
    #[error("the two names lie in different layers")]
    OtherLayer,
    #[error("a name that is not UTF-8")]
    Name,
    #[error("the node is not known any more")]
    Stale,
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    #[error("cannot {operation} an open file of the writable layer: {source}")]
    OpenScratch { operation: &'static str, source: std::io::Error },
}

impl FsError {
    /// For use with `map_err` on an open file of the writable layer.
    pub(super) fn open_scratch(operation: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| FsError::OpenScratch { operation, source }
    }
}

impl From<DbError> for FsError {
    fn from(error: DbError) -> Self {
        FsError::Tree(error.into())
    }
}
