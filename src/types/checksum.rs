//! What a store states of a content's bytes beside its name.

use std::fmt;
use std::str::FromStr;

/// A checksum by one of the algorithms that S3 knows, of the whole content or of its parts' checksums.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Checksum {
    pub sum: Sum,
    /// The length of each part but the last, where the sum is that of the parts' sums one after the other.
    pub part_bytes: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Sum {
    Crc32([u8; 4]),
    Crc32c([u8; 4]),
    Crc64Nvme([u8; 8]),
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Sum {
    /// From its bytes, by the algorithm's name in lower case.
    pub fn new(algorithm: &str, bytes: &[u8]) -> Option<Self> {
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

    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Crc32(bytes) | Self::Crc32c(bytes) => bytes,
            Self::Crc64Nvme(bytes) => bytes,
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

impl Checksum {
    pub fn of_whole(sum: Sum) -> Self {
        Self { sum, part_bytes: None }
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
        self.part_bytes.map_or(Ok(()), |part| write!(f, "-{part}"))
    }
}

/// Not what a [`Checksum`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseChecksumError;

impl FromStr for Checksum {
    type Err = ParseChecksumError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = text.split('-');
        let read = || {
            let (algorithm, digits) = (fields.next()?, fields.next()?);
            let part_bytes = match fields.next() {
                Some(part) => Some(part.parse().ok().filter(|part| *part > 0)?),
                None => None,
            };
            Some(Self { sum: Sum::new(algorithm, &hex::decode(digits).ok()?)?, part_bytes })
        };
        let read: Option<Self> = { read }();
        // One text for one thing.
        read.filter(|read| read.to_string() == text).ok_or(ParseChecksumError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_reads_back_from_its_text_and_from_no_other() {
        for sum in [Sum::Crc32([1; 4]), Sum::Crc32c([2; 4]), Sum::Crc64Nvme([3; 8]), Sum::Sha1([4; 20])] {
            for part_bytes in [None, Some(8 << 20)] {
                let checksum = Checksum { sum, part_bytes };
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
