//! A connection to an endpoint of HTTP/2 that breaks if the endpoint sends next to nothing but frames that carry nothing.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{http2_frames::Frames, wire::Prefixed};

/// See [`Frames::is_flood`].
#[derive(Debug)]
pub(super) struct Heeded {
    stream: Prefixed,
    frames: Frames,
    since: Instant,
    /// Octets that the endpoint took.
    written: u64,
}

impl Heeded {
    pub(super) fn new(stream: Prefixed) -> Self {
        Self { stream, frames: Frames::of_answers(), since: Instant::now(), written: 0 }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(octets)) = &written {
            self.written += *octets as u64;
        }
        written
    }
}

impl AsyncRead for Heeded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.frames.pass(&buffer.filled()[before..]);
        if self.frames.is_flood(self.written, || self.since.elapsed().as_secs()) {
            return Poll::Ready(Err(io::Error::other("next to nothing that came carries anything")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heeded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
