//! What the notifier reads from a mail server goes through here: by lines, and not without end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The most bytes that a server may say in a conversation, TLS and all: lettre keeps a line until it ends.
const ANSWERS: usize = 1 << 20;

/// A connection that hands out at most one line at a time, and no more than [`ANSWERS`] altogether.
///
/// lettre keeps what it has read beyond an answer, also when the connection turns to TLS. Whoever sits in between
/// could send more in clear with the answer to `STARTTLS`, and have it taken for what the server says under TLS, such
/// as that it has the mail. Like this nothing is read beyond the answer, and what follows it must be TLS.
#[derive(Debug)]
pub(crate) struct LineByLine {
    stream: TcpStream,
    /// So much may still be said.
    left: usize,
}

impl LineByLine {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, left: ANSWERS }
    }
}

impl AsyncTokioStream for LineByLine {
    fn peer_addr(&self) -> io::Result<std::net::SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for LineByLine {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, left } = self.get_mut();
        if *left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the server says too much")));
        }
        let mut bytes = [0; 1024];
        let most = bytes.len().min(into.remaining()).min(*left);
        let mut ahead = ReadBuf::new(&mut bytes[..most]);
        ready!(stream.poll_peek(context, &mut ahead))?;
        let seen = ahead.filled();
        let line = seen.iter().position(|byte| *byte == b'\n').map_or(seen.len(), |end| end + 1);
        let mut read = ReadBuf::new(&mut bytes[..line]);
        ready!(Pin::new(stream).poll_read(context, &mut read))?;
        *left -= read.filled().len();
        into.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LineByLine {
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
