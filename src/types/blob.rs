//! Contents, named by what the origin calls them.

use std::fmt;
use std::str::FromStr;

use super::Checksum;

/// The name of a content, tagged with the way it was named. Two files with equal ids have equal bytes.
///
/// The first two kinds are hashes of the bytes and prove them. The others say only "the same as when it was listed".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobId {
    /// An LFS file: the hash of its bytes.
    Sha256([u8; 32]),
    /// A file in git itself: the hash of `blob LENGTH\0` and its bytes.
    GitSha1([u8; 20]),
    /// A file of a directory as it was found: the hash of its device, inode, size and times.
    Local([u8; 32]),
    /// An object of an S3 store: the hash of its store, bucket, key and version, and the checksum that the store states.
    S3 { version: [u8; 16], checksum: Option<Checksum> },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name a content")]
pub struct ParseBlobIdError(pub String);

impl BlobId {
    /// Every tag there is.
    pub const TAGS: [&str; 4] = ["sha256", "git-sha1", "local", "s3"];

    /// The tag before the colon in the database and the folder's name on disk.
    pub fn tag(&self) -> &'static str {
        match self {
            BlobId::Sha256(_) => "sha256",
            BlobId::GitSha1(_) => "git-sha1",
            BlobId::Local(_) => "local",
            BlobId::S3 { .. } => "s3",
        }
    }

    /// Whether the id is a hash of the bytes: then whoever has all of them can tell whether they are right.
    pub fn proves_bytes(&self) -> bool {
        match self {
            BlobId::Sha256(_) | BlobId::GitSha1(_) => true,
            BlobId::Local(_) => false,
            BlobId::S3 { checksum, .. } => checksum.is_some_and(|checksum| checksum.is_strong()),
        }
    }

    /// Whether a content that arrived can be told from a damaged one.
    pub fn has_checksum(&self) -> bool {
        match self {
            BlobId::S3 { checksum, .. } => checksum.is_some(),
            _ => self.proves_bytes(),
        }
    }

    /// Whether it is the Hub's own name for a content.
    fn is_etag(&self) -> bool {
        matches!(self, BlobId::Sha256(_) | BlobId::GitSha1(_))
    }

    /// What follows the tag: lower-case hex, and the checksum where one is stated.
    pub fn value(&self) -> String {
        match self {
            BlobId::Sha256(hash) | BlobId::Local(hash) => hex::encode(hash),
            BlobId::GitSha1(hash) => hex::encode(hash),
            BlobId::S3 { version, checksum: None } => hex::encode(version),
            BlobId::S3 { version, checksum: Some(checksum) } => format!("{}-{checksum}", hex::encode(version)),
        }
    }

    /// The name below `blobs/`: the Hub's etag, or one that cannot be taken for an etag.
    pub fn etag(&self) -> String {
        match self {
            BlobId::Sha256(_) | BlobId::GitSha1(_) => self.value(),
            BlobId::Local(_) | BlobId::S3 { .. } => format!("{}.{}", self.tag(), self.value()),
        }
    }

    /// Of an etag the length tells its kind: 64 digits for LFS, 40 for git.
    pub fn from_etag(etag: &str) -> Result<Self, ParseBlobIdError> {
        let id = match etag.split_once('.') {
            Some((tag, value)) => Self::from_parts(tag, value).filter(|id| !id.is_etag()),
            None => ["sha256", "git-sha1"].iter().find_map(|tag| Self::from_parts(tag, etag)),
        };
        id.ok_or_else(|| ParseBlobIdError(etag.to_owned()))
    }

    fn from_parts(tag: &str, value: &str) -> Option<Self> {
        if value.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let (digits, checksum) = match value.split_once('-') {
            Some((digits, checksum)) if tag == "s3" => (digits, Some(checksum.parse().ok()?)),
            _ => (value, None),
        };
        let bytes = hex::decode(digits).ok()?;
        let hash = || <[u8; 32]>::try_from(bytes.as_slice()).ok();
        match tag {
            "sha256" => hash().map(BlobId::Sha256),
            "git-sha1" => <[u8; 20]>::try_from(bytes.as_slice()).ok().map(BlobId::GitSha1),
            "local" => hash().map(BlobId::Local),
            "s3" => Some(BlobId::S3 { version: bytes.try_into().ok()?, checksum }),
            _ => None,
        }
    }
}

/// `sha256:0123…`: the form kept in the database.
impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tag(), self.value())
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
        let id = text.split_once(':').and_then(|(tag, value)| Self::from_parts(tag, value));
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
    use crate::types::{PartLength, Sum};

    #[test]
    fn an_id_reads_back_from_its_text_and_from_its_etag() {
        let checksum = Some(Checksum::of_whole(Sum::Crc64Nvme([3; 8])));
        let parts = Some(Checksum { sum: Sum::Crc32([4; 4]), part: PartLength::new(8 << 20) });
        let s3 = [None, checksum, parts].map(|checksum| BlobId::S3 { version: [5; 16], checksum });
        let others = [BlobId::Sha256([7; 32]), BlobId::GitSha1([9; 20]), BlobId::Local([7; 32])];
        for id in others.into_iter().chain(s3) {
            assert_eq!(id.to_string().parse::<BlobId>().unwrap(), id);
            assert_eq!(BlobId::from_etag(&id.etag()).unwrap(), id);
        }
    }

    #[test]
    fn an_id_stays_small() {
        assert!(size_of::<Blob>() <= 48, "{}", size_of::<Blob>());
    }

    #[test]
    fn a_tag_that_does_not_fit_its_hash_is_refused() {
        let etag = BlobId::GitSha1([9; 20]).etag();
        assert!(format!("sha256:{etag}").parse::<BlobId>().is_err());
        assert!("sha256:zz".parse::<BlobId>().is_err());
        assert!(BlobId::from_etag(&format!("sha256.{}", "0".repeat(64))).is_err(), "it would be a second name for it");
        for text in [
            "s3:00",
            "s3:zz",
            &format!("s3:{etag}-"),
            &format!("s3:{etag}-crc32-00"),
            &format!("local:{etag}-crc32-00000000"),
        ] {
            assert!(text.parse::<BlobId>().is_err(), "{text}");
        }
        assert!(BlobId::from_etag(&etag.to_uppercase().replace('0', "A")).is_err());
    }
}
