//! A connection to an endpoint of HTTP/2: it breaks if the endpoint sends next to nothing but frames that carry nothing, and requests
//! leave together.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{gather::Gather, http2_frames::Frames, wire::Prefixed};

/// See [`Frames::is_flood`].
#[derive(Debug)]
pub(super) struct Heeded {
    stream: Prefixed,
    frames: Frames,
    since: Instant,
    /// Octets that the endpoint took.
    written: u64,
    gather: Gather,
    /// Requests under way.
    taken: Arc<AtomicUsize>,
}

impl Heeded {
    pub(super) fn new(stream: Prefixed, taken: Arc<AtomicUsize>) -> Self {
        Self {
            stream,
            frames: Frames::of_answers(),
            since: Instant::now(),
            written: 0,
            gather: Gather::default(),
            taken,
        }
    }

    fn poll_gathered(&mut self, context: &mut Context<'_>, octets: usize) -> Poll<()> {
        self.gather.poll(context, octets, self.taken.load(Relaxed) > 1)
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
        ready!(self.poll_gathered(context, bytes.len()));
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_gathered(context, parts.iter().map(|part| part.len()).sum()));
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gather.flushed();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
