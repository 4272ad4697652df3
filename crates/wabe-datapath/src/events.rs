//! The ring buffer's reading end.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use wabe_abi::Event;
use zerocopy::FromBytes;

/// Events as they come. Readable when there are some.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    pub(crate) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }

    /// Hands over every event that is there now; returns how many.
    pub fn drain(&mut self, mut take: impl FnMut(&Event)) -> usize {
        let mut count = 0;
        while let Some(record) = self.ring.next() {
            if let Some(event) = decode(&record) {
                take(&event);
                count += 1;
            }
        }
        count
    }
}

/// The event in a record of the ring buffer; `None` if it is too short for one. What numbers stand for is not looked at.
pub fn decode(record: &[u8]) -> Option<Event> {
    Event::read_from_prefix(record).ok().map(|(event, _)| event)
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring keeps its descriptor open as long as `self` lives.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.ring.as_raw_fd()
    }
}
