//! What is spoken over a connection of which nobody said it: by its first bytes, without holding up a server that speaks first.
//!
//! [`sniff`] looks at bytes. [`Watch`] says what to do meanwhile, for ports without routes of requests whose protocol is unknown
//! ([`AppProtocol::Detect`](wabe_model::AppProtocol)):
//!
//! 1. The endpoint is chosen and connected to at once, before the caller has sent anything. A server that speaks first (MySQL, SMTP)
//!    is heard at once, and its greeting settles that nothing is read here.
//! 2. What the caller sends is held back, a whole request's head as a rule, until it is clear what it is, it is clear that it is
//!    nothing that is read here, or [`MOST_HELD_TIME`] has gone by.
//! 3. Nobody who says nothing is hurried: a connection on which both are silent is watched as long as it lives.
//!
//! Pure: no clock, no sockets. Where routes of requests hold for a port it speaks HTTP, whatever comes, and only the version is
//! sniffed.

use std::time::{Duration, Instant};

/// How long the first bytes of a caller are held back at most, if they look like the beginning of something. Clients send a
/// request's head, or a preface, in one piece; one that writes it in two has the second held back by Nagle's algorithm until the
/// first is acknowledged, which takes Linux 40 ms if it delays that. Longer would be felt by protocols that only look like HTTP.
pub const MOST_HELD_TIME: Duration = Duration::from_millis(50);

/// Bytes of a first line that is no longer waited for: what is this long and looks like HTTP so far is taken for it.
const LONGEST_LINE: usize = 8192;

/// What HTTP/2 with prior knowledge begins with (RFC 9113, section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// The line that a request of HTTP/1 begins with.
    Http1,
    /// The preface of HTTP/2.
    Http2,
    /// A record of TLS with a ClientHello in it.
    Tls,
    /// Something else.
    Unknown,
}

/// What the proxy does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Keeps back what the caller sends, passes on what the endpoint sends, and asks again at this time, if not before.
    Hold(Option<Instant>),
    /// Reads the caller's bytes as requests: [`Detected::Http1`] or [`Detected::Http2`].
    Read(Detected),
    /// Passes on everything, what was kept back first: [`Detected::Tls`] or [`Detected::Unknown`].
    PassOn(Detected),
}

/// What has happened on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The caller has sent something: all of it so far.
    Caller(&'a [u8]),
    /// The caller sends no more than this.
    CallerEnded(&'a [u8]),
    /// The endpoint has sent something, or sends nothing more.
    Endpoint,
    /// The time to ask again has come.
    Time,
}

/// Watches a connection until it is clear what to do with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    until: Option<Instant>,
    settled: Option<Course>,
}

impl Watch {
    /// What to do now. Once it is [`Course::Read`] or [`Course::PassOn`] it stays so.
    #[must_use]
    pub fn hear(&mut self, now: Instant, heard: Heard<'_>) -> Course {
        if let Some(course) = self.settled {
            return course;
        }
        let course = match heard {
            Heard::Endpoint => Course::PassOn(Detected::Unknown),
            Heard::Caller(bytes) => match sniff(bytes) {
                Some(detected) => Course::of(detected),
                None => self.hold(now, bytes),
            },
            Heard::CallerEnded(bytes) => Course::of(sniff(bytes).unwrap_or(Detected::Unknown)),
            Heard::Time => self.hold(now, &[]),
        };
        if !matches!(course, Course::Hold(_)) {
            self.settled = Some(course);
        }
        course
    }

    fn hold(&mut self, now: Instant, bytes: &[u8]) -> Course {
        if self.until.is_none() && !bytes.is_empty() {
            self.until = Some(now + MOST_HELD_TIME);
        }
        match self.until {
            Some(until) if until <= now => Course::PassOn(Detected::Unknown),
            until => Course::Hold(until),
        }
    }
}

