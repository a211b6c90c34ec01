//! What a store states of a content's bytes beside its name.

use std::fmt;
use std::str::FromStr;

/// A checksum by one of the algorithms that S3 knows, of the whole content or of its parts' checksums. Small, since it is
/// part of a content's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Checksum {
    pub sum: Sum,
    /// The length of each part but the last, where the sum is that of the parts' sums one after the other.
    pub part: Option<PartLength>,
}

/// Of a long one the first 16 bytes: no damage gets past them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Sum {
    Crc32([u8; 4]),
    Crc32c([u8; 4]),
    Crc64Nvme([u8; 8]),
    Sha1([u8; 16]),
    Sha256([u8; 16]),
}

/// Bytes of a part: at least one, and fewer than 2^40, as S3 allows 5 GiB.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PartLength([u8; 5]);

impl PartLength {
    pub fn new(bytes: u64) -> Option<Self> {
        match bytes.to_be_bytes() {
            [0, 0, 0, kept @ ..] if bytes > 0 => Some(Self(kept)),
            _ => None,
        }
    }

    pub fn bytes(self) -> u64 {
        self.0.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

impl Sum {
    const KEPT: usize = 16;

    /// From all the bytes that the algorithm makes; its name in lower case.
    pub fn new(algorithm: &str, digest: &[u8]) -> Option<Self> {
        let len = match algorithm {
            "sha1" => 20,
            "sha256" => 32,
            _ => digest.len(),
        };
        (digest.len() == len).then(|| Self::kept(algorithm, &digest[..len.min(Self::KEPT)]))?
    }

    fn kept(algorithm: &str, bytes: &[u8]) -> Option<Self> {
        Some(match algorithm {
            "crc32" => Self::Crc32(bytes.try_into().ok()?),
            "crc32c" => Self::Crc32c(bytes.try_into().ok()?),
            "crc64nvme" => Self::Crc64Nvme(bytes.try_into().ok()?),
            "sha1" => Self::Sha1(bytes.try_into().ok()?),
            "sha256" => Self::Sha256(bytes.try_into().ok()?),
            _ => return None,
        })
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Crc32(_) => "crc32",
            Self::Crc32c(_) => "crc32c",
            Self::Crc64Nvme(_) => "crc64nvme",
            Self::Sha1(_) => "sha1",
            Self::Sha256(_) => "sha256",
        }
    }

    /// What is kept of it.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Crc32(bytes) | Self::Crc32c(bytes) => bytes,
            Self::Crc64Nvme(bytes) => bytes,
            Self::Sha1(bytes) | Self::Sha256(bytes) => bytes,
        }
    }
}

impl Checksum {
    pub fn of_whole(sum: Sum) -> Self {
        Self { sum, part: None }
    }

    /// Whether other bytes with this checksum are out of the question.
    pub fn is_strong(&self) -> bool {
        self.sum.bytes().len() >= 8
    }
}

/// `crc64nvme-0123…`, `crc32-0123…-8388608` for parts.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sum.algorithm(), hex::encode(self.sum.bytes()))?;
        self.part.map_or(Ok(()), |part| write!(f, "-{}", part.bytes()))
    }
}

/// Not what a [`Checksum`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseChecksumError;

impl FromStr for Checksum {
    type Err = ParseChecksumError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = text.split('-');
        let mut read = || {
            let (algorithm, digits) = (fields.next()?, fields.next()?);
            let part = match fields.next() {
                Some(part) => Some(PartLength::new(part.parse().ok()?)?),
                None => None,
            };
            Some(Self { sum: Sum::kept(algorithm, &hex::decode(digits).ok()?)?, part })
        };
        // One text for one thing.
        read().filter(|read| read.to_string() == text).ok_or(ParseChecksumError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_a_length_that_s3_allows() {
        for bytes in [1, 8 << 20, 5 << 30, (1 << 40) - 1] {
            assert_eq!(PartLength::new(bytes).map(PartLength::bytes), Some(bytes));
        }
        assert_eq!([PartLength::new(0), PartLength::new(1 << 40)], [None; 2]);
    }

    #[test]
    fn a_checksum_reads_back_from_its_text_and_from_no_other() {
        for sum in [Sum::Crc32([1; 4]), Sum::Crc32c([2; 4]), Sum::Crc64Nvme([3; 8]), Sum::Sha1([4; 16])] {
            for part in [None, PartLength::new(8 << 20), PartLength::new(5 << 30)] {
                let checksum = Checksum { sum, part };
                assert_eq!(checksum.to_string().parse(), Ok(checksum));
            }
        }
        for text in [
            "",
            "crc32",
            "crc32-0102",
            "crc32-01020304-0",
            "crc32-01020304-08",
            "crc32-0102030A",
            "md5-00",
            "crc32-01020304-8-8",
        ] {
            assert_eq!(text.parse::<Checksum>(), Err(ParseChecksumError), "{text}");
        }
    }
}
