//! What to bring beyond the reads of one file. One for each open content; it may be forgotten at any time.
//!
//! Who only looks (at a header, one tensor, a configuration) gets little more than what was read. Who loads gets the
//! whole file: for a file whose tensors are known that is reading several of them, for other weights it is a long read
//! in a row. For what is no weights it never happens, so a scanner that goes through everything pulls nothing.

use super::format::Format;
use super::layout::Header;
use super::looks::{Look, Looks};
use super::sequential::{Pace, Sequential};
use crate::types::{BLOCK_SIZE, ByteRange, RemoteFile};

/// What a read calls for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Bring this soon: a reader comes that way.
    pub window: Option<ByteRange>,
    /// From now on the file is being loaded: bring all of it, then what is loaded after it. Said once.
    pub rest: bool,
}

pub struct Ahead {
    size: u64,
    format: Format,
    header: Header,
    sequential: Sequential,
    looks: Looks,
    loads: bool,
}

impl Ahead {
    /// Weights of unknown order are being loaded once this much was read in a row.
    const LONG_ROW: u64 = 8 * BLOCK_SIZE;
    /// How far to go in a header whose end is not known yet.
    const IN_HEADER: u64 = 2 * BLOCK_SIZE;

    pub fn for_file(file: &RemoteFile) -> Self {
        let format = Format::of(file);
        let size = file.blob.size;
        Self {
            size,
            format,
            header: if format.has_header() { Header::More(BLOCK_SIZE.min(size)) } else { Header::Unreadable },
            sequential: Sequential::default(),
            looks: Looks::default(),
            loads: false,
        }
    }

    /// The bytes that would tell more of the file. To be given if they are at hand; they are not worth a fetch.
    pub fn wants_header(&self) -> Option<ByteRange> {
        match self.header {
            // Blocks come whole: there is no sense in asking again for a part of one.
            Header::More(least) => Some(ByteRange::new(0, least.next_multiple_of(BLOCK_SIZE).min(self.size))),
            Header::Known(_) | Header::Unreadable => None,
        }
    }

    /// The file's first bytes, as many as were wanted.
    pub fn header(&mut self, bytes: &[u8]) {
        self.header = match self.format.read(bytes, self.size) {
            Header::More(least) if least <= bytes.len() as u64 || least > self.size => Header::Unreadable,
            header => header,
        };
    }

    /// Told of every read, repeated ones included.
    pub fn on_read(&mut self, read: ByteRange) -> Plan {
        let look = match &self.header {
            Header::Known(layout) => Some(self.looks.on_read(read, layout)),
            Header::More(_) | Header::Unreadable => None,
        };
        let loaded = self.loads;
        self.loads |= look == Some(Look::Several);
        let window = self.sequential.on_read(read, self.pace(read, look));
        self.loads |= self.is_long_row(read);
        let window = window.map(|window| window.clamp(self.size)).filter(|window| !window.is_empty());
        Plan { window, rest: self.loads && !loaded }
    }

    fn pace(&self, read: ByteRange, look: Option<Look>) -> Pace {
        match (&self.header, look) {
            (Header::Known(layout), _) if self.loads => {
                Pace::loading(read, layout.tensor_at(read.end.saturating_sub(1)).end)
            }
            (_, Some(Look::Tensor(tensor))) => Pace::within(tensor.end),
            (Header::Known(layout), _) => Pace::within(layout.header_end),
            (Header::More(least), _) if self.may_be_header(read) => {
                Pace::within((*least).max(read.end.saturating_add(Self::IN_HEADER)))
            }
            _ => Pace::FILE,
        }
    }

    /// Whether `read` may lie in a header that is not known yet.
    fn may_be_header(&self, read: ByteRange) -> bool {
        matches!(self.header, Header::More(_)) && read.start < Format::MAX_HEADER
    }

