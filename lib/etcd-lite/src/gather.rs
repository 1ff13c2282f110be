//! A connection whose small writes wait for each other.
//!
//! The HTTP/2 library puts frames together only when it believes that the connection takes one piece at a time; else each
//! frame of more than 256 bytes is a system call of its own, and to many watches on one connection a frame is an event. So we
//! take one piece at a time, and join what it hands over in two pieces: a large frame, and what stood before it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// What is no longer than this waits for what follows, or for a flush.
const SMALL: usize = 4096;

/// The connection.
#[derive(Debug)]
pub(crate) struct Gathered<S> {
    inner: S,
    /// What was taken and not passed on yet: everything from `passed` on.
    waiting: Vec<u8>,
    passed: usize,
}

impl<S> Gathered<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, waiting: Vec::new(), passed: 0 }
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Passes on what waits and then of `more`; returns how much of that.
    fn poll_pass(&mut self, context: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let waiting = self.waiting.get(self.passed..).unwrap_or_default();
            if waiting.is_empty() && more.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let parts = [IoSlice::new(waiting), IoSlice::new(more)];
            let wrote = match (waiting, more) {
                ([], one) | (one, []) => ready!(Pin::new(&mut self.inner).poll_write(context, one))?,
                _ => ready!(Pin::new(&mut self.inner).poll_write_vectored(context, &parts))?,
            };
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_more = wrote.checked_sub(waiting.len());
            self.passed += wrote;
            if let Some(of_more) = of_more {
                self.waiting.clear();
                self.passed = 0;
                return Poll::Ready(Ok(of_more));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting.len() + bytes.len() <= SMALL {
            self.waiting.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        match ready!(self.poll_pass(context, bytes))? {
            // only what waited went
            0 => self.poll_write(context, bytes),
            wrote => Poll::Ready(Ok(wrote)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pass(context, &[]))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pass(context, &[]))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, to)
    }
}

impl<S: Connected> Connected for Gathered<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Takes so much a call, and remembers how much each time.
    struct Narrow {
        most: usize,
        calls: Vec<usize>,
        taken: Vec<u8>,
        /// Every second call has to wait.
        waits: bool,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.waits = !self.waits;
            if self.waits {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            let now = all.len().min(self.most);
            self.taken.extend_from_slice(&all[..now]);
            self.calls.push(now);
            Poll::Ready(Ok(now))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn through(most: usize, pieces: &[usize], flush_after: usize) -> Vec<usize> {
        let inner = Narrow { most, calls: Vec::new(), taken: Vec::new(), waits: false };
        let mut connection = Gathered::new(inner);
        let mut sent = Vec::new();
        for (number, len) in pieces.iter().enumerate() {
            let bytes: Vec<u8> = (0..*len).map(|at| (at * 7 + number) as u8).collect();
            connection.write_all(&bytes).await.unwrap();
            sent.extend(bytes);
            if number % flush_after == flush_after - 1 {
                connection.flush().await.unwrap();
                assert!(connection.inner.taken == sent, "a flush leaves nothing behind");
            }
        }
        connection.shutdown().await.unwrap();
        assert!(connection.inner.taken == sent);
        connection.inner.calls
    }

    #[tokio::test]
    async fn every_byte_arrives_in_order_however_little_is_taken() {
        for most in [1, 100, 4096, 5000, 1 << 20] {
            for flush_after in [1, 3] {
                through(most, &[9, 300, 0, 4096, 1, 20_000, 5, 5000, 4097, 17], flush_after).await;
            }
        }
    }

    #[tokio::test]
    async fn small_pieces_and_a_large_one_behind_them_are_one_call() {
        assert_eq!(through(1 << 20, &[9, 300, 9, 300], 4).await, [618]);
        assert_eq!(through(1 << 20, &[9 + 1024, 15_000], 2).await, [16_033]);
        assert_eq!(through(1 << 20, &[16_000, 16_000], 2).await, [16_000, 16_000]);
        assert_eq!(through(1 << 20, &[9, 9], 1).await, [9, 9]);
    }

    #[tokio::test]
    async fn a_connection_that_takes_nothing_is_an_error() {
        let inner = Narrow { most: 0, calls: Vec::new(), taken: Vec::new(), waits: false };
        let mut connection = Gathered::new(inner);
        connection.write_all(b"x").await.unwrap();
        assert_eq!(connection.flush().await.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }

    #[tokio::test]
    async fn reading_is_no_concern_of_it() {
        let (mut theirs, ours) = tokio::io::duplex(64);
        theirs.write_all(b"hello").await.unwrap();
        let mut five = [0; 5];
        Gathered::new(ours).read_exact(&mut five).await.unwrap();
        assert_eq!(&five, b"hello");
    }
}
