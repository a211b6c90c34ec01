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
}

impl From<DbError> for FsError {
    fn from(error: DbError) -> Self {
        FsError::Tree(error.into())
    }
}
