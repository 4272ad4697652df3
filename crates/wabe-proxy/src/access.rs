//! The access log: one JSON line for each request, written when its answer is over.

use std::{
    cell::RefCell,
    io::{self, Write as _},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use serde::Serialize;

use crate::balance::UnderWay;

/// Lines that wait to be written: at most some, and not for long.
const LINES: usize = 64 << 10;

/// Where lines go.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: RefCell<Vec<u8>>,
}

/// A request and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// `namespace/name` of the caller.
    pub(crate) caller: String,
    /// `namespace/name:port` that was dialled.
    pub(crate) service: String,
    /// `namespace/name` of the route whose rule decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<String>,
    /// The rule's name, or its number from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    /// Why the proxy answered itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blame: Option<&'static str>,
    /// `namespace/name` of the workload that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// Of the answer's body.
    pub(crate) bytes: u64,
    /// The answer came to its end.
    pub(crate) complete: bool,
    /// From the request's head to the end of the answer.
    pub(crate) microseconds: u64,
    pub(crate) request_id: String,
}

/// A line that is written when dropped.
#[derive(Debug)]
pub(crate) struct Record {
    log: Rc<Log>,
    began: Instant,
    pub(crate) line: Line,
}

impl Log {
    pub(crate) fn record(self: &Rc<Self>, line: Line) -> Record {
        Record { log: Rc::clone(self), began: Instant::now(), line }
    }

    /// Writes what waits.
    pub(crate) fn flush(&self) {
        let lines = std::mem::take(&mut *self.lines.borrow_mut());
        if !lines.is_empty() {
            // Nobody could be told if it fails.
            let _ = io::stdout().lock().write_all(&lines);
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |it| it.as_secs_f64())
}

impl Drop for Record {
    fn drop(&mut self) {
        self.line.microseconds = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let full = {
            let mut lines = self.log.lines.borrow_mut();
            if serde_json::to_writer(&mut *lines, &self.line).is_ok() {
                lines.push(b'\n');
            }
            lines.len() > LINES
        };
        if full {
            self.log.flush();
        }
    }
}

/// An endpoint's answer on its way to the caller.
#[derive(Debug)]
pub(crate) struct Relayed {
    inner: Incoming,
    record: Record,
    _under_way: UnderWay,
}

impl Relayed {
    pub(crate) fn new(inner: Incoming, mut record: Record, under_way: UnderWay) -> Self {
        record.line.complete = inner.is_end_stream();
        Self { inner, record, _under_way: under_way }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.record.line.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.record.line.complete = self.inner.is_end_stream();
            }
            Poll::Ready(None) => self.record.line.complete = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