impl Course {
    fn of(detected: Detected) -> Self {
        match detected {
            Detected::Http1 | Detected::Http2 => Self::Read(detected),
            Detected::Tls | Detected::Unknown => Self::PassOn(detected),
        }
    }
}

/// What a connection begins with; `None` if more bytes are needed to tell. What is no beginning of anything known is told by the
/// first byte that does not fit.
#[must_use]
pub fn sniff(first: &[u8]) -> Option<Detected> {
    match first {
        [] => None,
        _ if first.starts_with(PREFACE) => Some(Detected::Http2),
        _ if PREFACE.starts_with(first) => None,
        [0x16, ..] => hello_record(first),
        _ => request_line(first),
    }
}

/// Type `handshake`, version 3.0 to 3.4, a length of 1 to 16 384 (RFC 8446, section 5.1), and a ClientHello's type.
fn hello_record(first: &[u8]) -> Option<Detected> {
    let fits: [fn(u8) -> bool; 4] = [|it| it == 0x16, |it| it == 3, |it| it <= 4, |it| it <= 0x40];
    if first.iter().zip(fits).any(|(byte, fits)| !fits(*byte)) {
        return Some(Detected::Unknown);
    }
    let length = first.get(3..5).map(|it| usize::from(it[0]) << 8 | usize::from(it[1]));
    match (length, first.get(5)) {
        (Some(0 | 16_385..), _) | (_, Some(0 | 2..)) => Some(Detected::Unknown),
        (Some(_), Some(1)) => Some(Detected::Tls),
        (_, None) | (None, _) => None,
    }
}

/// A method, a space, a target and a version of HTTP/1, to the end of the line. A method alone says too little: `GET key` is
/// Redis' too, `EHLO host` SMTP's, `CONNECT {...}` NATS'.
fn request_line(first: &[u8]) -> Option<Detected> {
    let end = first.iter().position(|it| matches!(it, b'\r' | b'\n'));
    let line = &first[..end.unwrap_or(first.len())];
    let mut words = line.splitn(3, |it| *it == b' ');
    let (method, target, version) = (words.next().unwrap_or_default(), words.next(), words.next());
    let fits = method.len() <= 32
        && method.first().is_none_or(u8::is_ascii_uppercase)
        && method.iter().all(|it| it.is_ascii_uppercase() || matches!(it, b'-' | b'_'))
        && target.is_none_or(|it| !method.is_empty() && is_target(method, it, version.is_some()))
        && version.is_none_or(|it| b"HTTP/1.1".starts_with(it) || b"HTTP/1.0".starts_with(it));
    match (fits, end, version) {
        (false, ..) | (_, Some(_), None) => Some(Detected::Unknown),
        // The line is complete.
        (true, Some(_), Some(version)) if version.len() < 8 => Some(Detected::Unknown),
        (true, Some(_), Some(_)) => Some(Detected::Http1),
        (true, None, _) => (line.len() > LONGEST_LINE).then_some(Detected::Http1),
    }
}

/// Whether these bytes are (if they are `complete`) or begin what a request may ask for (RFC 9112, section 3.2).
fn is_target(method: &[u8], target: &[u8], complete: bool) -> bool {
    let printable = target.iter().all(|it| (0x21..0x7f).contains(it) || *it >= 0x80);
    let scheme = |scheme: &[u8]| {
        let fits = target.iter().zip(scheme).all(|(byte, wanted)| byte.eq_ignore_ascii_case(wanted));
        fits && (!complete || target.len() > scheme.len())
    };
    let shaped = match (method, target.first()) {
        // An authority; NATS has a brace here.
        (b"CONNECT", Some(first)) => first.is_ascii_alphanumeric() || *first == b'[',
        (_, None) => !complete,
        (_, Some(b'/')) => true,
        (b"OPTIONS", Some(b'*')) => target.len() == 1,
        (_, Some(_)) => scheme(b"http://") || scheme(b"https://"),
    };
    printable && shaped
}
