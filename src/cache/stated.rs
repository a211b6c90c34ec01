//! The checksum that a store states, computed along as the bytes pass. Pure.

use crc_fast::CrcAlgorithm;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::types::{Checksum, Sum};

/// The checksum of what has passed.
pub(super) struct Running {
    stated: Checksum,
    /// Of the whole, or of the part that is passing.
    passing: Digesting,
    /// Bytes of that part so far.
    in_part: u64,
    /// Of the sums of the parts that have passed.
    parts: Digesting,
}

impl Running {
    pub(super) fn new(stated: Checksum) -> Self {
        Self { stated, passing: Digesting::new(&stated.sum), in_part: 0, parts: Digesting::new(&stated.sum) }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        let Some(part) = self.stated.part else { return self.passing.update(bytes) };
        let part_bytes = part.bytes();
        while !bytes.is_empty() {
            let left = part_bytes - self.in_part;
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            self.passing.update(now);
            self.in_part += now.len() as u64;
            if self.in_part == part_bytes {
                self.end_part();
            }
            bytes = later;
        }
    }

    fn end_part(&mut self) {
        let passed = std::mem::replace(&mut self.passing, Digesting::new(&self.stated.sum));
        self.parts.update(&passed.finish());
        self.in_part = 0;
    }

    /// Whether all that passed has the stated checksum.
    pub(super) fn agrees(mut self) -> bool {
        if self.stated.part.is_none() {
            return self.passing.finish().starts_with(self.stated.sum.bytes());
        }
        if self.in_part > 0 {
            self.end_part();
        }
        self.parts.finish().starts_with(self.stated.sum.bytes())
    }
}

enum Digesting {
    Crc32(Box<crc_fast::Digest>),
    Crc64(Box<crc_fast::Digest>),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Digesting {
    fn new(sum: &Sum) -> Self {
        let crc = |algorithm| Box::new(crc_fast::Digest::new(algorithm));
        match sum {
            Sum::Crc32(_) => Self::Crc32(crc(CrcAlgorithm::Crc32IsoHdlc)),
            Sum::Crc32c(_) => Self::Crc32(crc(CrcAlgorithm::Crc32Iscsi)),
            Sum::Crc64Nvme(_) => Self::Crc64(crc(CrcAlgorithm::Crc64Nvme)),
            Sum::Sha1(_) => Self::Sha1(Sha1::new()),
            Sum::Sha256(_) => Self::Sha256(Sha256::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(crc) | Self::Crc64(crc) => crc.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc32(crc) => (crc.finalize() as u32).to_be_bytes().into(),
            Self::Crc64(crc) => crc.finalize().to_be_bytes().into(),
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PartLength;

    const BYTES: &[u8] = b"123456789";

    fn sum(algorithm: &str, digits: &str) -> Sum {
        Sum::new(algorithm, &hex::decode(digits).unwrap()).unwrap()
    }

    /// As the catalogues of checksums print them for `123456789`.
    fn known() -> [Sum; 5] {
        [
            sum("crc32", "cbf43926"),
            sum("crc32c", "e3069283"),
            sum("crc64nvme", "ae8b14860a799888"),
            sum("sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            sum("sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ]
    }

    fn agrees(stated: Checksum, pieces: &[&[u8]]) -> bool {
        let mut running = Running::new(stated);
        pieces.iter().for_each(|piece| running.update(piece));
        running.agrees()
    }

    #[test]
    fn every_algorithm_knows_its_bytes_and_no_others() {
        for sum in known() {
            let stated = Checksum::of_whole(sum);
            assert!(agrees(stated, &[BYTES]) && agrees(stated, &[&BYTES[..4], b"", &BYTES[4..]]), "{stated}");
            assert!(!agrees(stated, &[b"123456788"]) && !agrees(stated, &[&BYTES[..8]]), "{stated}");
        }
    }

    #[test]
    fn the_sum_of_parts_is_that_of_their_sums_however_the_bytes_arrive() {
        for sum in known() {
            let mut of_parts = Digesting::new(&sum);
            for part in BYTES.chunks(4) {
                let mut digest = Digesting::new(&sum);
                digest.update(part);
                of_parts.update(&digest.finish());
            }
            let stated = Sum::new(sum.algorithm(), &of_parts.finish()).unwrap();
            let stated = Checksum { sum: stated, part: PartLength::new(4) };
            assert!(agrees(stated, &[BYTES]) && agrees(stated, &[&BYTES[..3], &BYTES[3..4], &BYTES[4..]]), "{stated}");
            assert!(!agrees(Checksum { part: PartLength::new(3), ..stated }, &[BYTES]), "{stated}");
            assert!(!agrees(stated, &[b"123456780"]), "{stated}");
        }
    }
}
