//! Heads that need not be taken apart.
//!
//! Most heads have nothing in them that anybody must look at twice. To look at such a head once and copy it costs a third of
//! what it costs to make a value of each field and to write all of them anew.

use bytes::{Buf as _, BytesMut};
use http::{Method, StatusCode, Uri, Version};
use memchr::memchr;

use crate::{
    Framing, Limits, Refusal, authority::Authority, fields::is_token, framing::Declared,
    request::RequestLine, response::StatusLine, target,
};

/// Octets. Longer heads are unusual too.
const LONGEST: usize = (4 << 10) - 16;
/// Room for what is said after the head, a short body included.
const REST: usize = 512;

/// The head of an answer, in the form that [`crate::write_response_head`] would give it.
#[derive(Debug)]
pub struct PlainHead {
    /// Neither informational nor one that has no body.
    pub status: StatusCode,
    /// Never [`Framing::UntilClose`].
    pub framing: Framing,
    /// See [`crate::is_persistent`].
    pub persistent: bool,
    /// Its lines, without what `Connection` said, and without the empty line at the end.
    pub lines: BytesMut,
}

/// The head of a request, in the form that [`crate::write_request_head`] would give it.
#[derive(Debug)]
pub struct PlainRequest {
    /// Not CONNECT.
    pub method: Method,
    /// In origin form.
    pub target: Uri,
    /// How its body comes.
    pub framing: Framing,
    /// See [`crate::is_persistent`].
    pub persistent: bool,
    /// Its lines, without what `Connection` said, and without the empty line at the end.
    pub lines: BytesMut,
}

/// Takes the head of a request off the buffer, if it is whole and nothing about it is unusual, nor `is_special` by name (in lower
/// case) and value.
///
/// `None` leaves everything as it was: [`crate::request`] says what it is then. Whatever is returned is what that function and
/// [`crate::write_request_head`] would make of it, but for the order of fields with different names.
///
/// Unusual are: what [`plain_response`] calls so; CONNECT; targets that are no path.
pub fn plain_request(
    buffer: &mut BytesMut,
    limits: &Limits,
    is_special: impl Fn(&[u8], &[u8]) -> bool,
) -> Option<PlainRequest> {
    let line = RequestLine::find(buffer, limits).ok()??;
    let (from, to) = line.target;
    if line.version != Version::HTTP_11 || line.method == Method::CONNECT || buffer[from] != b'/' {
        return None;
    }
    let mut host = false;
    let Lines { end, declared, persistent, lines } =
        Lines::find(buffer, line.length, limits, |name, value| {
            if name == b"host" {
                let is_first = !std::mem::replace(&mut host, true);
                return is_first && Authority::parse(value, Refusal::HostMalformed).is_ok();
            }
            !is_special(name, value)
        })?;
    if !host {
        return None;
    }
    let framing = declared.of_request(line.version, &line.method).ok()?;
    let target = target::path(&buffer[from..to]).ok()?;
    buffer.advance(end);
    Some(PlainRequest { method: line.method, target, framing, persistent, lines })
}

/// Takes the head of an answer to a request with method `to` off the buffer, if it is whole and nothing about it is unusual.
///
/// `None` leaves everything as it was: [`crate::response`] says what it is then. Whatever is returned is what that function and
/// [`crate::write_response_head`] would make of it, but for the order of fields with different names.
///
/// Unusual are: other versions than HTTP/1.1; answers that have no body by their status or method, or end with the connection;
/// `Connection` with anything but `close` and `keep-alive`, and other fields that are of one connection only; heads of
/// 4 KiB and more; whatever is refused.
pub fn plain_response(buffer: &mut BytesMut, limits: &Limits, to: &Method) -> Option<PlainHead> {
    let line = StatusLine::find(buffer, limits).ok()??;
    // Without a reason there may be no blank before it.
    if line.version != Version::HTTP_11 || line.reason.0 == line.reason.1 {
        return None;
    }
    let Lines { end, declared, persistent, lines } = Lines::find(buffer, line.length, limits, |_, _| true)?;
    let (status, framing) = (line.status, declared.of_response(line.version, line.status, to).ok()?);
    if !matches!(framing, Framing::Length(_) | Framing::Chunked) {
        return None;
    }
    buffer.advance(end);
    Some(PlainHead { status, framing, persistent, lines })
}

/// A head with nothing unusual among its fields.
struct Lines {
    /// Behind the empty line.
    end: usize,
    declared: Declared,
    persistent: bool,
    /// As they are passed on, the first one too.
    lines: BytesMut,
}

