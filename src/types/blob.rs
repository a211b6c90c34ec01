//! Contents, named by what the origin calls them.

use std::fmt;
use std::str::FromStr;

/// The name of a content, tagged with the way it was named. Two files with equal ids have equal bytes.
///
/// New ways of naming (an S3 version, a local file's identity) get a tag of their own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobId {
    /// An LFS file: the hash of its bytes.
    Sha256([u8; 32]),
    /// A file in git itself: the hash of `blob LENGTH\0` and its bytes.
    GitSha1([u8; 20]),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name a content")]
pub struct ParseBlobIdError(pub String);

impl BlobId {
    /// Every tag there is.
    pub const TAGS: [&str; 2] = ["sha256", "git-sha1"];

    /// The tag before the colon in the database and the folder's name on disk.
    pub fn tag(&self) -> &'static str {
        match self {
            BlobId::Sha256(_) => "sha256",
            BlobId::GitSha1(_) => "git-sha1",
        }
    }

    /// The Hub's etag and so the name below `blobs/`: bare lower-case hex.
    pub fn etag(&self) -> String {
        match self {
            BlobId::Sha256(hash) => hex::encode(hash),
            BlobId::GitSha1(hash) => hex::encode(hash),
        }
    }

    /// The etag's length tells its kind: 64 digits for LFS, 40 for git.
    pub fn from_etag(etag: &str) -> Result<Self, ParseBlobIdError> {
        let error = || ParseBlobIdError(etag.to_owned());
        if etag.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(error());
        }
        let bytes = hex::decode(etag).map_err(|_| error())?;
        if let Ok(hash) = <[u8; 32]>::try_from(bytes.as_slice()) {
            return Ok(BlobId::Sha256(hash));
        }
        <[u8; 20]>::try_from(bytes.as_slice()).map(BlobId::GitSha1).map_err(|_| error())
    }
}

/// `sha256:0123…`: the form kept in the database.
impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tag(), self.etag())
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobId {
    type Err = ParseBlobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = text.split_once(':').and_then(|(tag, etag)| Self::from_etag(etag).ok().filter(|id| id.tag() == tag));
        id.ok_or_else(|| ParseBlobIdError(text.to_owned()))
    }
}

/// A content and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blob {
    pub id: BlobId,
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text_and_from_its_etag() {
        for id in [BlobId::Sha256([7; 32]), BlobId::GitSha1([9; 20])] {
            assert_eq!(id.to_string().parse::<BlobId>().unwrap(), id);
            assert_eq!(BlobId::from_etag(&id.etag()).unwrap(), id);
        }
    }

    #[test]
    fn a_tag_that_does_not_fit_its_hash_is_refused() {
        let etag = BlobId::GitSha1([9; 20]).etag();
        assert!(format!("sha256:{etag}").parse::<BlobId>().is_err());
        assert!("sha256:zz".parse::<BlobId>().is_err());
        assert!(BlobId::from_etag(&etag.to_uppercase().replace('0', "A")).is_err());
    }
}
