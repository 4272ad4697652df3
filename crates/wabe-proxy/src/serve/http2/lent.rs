//! A connection that HTTP/2 has on loan, so that its owner can end it, and sees whether a head comes to its end.

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
    time::{Instant, sleep_until},
};

use super::heads::Heads;
use crate::wire::Prefixed;

/// What is lent.
#[derive(Debug)]
pub(super) struct Owned {
    stream: RefCell<Prefixed>,
    heads: RefCell<Heads>,
    /// When the head began that is under way.
    begun: Cell<Option<Instant>>,
    /// All that has come was read. What was not read is not the caller's delay.
    is_dry: Cell<bool>,
}

impl Owned {
    pub(super) fn new(stream: Prefixed) -> Self {
        let (stream, heads) = (RefCell::new(stream), RefCell::new(Heads::new()));
        Self { stream, heads, begun: Cell::new(None), is_dry: Cell::new(false) }
    }

    pub(super) fn into_inner(self) -> Prefixed {
        self.stream.into_inner()
    }

    /// Completes once a head has been under way for so long. To be polled by the task that has the connection read: without a head
    /// that comes in parts nothing wakes it.
    pub(super) async fn slow_head(&self, patience: Duration) {
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

    fn passed(&self, bytes: &[u8]) {
        let mut heads = self.heads.borrow_mut();
        let ended = heads.pass(bytes);
        if !heads.is_under_way() {
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
        self.0.is_dry.set(read.is_pending());
        self.0.passed(&buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_write_vectored(context, parts)
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
