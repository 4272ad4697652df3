//! What callers are granted: how long they are waited for, and how many there may be. How much is kept for each follows from
//! limits all over the crate; the test below adds them up for the manual.

use std::{os::fd::RawFd, time::Duration};

/// How long callers are waited for, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For a connection's first octets, where it is known to speak HTTP.
    pub first: Duration,
    /// For a request's head, once it has begun, and for a connection of HTTP/2 to begin.
    pub head: Duration,
    /// For more of a request's body (not of gRPC, whose streams may be silent; its calls have deadlines of their own), and to take more
    /// of what they are sent.
    pub body: Duration,
    /// For the next request, at least; twice as long at most.
    pub idle: Duration,
    /// So many descriptors are there. None: as many as the system grants.
    pub descriptors: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(60),
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(3600),
            descriptors: None,
        }
    }
}

impl Bounds {
    /// How many callers' connections there may be with these descriptors: most do nothing most of the time, and need none for an
    /// endpoint.
    pub(crate) fn connections(descriptors: u64) -> u64 {
        descriptors / 5 * 3
    }

    /// The first number that a descriptor has only while half of these are in use. Bytes go through pipes only below that: a connection
    /// whose bytes are copied needs two descriptors, one with pipes for both ways six.
    pub(crate) fn pipes(&self) -> RawFd {
        self.descriptors.and_then(|it| RawFd::try_from(it / 2).ok()).unwrap_or(RawFd::MAX)
    }

    /// The first number that a descriptor has only while 90 % of these are in use: the kernel gives the lowest that is free.
    pub(crate) fn scarce(descriptors: u64) -> RawFd {
        RawFd::try_from(descriptors / 10 * 9).unwrap_or(RawFd::MAX)
    }
}

#[cfg(test)]
mod tests {
    use wabe_http1::Limits;

    use super::*;
    use crate::{
        http2_frames::{IDLE_RATIO, SPARE, SPARE_EACH_SECOND},
        replay,
        serve::http2,
        upstream,
        wire::{COPIED, LARGE, WAITING},
    };

    /// The most bytes that are kept for one connection to an endpoint of HTTP/1: a head and what was read with it, and what waits to be
    /// written.
    const ENDPOINT_HTTP1: usize = Limits::DEFAULT.head_bytes + LARGE + WAITING + COPIED;
    /// The same for a stream of one of HTTP/2.
    const ENDPOINT_HTTP2: usize = upstream::HEADERS as usize + upstream::WINDOW as usize + upstream::SENT;
    const ENDPOINT: usize = if ENDPOINT_HTTP1 > ENDPOINT_HTTP2 { ENDPOINT_HTTP1 } else { ENDPOINT_HTTP2 };
    /// The same for a caller's connection of HTTP/1, with its request's body if that may be repeated, and with its endpoint's.
    const HTTP1: usize = Limits::DEFAULT.head_bytes + LARGE + WAITING + COPIED + replay::KEPT + ENDPOINT;
    /// The same for a caller's connection of HTTP/2, all of whose streams are in use.
    const HTTP2: usize = http2::WINDOWS as usize
        + http2::STREAMS as usize * (http2::HEADERS as usize + http2::SENT + replay::KEPT + ENDPOINT);

    #[test]
    fn a_tenth_of_the_descriptors_is_left() {
        for (descriptors, connections) in [(0, 0), (5, 3), (1024, 612), (u64::MAX, u64::MAX / 5 * 3)] {
            assert_eq!(Bounds::connections(descriptors), connections);
        }
        for (descriptors, scarce) in [(0, 0), (10, 9), (1024, 918), (u64::MAX, RawFd::MAX)] {
            assert_eq!(Bounds::scarce(descriptors), scarce);
        }
    }

    #[test]
    fn half_of_the_descriptors_are_not_for_pipes() {
        for (descriptors, pipes) in [(Some(1024), 512), (None, RawFd::MAX), (Some(u64::MAX), RawFd::MAX)] {
            assert_eq!(Bounds { descriptors, ..Bounds::default() }.pipes(), pipes);
        }
    }

    #[test]
    fn the_manual_says_how_much_is_kept_for_a_connection_and_how_long_it_is_waited_for() {
        let manual = include_str!("../../../docs/operations.md");
        let Bounds { first, head, body, idle, descriptors: _ } = Bounds::default();
        for said in [
            format!("{} KiB for one of HTTP/1", HTTP1 >> 10),
            format!("{} MiB for one of HTTP/2", HTTP2 >> 20),
            format!("{} streams", http2::STREAMS),
            format!(
                "{IDLE_RATIO} for each octet of heads, of bodies, and of what the caller is sent that is no answer to these, \
                 {SPARE_EACH_SECOND} for each second that the connection lasts, and {} MiB",
                SPARE >> 20
            ),
            format!("{} s for its first octets", first.as_secs()),
            format!("{} s for a head", head.as_secs()),
            format!("{} s for more of a body", body.as_secs()),
            format!("{} h for the next request", idle.as_secs() / 3600),
        ] {
            assert!(manual.contains(&said), "{said}");
        }
    }
}
