//! What a mount's next daemon must know of it, in a file in memory that the holder keeps open.
//!
//! It is written in place, without a word to the holder: what a system call has written survives the death of the process
//! that made it. First a header that never changes, then a table of the files that are registered with the kernel.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use parking_lot::Mutex;
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use super::super::backing::BackingId;
use super::super::pod::Pod;
use super::Agreement;
use crate::tree::Node;
use crate::types::{Identity, Token};

/// The table's beginning: the header and its length lie before it.
const TABLE: u64 = 64 << 10;
const LENGTH: u64 = 8;
const ROW: usize = 16;

/// What does not change while a mount lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// Only a reader that knows this number reads on.
    pub format: u32,
    /// The database whose node numbers the kernel knows.
    pub database: String,
    pub directory: String,
    pub endpoint: String,
    pub token: Option<String>,
    pub offline: bool,
    pub allow_other: bool,
    pub passthrough: bool,
    pub drop_behind: Option<u64>,
    pub agreement: Agreement,
    #[serde(default)]
    pub pod: Option<Pod>,
}

impl Header {
    /// That of a mount which every version so far can go on with, and one that must not be shown as if it had no limits.
    const PLAIN: u32 = 1;
    const WITH_POD: u32 = 2;

    pub fn format(pod: Option<&Pod>) -> u32 {
        if pod.is_some() { Self::WITH_POD } else { Self::PLAIN }
    }

    pub fn identity(&self) -> Identity {
        Identity::new(&self.endpoint, self.token.as_deref().map(Token::new), self.offline)
    }
}

#[derive(Debug)]
pub struct StateFile {
    file: OwnedFd,
    table: Mutex<Table>,
}

/// Where each row is. A free row is all zeros.
#[derive(Debug, Default)]
struct Table {
    rows: HashMap<Node, u64>,
    free: Vec<u64>,
    end: u64,
}

impl StateFile {
    pub fn create(header: &Header) -> io::Result<Self> {
        let file = rustix::fs::memfd_create("weightfs-mount", MemfdFlags::CLOEXEC)?;
        let text = serde_json::to_vec(header)?;
        if text.len() as u64 + LENGTH > TABLE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the mount's description is too long"));
        }
        write_all(&file, &text, LENGTH)?;
        write_all(&file, &(text.len() as u64).to_ne_bytes(), 0)?;
        Ok(Self { file, table: Mutex::default() })
    }

    /// Reads what an earlier daemon wrote.
    pub fn open(file: OwnedFd) -> io::Result<(Self, Header, HashMap<Node, BackingId>)> {
        let mut length = [0; LENGTH as usize];
        read_all(&file, &mut length, 0)?;
        let length = u64::from_ne_bytes(length);
        if length + LENGTH > TABLE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no state of a mount"));
        }
        let mut text = vec![0; length as usize];
        read_all(&file, &mut text, LENGTH)?;
        let header: Header = serde_json::from_slice(&text)?;
        if ![Header::PLAIN, Header::WITH_POD].contains(&header.format) {
            let text = format!("it was written by another version (format {})", header.format);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let (table, backings) = Table::read(&file)?;
        Ok((Self { file, table: Mutex::new(table) }, header, backings))
    }

    /// Takes note of a registered file, before the kernel hears of its number.
    pub fn add(&self, node: Node, id: BackingId) -> io::Result<()> {
        let mut table = self.table.lock();
        let row = table.rows.get(&node).copied().or_else(|| table.free.last().copied()).unwrap_or(table.end);
        write_all(&self.file, &encode(node, id), TABLE + row * ROW as u64)?;
        if table.rows.insert(node, row).is_none() && table.free.pop().is_none() {
            table.end += 1;
        }
        Ok(())
    }

    /// Before the file is not registered any more.
    pub fn remove(&self, node: Node) -> io::Result<()> {
        let mut table = self.table.lock();
        let Some(row) = table.rows.get(&node).copied() else { return Ok(()) };
        write_all(&self.file, &[0; ROW], TABLE + row * ROW as u64)?;
        table.rows.remove(&node);
        table.free.push(row);
        Ok(())
    }
}

