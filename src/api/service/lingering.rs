//! A connection that is not closed before who asked has everything.
//!
//! A socket that is closed while something lies unread in it is reset, and what the kernel has not sent yet is lost: the end of a
//! long answer, where the client's last word was how much more it would take. So the way out is closed first, and what
//! still comes in is read until the client has closed its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// For a client that reads slowly, or is gone without a word.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Lingering {
    stream: TcpStream,
    /// Once nothing more is said here.
    until: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    /// Small answers do not wait for larger ones.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, until: None })
    }
}

impl Connected for Lingering {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Lingering {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, into)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    /// Ready when the other end has closed too.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.until.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let until = this.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        if until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut room = [0; 1024];
        loop {
            let mut rest = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut rest))?;
            if rest.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_was_said_arrives_whole_though_the_other_end_is_not_heard_any_more() {
        const LENGTH: usize = 2 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        // More lies in the kernel than the client's side takes.
        let socket = rustix::net::sockopt::set_socket_send_buffer_size(&stream, 4 << 20);
        socket.unwrap();
        let mut server = Lingering::new(stream).unwrap();
        client.write_all(b"never read").await.unwrap();
        let serving = tokio::spawn(async move {
            server.write_all(&vec![7; LENGTH]).await.unwrap();
            server.shutdown().await.unwrap();
        });
        let mut came = vec![0; 1000];
        client.read_exact(&mut came).await.unwrap();
        client.write_all(b"nor this").await.unwrap();
        came.clear();
        client.read_to_end(&mut came).await.unwrap();
        assert_eq!(came.len(), LENGTH - 1000);
        drop(client);
        serving.await.unwrap();
    }
}
