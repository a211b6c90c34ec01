//! Kubelets call the registration socket by its path, `:authority: %2Fvar%2Flib%2Fkubelet…` or without the escapes. No host has
//! such a name, so the HTTP/2 below breaks off the request. `Local` is a connection on whose way in that value becomes
//! `localhost`.
//!
//! It knows frames (RFC 9113, 4 and 6.2) and where a header field begins and ends (RFC 7541, 5 and 6). It decodes no field and
//! judges nothing: what it does not understand goes on as it came.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
/// What a client may send before it is told otherwise, and tonic tells nobody otherwise.
const LARGEST_FRAME: usize = 16 * 1024;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;
/// `:authority` among the names that everybody knows.
const AUTHORITY: usize = 1;
const LOCALHOST: &[u8] = b"\x09localhost";

pub struct Local {
    stream: UnixStream,
    translation: Translation,
}

impl Local {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, translation: Translation::default() }
    }
}

impl Connected for Local {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Local {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.translation.ready.is_empty() {
            let mut room = [0; 4096];
            let mut came = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut came))?;
            if came.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.translation.take(came.filled());
        }
        let ready = &mut this.translation.ready;
        into.put_slice(&ready.drain(..ready.len().min(into.remaining())).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Local {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// What a client has sent, on its way.
#[derive(Default)]
struct Translation {
    begun: bool,
    /// Not a whole frame yet.
    raw: Vec<u8>,
    /// To be read.
    ready: Vec<u8>,
}

impl Translation {
    fn take(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        if !self.begun && self.raw.len() >= PREFACE {
            self.begun = true;
            self.ready.extend(self.raw.drain(..PREFACE));
        }
        while let Some(size) = self.begun.then(|| frame_size(&self.raw)).flatten() {
            let frame: Vec<u8> = self.raw.drain(..size).collect();
            match translated(&frame) {
                Some(frame) => self.ready.extend(frame),
                None => self.ready.extend(frame),
            }
        }
    }
}

/// Of the frame at the start of `raw`, if it is whole; all there is if it is too large to be waited for.
fn frame_size(raw: &[u8]) -> Option<usize> {
    let length = usize::from(*raw.first()?) << 16 | usize::from(*raw.get(1)?) << 8 | usize::from(*raw.get(2)?);
    match length {
        _ if length > LARGEST_FRAME => Some(raw.len()),
        _ => (raw.len() >= FRAME_HEADER + length).then_some(FRAME_HEADER + length),
    }
}

/// A frame of headers with another authority; none if it is another frame, or has no authority.
fn translated(frame: &[u8]) -> Option<Vec<u8>> {
    let (header, mut payload) = frame.split_at_checked(FRAME_HEADER)?;
    let (kind, flags) = (header[3], header[4]);
    if kind != HEADERS {
        return None;
    }
    if flags & PADDED != 0 {
        let (padding, rest) = payload.split_first()?;
        payload = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
    }
    let (priority, block) = payload.split_at_checked(if flags & PRIORITY != 0 { PRIORITY_BYTES } else { 0 })?;
    let value = authority(block)?;
    let payload = [priority, &block[..value.start], LOCALHOST, &block[value.end..]].concat();
    let length = u32::try_from(payload.len()).ok()?.to_be_bytes();
    Some([&length[1..], &[kind, flags & !PADDED], &header[5..], &payload].concat())
}

/// Where in a block of headers the value of `:authority` stands, its length included.
fn authority(block: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    loop {
        // The first bits say what kind of field it is, and so how many of them belong to the number.
        let (prefix, has_value) = match *block.get(at)? {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let name = number(block, &mut at, prefix)?;
        if !has_value {
            continue;
        }
        if name == 0 {
            skip_string(block, &mut at)?;
        }
        let value = at;
        skip_string(block, &mut at)?;
        if name == AUTHORITY {
            return Some(value..at);
        }
    }
}

fn skip_string(block: &[u8], at: &mut usize) -> Option<()> {
    let length = number(block, at, 7)?;
    *at += length;
    (*at <= block.len()).then_some(())
}

/// A number that begins in the last `prefix` bits of a byte.
fn number(block: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let most = (1 << prefix) - 1;
    let mut value = usize::from(*block.get(*at)?) & most;
    *at += 1;
    if value < most {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(*block.get(*at)?);
        *at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// POST, http, a path by a name of its own, the authority.
    fn block(authority: &[u8]) -> Vec<u8> {
        let length = u8::try_from(authority.len()).unwrap();
        [b"\x83\x86\x00\x05:path\x02/x\x41", &[length][..], authority, b"\x5f\x10application/grpc"].concat()
    }

    fn through(sent: &[u8], piece: usize) -> Vec<u8> {
        let mut translation = Translation::default();
        sent.chunks(piece).for_each(|piece| translation.take(piece));
        translation.ready
    }

    #[test]
    fn whatever_the_host_is_called_it_arrives_as_localhost_however_it_is_cut() {
        let settings = frame(4, 0, &[]);
        let data = frame(0, 1, &[0; 5]);
        for (flags, before, after) in [(4, &[][..], &[][..]), (4 | PADDED | PRIORITY, &[3, 0, 0, 0, 0, 9], &[0; 3])] {
            let headers = frame(HEADERS, flags, &[before, &block(b"%2Fvar%2Flib%2Freg.sock"), after].concat());
            let priority = before.get(1..).unwrap_or_default();
            let wanted = frame(HEADERS, flags & !PADDED, &[priority, &block(b"localhost")].concat());
            let sent = [&[b'p'; PREFACE], &settings[..], &headers, &data, &headers].concat();
            for piece in [1, 7, sent.len()] {
                let arrives = [&[b'p'; PREFACE], &settings[..], &wanted, &data, &wanted].concat();
                assert_eq!(through(&sent, piece), arrives, "in pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_it_does_not_understand_goes_on_as_it_came() {
        for block in [&b"\x83\x86"[..], b"\x41\x7fabc", b"\x41\xff\xff\xff\xff", b"\x00", b"\xc1", b""] {
            let sent = [&[b'p'; PREFACE], &frame(HEADERS, 4, block)[..]].concat();
            assert_eq!(through(&sent, 1), sent, "{block:?}");
        }
        let padded_away = [&[b'p'; PREFACE], &frame(HEADERS, 4 | PADDED, &[9, 0x83])[..]].concat();
        assert_eq!(through(&padded_away, 3), padded_away);
        let too_large = [&[b'p'; PREFACE], &[0xff; 40][..]].concat();
        assert_eq!(through(&too_large, 5), too_large);
    }
}
