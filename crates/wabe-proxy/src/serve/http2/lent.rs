//! A connection that HTTP/2 has on loan, so that its owner can end it, and sees whether a head comes to its end and whether
//! anything comes that carries something.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    select,
    task::coop::has_budget_remaining,
    time::{Instant, sleep_until},
};

use crate::{failure::Failure, http2_frames::Frames, wire::Prefixed};

/// What is lent.
#[derive(Debug)]
pub(super) struct Owned {
    stream: RefCell<Prefixed>,
    frames: RefCell<Frames>,
    since: Instant,
    /// Octets that the caller took.
    written: Cell<u64>,
    /// Next to nothing came that carries something.
    is_flooded: Cell<bool>,
    /// When the head began that is under way.
    begun: Cell<Option<Instant>>,
    /// All that has come was read. What was not read is not the caller's delay.
    is_dry: Cell<bool>,
}

impl Owned {
    pub(super) fn new(stream: Prefixed) -> Self {
        Self {
            stream: RefCell::new(stream),
            frames: RefCell::new(Frames::new()),
            since: Instant::now(),
            written: Cell::new(0),
            is_flooded: Cell::new(false),
            begun: Cell::new(None),
            is_dry: Cell::new(false),
        }
    }

    pub(super) fn into_inner(self) -> Prefixed {
        self.stream.into_inner()
    }

    /// Completes once the caller is no longer to be put up with, and says why: a head has been under way for so long, or frames
    /// come that carry nothing. To be polled by the task that has the connection read: nothing else wakes it.
    pub(super) async fn abused(&self, patience: Duration) -> Failure {
        let flooded = poll_fn(|_| if self.is_flooded.get() { Poll::Ready(()) } else { Poll::Pending });
        select! {
            () = flooded => Failure::Http2Abuse,
            () = self.slow_head(patience) => Failure::SlowHead,
        }
    }

    async fn slow_head(&self, patience: Duration) {
        let begun = || poll_fn(|_| self.begun.get().map_or(Poll::Pending, Poll::Ready));
        loop {
            let since = begun().await;
            let mut until = since + patience;
            loop {
                sleep_until(until).await;
                if self.begun.get() != Some(since) {
                    break;
                }
                if self.is_dry.get() {
                    return;
                }
                until = Instant::now() + patience;
            }
        }
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(octets)) = written {
            self.written.set(self.written.get() + *octets as u64);
        }
    }

    fn passed(&self, bytes: &[u8]) {
        let mut frames = self.frames.borrow_mut();
        let ended = frames.pass(bytes);
        self.is_flooded.set(frames.is_flood(self.written.get(), || self.since.elapsed().as_secs()));
        if !frames.is_under_way() {
            self.begun.set(None);
        } else if ended || self.begun.get().is_none() {
            self.begun.set(Some(Instant::now()));
        }
    }
}

/// The borrower's hold of it.
#[derive(Debug)]
pub(super) struct Lent(Rc<Owned>);

impl Lent {
    pub(super) fn new(owned: &Rc<Owned>) -> Self {
        Self(Rc::clone(owned))
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(context, buffer);
        self.0.is_dry.set(read.is_pending() && has_budget_remaining());
        self.0.passed(&buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(context, bytes);
        self.0.wrote(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write_vectored(context, parts);
        self.0.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(context)
    }
}