impl Lines {
    /// Reads a head whose first line has `first` octets. Every field that says nothing of message or connection has to be
    /// `usual`, by its name (in lower case) and its value.
    #[inline]
    fn find(
        input: &[u8],
        first: usize,
        limits: &Limits,
        mut usual: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Option<Self> {
        let window = &input[..input.len().min(limits.head_bytes).min(LONGEST)];
        let mut lines = BytesMut::with_capacity(window.len().min(REST) + REST);
        lines.extend_from_slice(window.get(..first)?);
        let mut read = Self { end: first, declared: Declared::default(), persistent: true, lines };
        let mut count = 1;
        loop {
            let begin = read.end;
            read.end += memchr(b'\n', &window[begin..])? + 1;
            let line = &window[begin..read.end];
            if *line == *b"\r\n" {
                break;
            }
            count += 1;
            read.line(line, &mut usual)?;
        }
        let is_usual = count <= limits.headers + 1 && is_text(&window[..read.end], count + 1);
        is_usual.then_some(read)
    }

    /// Reads a field line, with its line end.
    #[inline]
    fn line(&mut self, all: &[u8], usual: &mut impl FnMut(&[u8], &[u8]) -> bool) -> Option<()> {
        let place = self.lines.len();
        self.lines.extend_from_slice(all);
        let colon = lower_name(&mut self.lines[place..]);
        let value = all[colon..].strip_prefix(b":")?.strip_suffix(b"\r\n")?;
        let is_trim = matches!(value, [b' ', first, ..] if !first.is_ascii_whitespace())
            && value.last().is_some_and(|it| !it.is_ascii_whitespace());
        let value = value.trim_ascii();
        let name = &self.lines[place..place + colon];
        match Known::of(name) {
            Known::Nothing if colon > 0 && usual(name, value) => {}
            Known::Connection if value.eq_ignore_ascii_case(b"keep-alive") => {
                self.lines.truncate(place);
                return Some(());
            }
            Known::Connection if value.eq_ignore_ascii_case(b"close") => {
                self.persistent = false;
                self.lines.truncate(place);
                return Some(());
            }
            // Written as a number, its zeros would be gone.
            Known::Length if value.len() == 1 || !value.starts_with(b"0") => {
                self.declared.content_length(value).ok()?;
            }
            Known::Encoding if value == b"chunked" => self.declared.transfer_encoding(value).ok()?,
            Known::Nothing | Known::Connection | Known::OfOneConnection | Known::Length | Known::Encoding => {
                return None;
            }
        }
        if !is_trim {
            self.lines.truncate(place + colon);
            [b": ", value, b"\r\n"].iter().for_each(|it| self.lines.extend_from_slice(it));
        }
        Some(())
    }
}

/// Where a name ends, which is in lower case then.
fn lower_name(line: &mut [u8]) -> usize {
    /// 0: no part of a name.
    static LOWER: [u8; 256] = {
        let mut table = [0; 256];
        let mut octet = 0;
        while octet < 256 {
            if is_token(octet as u8) {
                table[octet] = (octet as u8).to_ascii_lowercase();
            }
            octet += 1;
        }
        table
    };
    for (place, octet) in line.iter_mut().enumerate() {
        match LOWER[usize::from(*octet)] {
            0 => return place,
            lower => *octet = lower,
        }
    }
    line.len()
}

/// Fields that say something about message or connection.
enum Known {
    Nothing,
    Connection,
    /// RFC 9110, section 7.6.1: whoever takes the head apart ends them.
    OfOneConnection,
    Length,
    Encoding,
}

impl Known {
    /// `name` is in lower case.
    fn of(name: &[u8]) -> Self {
        match name {
            b"connection" => Self::Connection,
            b"te" | b"upgrade" | b"keep-alive" | b"proxy-connection" => Self::OfOneConnection,
            b"content-length" => Self::Length,
            b"transfer-encoding" => Self::Encoding,
            _ => Self::Nothing,
        }
    }
}

/// No control characters but tabs, line feeds, and so many carriage returns: each line ends with one, so that none is elsewhere.
/// `head` has [`LONGEST`] octets at most. They are looked at in groups, whose members the processor sees at once.
fn is_text(head: &[u8], returns: usize) -> bool {
    const GROUP: usize = 16;
    let (groups, rest) = head.as_chunks();
    let mut last = [b' '; GROUP];
    last[..rest.len()].copy_from_slice(rest);
    let (mut bad, mut found) = ([0; GROUP], [0; GROUP]);
    for group in groups.iter().chain([&last]) {
        for (place, it) in group.iter().copied().enumerate() {
            let is_line_end = (it == b'\n') | (it == b'\r');
            bad[place] |= u8::from(((it < b' ') & (it != b'\t') & !is_line_end) | (it == 0x7f));
            found[place] += u8::from(it == b'\r');
        }
    }
    bad == [0; GROUP] && found.into_iter().map(usize::from).sum::<usize>() == returns
}
