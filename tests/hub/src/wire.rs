//! A TCP stream that tells when everything written so far has gone out, so that a cut body loses exactly what follows.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// A client that does not read for this long gets its cut all the same.
const LONGEST_FLUSH: Duration = Duration::from_secs(60);

pub struct Wire {
    stream: TcpStream,
    flushes: Arc<watch::Sender<u64>>,
}

/// The view of a connection that the body of an answer has.
#[derive(Clone)]
pub struct Flushes(Arc<watch::Sender<u64>>);

impl Wire {
    pub fn new(stream: TcpStream) -> (Self, Flushes) {
        let flushes = Arc::new(watch::Sender::new(0));
        let wire = Wire { stream, flushes: Arc::clone(&flushes) };
        (wire, Flushes(flushes))
    }
}

impl Flushes {
    /// Returns once the connection has nothing left to write.
    pub async fn next(&self) {
        let mut seen = self.0.subscribe();
        let flushed = seen.changed();
        // Neither a timeout nor a connection that is gone changes what the caller does next.
        let _ = tokio::time::timeout(LONGEST_FLUSH, flushed).await;
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushes.send_modify(|count| *count += 1);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
