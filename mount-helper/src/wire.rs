//! Packets between a holder and those who talk to it: a word, text behind it, and descriptors.
//!
//! A packet is `word text` on a Unix socket that keeps packets whole; the text is the rest, whatever it contains. Words
//! are never taken back or changed: a holder lives on through upgrades of everything else.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// Descriptors in one packet.
pub const MOST_DESCRIPTORS: usize = 4;
const LONGEST: usize = 8 << 10;

/// One packet, taken apart.
#[derive(Debug)]
pub struct Packet {
    pub word: String,
    pub text: String,
    pub descriptors: Vec<OwnedFd>,
}

pub fn send(socket: impl AsFd, word: &str, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if word.len() + 1 + text.len() > LONGEST || descriptors.len() > MOST_DESCRIPTORS {
        return Err(Errno::MSGSIZE.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::MSGSIZE.into());
    }
    let parts = [IoSlice::new(word.as_bytes()), IoSlice::new(b" "), IoSlice::new(text.as_bytes())];
    loop {
        match rustix::net::sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The next packet; `None` when the other end is gone.
pub fn receive(socket: impl AsFd) -> io::Result<Option<Packet>> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received,
            Err(Errno::INTR) => {}
            // So ends a connection whose other end died with packets unread.
            Err(Errno::CONNRESET) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    bytes.truncate(received.bytes);
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).map_err(|_| garbled("no UTF-8"))?;
    let (word, text) = text.split_once(' ').ok_or_else(|| garbled("no word"))?;
    Ok(Some(Packet { word: word.to_owned(), text: text.to_owned(), descriptors }))
}

fn garbled(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a packet of another program: {what}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_packet_arrives_whole_with_its_descriptors() {
        let (here, there) = pair();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"kept").unwrap();
        send(&here, "keep", "45 /mnt/with space\nand more", &[file.as_fd()]).unwrap();
        send(&here, "ready", "", &[]).unwrap();
        let mut packet = receive(&there).unwrap().unwrap();
        assert_eq!((packet.word.as_str(), packet.text.as_str()), ("keep", "45 /mnt/with space\nand more"));
        let mut file = std::fs::File::from(packet.descriptors.pop().unwrap());
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "kept");
        let packet = receive(&there).unwrap().unwrap();
        assert_eq!((packet.word.as_str(), packet.text.as_str(), packet.descriptors.len()), ("ready", "", 0));
        drop(here);
        assert!(receive(&there).unwrap().is_none());
    }

    #[test]
    fn what_another_program_sends_is_refused() {
        let (here, there) = pair();
        rustix::io::write(&here, b"nonsense").unwrap();
        assert!(receive(&there).unwrap_err().to_string().contains("no word"));
        rustix::io::write(&here, b"\xff \xff").unwrap();
        assert!(receive(&there).unwrap_err().to_string().contains("no UTF-8"));
        assert!(send(&here, "keep", &"x".repeat(LONGEST), &[]).is_err());
    }
}
