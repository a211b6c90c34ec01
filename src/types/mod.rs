//! Plain data that every layer shares: names of repositories, contents and byte ranges. No IO.

mod blob;
mod checksum;
mod identity;
mod path;
mod range;
mod repo;
mod snapshot;
mod source;

pub use blob::{Blob, BlobId, ParseBlobIdError};
pub use checksum::{Checksum, ParseChecksumError, PartLength, Sum};
pub use identity::{Identity, IdentityDigest, Token};
pub use path::{PathProblem, RepoPath};
pub use range::{BLOCK_SIZE, BlockIndex, BlockRange, ByteRange};
pub use repo::{Commit, ParseCommitError, ParseRepoError, ParseRevisionError, RepoId, RepoType, Revision};
pub use snapshot::{RemoteFile, Snapshot, SnapshotEntry};
pub use source::{Prefix, SourcePlace};
