//! What is known of one object, and the name that its content gets from it. Pure.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumType;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::bucket::{Pin, bare};
use crate::types::Sum;

/// An object as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) size: u64,
    /// Without quotes. Some stores list none.
    pub(super) etag: Option<String>,
    /// Seconds since 1970.
    pub(super) modified: i64,
}

/// What a question about the object itself adds.
#[derive(Debug, Clone, Default)]
pub(super) struct Details {
    pub(super) version: Option<String>,
    pub(super) stated: Stated,
}

/// The checksum that the store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stated {
    #[default]
    Nothing,
    /// A sha256 of the whole.
    Hash([u8; 32]),
    Whole(Sum),
    /// The sum of the sums of so many parts.
    Parts(Sum, u32),
}

impl Details {
    pub(super) fn of(head: &HeadObjectOutput) -> Self {
        // A bucket that kept no versions when the object came calls it "null".
        let version = head.version_id().filter(|version| !matches!(*version, "" | "null")).map(str::to_owned);
        Self { version, stated: stated(head) }
    }

    pub(super) fn pin(&self, etag: &str) -> Pin {
        Pin { etag: etag.to_owned(), version: self.version.clone() }
    }
}

/// The strongest that is there.
fn stated(head: &HeadObjectOutput) -> Stated {
    let sums = [
        ("sha256", head.checksum_sha256()),
        ("sha1", head.checksum_sha1()),
        ("crc64nvme", head.checksum_crc64_nvme()),
        ("crc32c", head.checksum_crc32_c()),
        ("crc32", head.checksum_crc32()),
    ];
    let is_composite = match head.checksum_type() {
        Some(ChecksumType::FullObject) => Some(false),
        Some(ChecksumType::Composite) => Some(true),
        // Who does not say it says nothing of what came in parts.
        _ if head.e_tag().is_some_and(|etag| etag.contains('-')) => return Stated::Nothing,
        _ => None,
    };
    let read = |(algorithm, text): (&str, Option<&str>)| {
        let (digits, parts) = match text?.split_once('-') {
            Some((digits, parts)) => (digits, Some(parts.parse().ok()?)),
            None => (text?, None),
        };
        let digest = BASE64_STANDARD.decode(digits).ok()?;
        let sum = Sum::new(algorithm, &digest)?;
        match (is_composite, parts) {
            (Some(false) | None, None) if algorithm == "sha256" => Some(Stated::Hash(digest.try_into().ok()?)),
            (Some(false) | None, None) => Some(Stated::Whole(sum)),
            (Some(true) | None, Some(parts)) => Some(Stated::Parts(sum, parts)),
            _ => None,
        }
    };
    sums.into_iter().find_map(read).unwrap_or_default()
}

/// Whether parts of `part_bytes`, with a last one of `last_bytes`, are these `parts` of `size` bytes.
pub(super) fn are_even(size: u64, parts: u32, part_bytes: u64, last_bytes: u64) -> bool {
    let before = u64::from(parts).checked_sub(1).and_then(|full| full.checked_mul(part_bytes));
    let sum = before.and_then(|before| before.checked_add(last_bytes));
    part_bytes > 0 && (1..=part_bytes).contains(&last_bytes) && sum == Some(size)
}

/// What tells this content from every other one that ever had this key.
pub(super) fn version_name(store: &str, bucket: &str, key: &str, pin: &Pin) -> [u8; 16] {
    let mut hash = Sha256::new();
    let (kind, version) = match &pin.version {
        Some(version) => ("version", version),
        None => ("etag", &pin.etag),
    };
    for text in [store, bucket, key, kind, version] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let mut name = [0; 16];
    name.copy_from_slice(&hash.finalize()[..16]);
    name
}

/// The bare etag of an answer.
pub(super) fn etag_of(head: &HeadObjectOutput) -> Option<String> {
    head.e_tag().map(bare).filter(|etag| !etag.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> aws_sdk_s3::operation::head_object::builders::HeadObjectOutputBuilder {
        HeadObjectOutput::builder().e_tag("\"abc\"")
    }

    #[test]
    fn a_checksum_of_the_whole_is_told_from_one_of_parts() {
        let crc = || head().checksum_crc32("AAAAAQ==");
        let sum = Sum::Crc32([0, 0, 0, 1]);
        assert_eq!(stated(&crc().build()), Stated::Whole(sum));
        assert_eq!(
            stated(&crc().checksum_type(ChecksumType::FullObject).e_tag("\"abc-2\"").build()),
            Stated::Whole(sum)
        );
        assert_eq!(stated(&crc().e_tag("\"abc-2\"").build()), Stated::Nothing, "nobody says of what it is");
        let parts = head().checksum_crc32("AAAAAQ==-2").checksum_type(ChecksumType::Composite).e_tag("\"abc-2\"");
        assert_eq!(stated(&parts.build()), Stated::Parts(sum, 2));
        for text in ["", "AAAA", "?", "AAAAAQ==-x"] {
            assert_eq!(stated(&head().checksum_crc32(text).build()), Stated::Nothing, "{text}");
        }
    }

    #[test]
    fn uneven_parts_are_seen() {
        assert!(are_even(20, 3, 8, 4));
        assert!(are_even(16, 2, 8, 8));
        assert!(are_even(3, 1, 3, 3));
        assert!(!are_even(20, 3, 8, 8));
        assert!(!are_even(20, 3, 4, 12));
        assert!(!are_even(0, 1, 0, 0));
        assert!(!are_even(20, 0, 8, 4));
    }

    #[test]
    fn another_store_bucket_key_or_version_is_another_content() {
        let pin = |etag: &str, version: Option<&str>| Pin { etag: etag.into(), version: version.map(str::to_owned) };
        let names = [
            version_name("aws", "b", "k", &pin("e", None)),
            version_name("http://x", "b", "k", &pin("e", None)),
            version_name("aws", "b2", "k", &pin("e", None)),
            version_name("aws", "b", "k2", &pin("e", None)),
            version_name("aws", "b", "k", &pin("e2", None)),
            version_name("aws", "b", "k", &pin("e", Some("v"))),
            version_name("aws", "b", "k", &pin("e", Some("e"))),
        ];
        assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)));
        let again = pin("other", Some("v"));
        assert_eq!(version_name("aws", "b", "k", &again), names[5], "a version needs no etag");
    }
}