impl AsFd for StateFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Table {
    fn read(file: &OwnedFd) -> io::Result<(Self, HashMap<Node, BackingId>)> {
        let length = rustix::fs::fstat(file)?.st_size as u64;
        let mut bytes = vec![0; length.saturating_sub(TABLE) as usize / ROW * ROW];
        read_all(file, &mut bytes, TABLE)?;
        let (mut table, mut backings) = (Self::default(), HashMap::new());
        for (row, bytes) in bytes.chunks_exact(ROW).enumerate() {
            table.end = row as u64 + 1;
            match decode(bytes) {
                Some((node, id)) => {
                    table.rows.insert(node, row as u64);
                    backings.insert(node, id);
                }
                None => table.free.push(row as u64),
            }
        }
        Ok((table, backings))
    }
}

/// In one write of less than a page: a killed process has made it or has not.
fn encode(node: Node, id: BackingId) -> [u8; ROW] {
    let mut row = [0; ROW];
    row[..8].copy_from_slice(&node.0.to_ne_bytes());
    row[8..12].copy_from_slice(&id.0.to_ne_bytes());
    row
}

fn decode(row: &[u8]) -> Option<(Node, BackingId)> {
    let node = u64::from_ne_bytes(row[..8].try_into().ok()?);
    let id = u32::from_ne_bytes(row[8..12].try_into().ok()?);
    (node != 0).then_some((Node(node), BackingId(id)))
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, bytes, at))?;
        (bytes, at) = (&bytes[written..], at + written as u64);
    }
    Ok(())
}

fn read_all(file: &OwnedFd, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *bytes, at))?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (bytes, at) = (&mut bytes[read..], at + read as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            format: Header::format(None),
            database: "a database".to_owned(),
            directory: "/mnt/with space\nand more".to_owned(),
            endpoint: "https://hub.example".to_owned(),
            token: Some("secret".to_owned()),
            offline: true,
            allow_other: false,
            passthrough: true,
            drop_behind: Some(7),
            agreement: Agreement { request: vec![1, 2], reply: vec![3] },
            pod: None,
        }
    }

    #[test]
    fn what_one_daemon_wrote_the_next_one_reads() {
        let state = StateFile::create(&header()).unwrap();
        let (a, b, c) = (Node(1 << 16 | 1), Node(2 << 16 | 1), Node(3 << 16 | 1));
        state.add(a, BackingId(1)).unwrap();
        state.add(b, BackingId(2)).unwrap();
        state.remove(a).unwrap();
        state.add(c, BackingId(3)).unwrap();
        state.add(b, BackingId(4)).unwrap();
        let copy = rustix::io::dup(&state).unwrap();
        drop(state);
        let (state, found, backings) = StateFile::open(copy).unwrap();
        assert_eq!((found.directory, found.drop_behind), (header().directory, Some(7)));
        assert_eq!(found.agreement, header().agreement);
        assert_eq!(backings, HashMap::from([(b, BackingId(4)), (c, BackingId(3))]));
        state.remove(b).unwrap();
        let (_, _, backings) = StateFile::open(rustix::io::dup(&state).unwrap()).unwrap();
        assert_eq!(backings, HashMap::from([(c, BackingId(3))]));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let empty = rustix::fs::memfd_create("empty", MemfdFlags::CLOEXEC).unwrap();
        assert!(StateFile::open(empty).is_err());
        let state = StateFile::create(&Header { format: 9, ..header() }).unwrap();
        let error = StateFile::open(rustix::io::dup(&state).unwrap()).unwrap_err();
        assert!(error.to_string().contains("another version (format 9)"), "{error}");
    }
}