    fn is_long_row(&self, read: ByteRange) -> bool {
        let unknown = match self.header {
            Header::Known(_) => false,
            Header::More(_) => !self.may_be_header(read),
            Header::Unreadable => self.format != Format::Other,
        };
        unknown && self.sequential.row() >= Self::LONG_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefetch::{gguf, safetensors};
    use crate::types::{Blob, BlobId, Commit, RepoId, RepoPath, RepoType};

    const MIB: u64 = BLOCK_SIZE;
    const READ: u64 = 128 << 10;

    fn ahead(path: &str, size: u64) -> Ahead {
        Ahead::for_file(&RemoteFile {
            repo: RepoId::new(RepoType::Model, "acme/tiny").unwrap(),
            commit: Commit::from_bytes([1; 20]),
            path: RepoPath::new(path).unwrap(),
            blob: Blob { id: BlobId::Sha256([1; 32]), size },
        })
    }

    /// A file that starts with `head`; the reads of it, and what they brought.
    struct Reader {
        ahead: Ahead,
        head: Vec<u8>,
        size: u64,
        brought: u64,
        furthest: u64,
        loads: u32,
    }

    impl Reader {
        fn new(path: &str, head: Vec<u8>, size: u64) -> Self {
            Self { ahead: ahead(path, size), head, size, brought: 0, furthest: 0, loads: 0 }
        }

        /// As `fs` does it: what has been read is at hand.
        fn read(&mut self, range: ByteRange) {
            for at in (range.start..range.end).step_by(READ as usize) {
                let plan = self.ahead.on_read(ByteRange::new(at, range.end.min(at + READ)));
                self.brought += plan.window.map_or(0, |window| window.len());
                self.furthest = self.furthest.max(plan.window.map_or(0, |window| window.end));
                self.loads += u32::from(plan.rest);
                while let Some(wanted) = self.ahead.wants_header().filter(|wanted| wanted.end <= range.end.max(MIB)) {
                    let mut bytes = self.head.clone();
                    bytes.resize(bytes.len().max(wanted.end as usize), 0);
                    self.ahead.header(&bytes[..wanted.end as usize]);
                }
            }
        }
    }

    /// Tensors of these lengths behind a header.
    fn model(lengths: &[u64]) -> (Reader, Vec<ByteRange>) {
        let head = safetensors::tests::header(lengths);
        let mut at = head.len() as u64;
        let mut tensors = Vec::new();
        for length in lengths {
            tensors.push(ByteRange::at(at, *length));
            at += length;
        }
        (Reader::new("model.safetensors", head, at), tensors)
    }

    #[test]
    fn a_look_at_the_header_brings_nothing() {
        let (mut reader, _) = model(&[32 * MIB; 30]);
        reader.read(ByteRange::new(0, reader.head.len() as u64));
        reader.read(ByteRange::new(0, MIB));
        assert_eq!((reader.brought, reader.loads), (0, 0));
    }

    #[test]
    fn a_look_at_one_tensor_brings_that_tensor_only() {
        let (mut reader, tensors) = model(&[32 * MIB; 30]);
        reader.read(ByteRange::new(0, MIB));
        reader.read(tensors[7]);
        assert_eq!((reader.furthest, reader.loads), (tensors[7].end, 0));
    }

    #[test]
    fn a_fault_inside_a_tensor_brings_two_blocks_and_its_progress_the_rest() {
        let (mut reader, tensors) = model(&[200 * MIB; 3]);
        reader.read(ByteRange::new(0, MIB));
        let at = tensors[1].start + 10 * MIB;
        reader.read(ByteRange::at(at, MIB));
        let beyond = reader.furthest - (at + MIB);
        assert!((MIB..=2 * MIB).contains(&beyond), "{beyond}");
        reader.read(ByteRange::at(at + MIB, 31 * MIB));
        assert!(reader.furthest >= at + 80 * MIB && reader.furthest <= at + 96 * MIB, "{}", reader.furthest - at);
        reader.read(ByteRange::new(at + 32 * MIB, tensors[1].end));
        assert_eq!((reader.furthest, reader.loads), (tensors[1].end, 0));
    }

    #[test]
    fn a_peek_at_some_pages_brings_nothing() {
        let (mut reader, tensors) = model(&[200 * MIB; 3]);
        reader.read(ByteRange::new(0, MIB));
        reader.read(ByteRange::at(tensors[1].start + 10 * MIB, 4096));
        assert_eq!((reader.brought, reader.loads), (0, 0));
    }

    #[test]
    fn two_tensors_start_the_rest_and_that_is_said_once() {
        let (mut reader, tensors) = model(&[32 * MIB; 30]);
        reader.read(ByteRange::new(0, MIB));
        reader.read(ByteRange::at(tensors[7].start, READ));
        assert_eq!(reader.loads, 0);
        reader.read(ByteRange::at(tensors[20].start, READ));
        assert_eq!(reader.loads, 1);
        assert_eq!(reader.furthest, tensors[20].end, "a loader gets the whole tensor at its first fault");
        for tensor in &tensors {
            reader.read(ByteRange::at(tensor.start, READ));
        }
        assert_eq!(reader.loads, 1);
    }

    #[test]
    fn a_reader_in_order_loads_once_it_is_well_in_its_second_tensor() {
        let (mut reader, tensors) = model(&[32 * MIB; 30]);
        reader.read(ByteRange::new(0, tensors[0].end));
        assert_eq!(reader.loads, 0);
        reader.read(ByteRange::at(tensors[1].start, 3 * MIB));
        assert_eq!(reader.loads, 1);
    }

    #[test]
    fn a_gguf_header_of_many_words_is_found_while_it_is_read_and_not_passed() {
        let (head, data) = gguf::tests::header(300_000, &[32 * MIB; 8]);
        let size = data + 8 * 32 * MIB;
        let mut reader = Reader::new("model.gguf", head, size);
        let mut at = 0;
        while at < data {
            reader.read(ByteRange::new(at, data.min(at + MIB)));
            at += MIB;
        }
        assert_eq!(reader.loads, 0);
        assert!(reader.furthest <= data + 2 * MIB);
        reader.read(ByteRange::at(data + 40 * MIB, MIB));
        assert_eq!((reader.loads, reader.ahead.wants_header()), (0, None));
        reader.read(ByteRange::at(data + 200 * MIB, MIB));
        assert_eq!(reader.loads, 1);
    }

    #[test]
    fn a_hostile_header_is_no_header_and_a_long_row_still_loads() {
        for path in ["model.safetensors", "model.gguf", "model.bin"] {
            let mut reader = Reader::new(path, vec![0xff; 64], 100 * MIB);
            reader.read(ByteRange::new(0, 7 * MIB));
            assert_eq!((reader.loads, reader.ahead.wants_header()), (0, None), "{path}");
            reader.read(ByteRange::new(7 * MIB, 9 * MIB));
            assert_eq!(reader.loads, 1, "{path}");
        }
    }

    #[test]
    fn what_is_no_weights_is_never_loaded() {
        let mut reader = Reader::new("big.jsonl", Vec::new(), 500 * MIB);
        reader.read(ByteRange::new(0, 400 * MIB));
        assert_eq!(reader.loads, 0);
        assert!(reader.furthest <= 464 * MIB);
    }

    #[test]
    fn a_header_that_is_not_at_hand_does_not_keep_a_long_row_from_loading() {
        let mut policy = ahead("model.safetensors", 500 * MIB);
        let reads = (100 * MIB..109 * MIB).step_by(READ as usize);
        assert_eq!(reads.filter(|at| policy.on_read(ByteRange::at(*at, READ)).rest).count(), 1);
    }

    #[test]
    fn nothing_is_ever_brought_from_beyond_the_file() {
        let (mut reader, tensors) = model(&[3 * MIB, 5 * MIB, 4096, 7 * MIB]);
        reader.read(ByteRange::new(0, MIB));
        for tensor in tensors {
            reader.read(tensor);
        }
        assert!(reader.furthest <= reader.size);
    }
}
