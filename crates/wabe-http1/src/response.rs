//! Heads of answers.

use bytes::{Bytes, BytesMut};
use http::{Method, Response, StatusCode, Version, header, response};
use memchr::memchr;

use crate::{
    Framing, Limits, Refusal, fields,
    framing::{Declared, never_has_body},
    lines::{self, Bounds, Lines},
    request::version,
};

/// The reason phrase of an answer, among the extensions of its head if it is another than the status' usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(pub(crate) Bytes);

impl Reason {
    /// Visible characters, blanks and octets beyond ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Takes the head of an answer to a request with method `to` from the front of `buffer`; `None`: more octets are needed,
/// and none has been taken.
///
/// Heads of 1xx come by themselves, each with [`Framing::None`]; the one that counts follows. After a 101, and a 2xx to
/// CONNECT, what follows is another protocol. A `Content-Length` that means nothing (of a 204, say) is not among the fields.
///
/// # Errors
/// What is wrong, as soon as it is certain. The buffer is then of no use.
pub fn response(
    buffer: &mut BytesMut,
    limits: &Limits,
    to: &Method,
) -> Result<Option<(response::Parts, Framing)>, Refusal> {
    let Some(line) = StatusLine::find(buffer, limits)? else { return Ok(None) };
    let bounds = Bounds { bytes: limits.head_bytes, lines: limits.headers, too_large: Refusal::HeadTooLarge };
    let Some(lines) = lines::find(buffer, line.length, bounds)? else { return Ok(None) };
    let head = buffer.split_to(lines.end).freeze();
    line.complete(&head, &lines, to).map(Some)
}

/// A status line whose version and status are right.
#[derive(Debug)]
pub(crate) struct StatusLine {
    pub(crate) version: Version,
    pub(crate) status: StatusCode,
    /// Where the reason phrase begins and ends.
    pub(crate) reason: (usize, usize),
    /// With its line end.
    pub(crate) length: usize,
}

impl StatusLine {
    pub(crate) fn find(input: &[u8], limits: &Limits) -> Result<Option<Self>, Refusal> {
        // What speaks another protocol may never send a line feed.
        if !input.iter().zip(b"HTTP/").all(|(is, wanted)| is == wanted) {
            return Err(Refusal::VersionMalformed);
        }
        let window = &input[..input.len().min(limits.head_bytes)];
        let Some(feed) = memchr(b'\n', window) else {
            return if input.len() < limits.head_bytes { Ok(None) } else { Err(Refusal::HeadTooLarge) };
        };
        let Some(line) = input[..feed].strip_suffix(b"\r") else { return Err(Refusal::BareLineFeed) };
        let Some((text, rest)) = line.split_at_checked("HTTP/1.1".len()) else {
            return Err(Refusal::VersionMalformed);
        };
        let version = version(text)?;
        // Servers that send no reason phrase often leave out the blank before it too, which misleads nobody.
        let status = match rest {
            [b' ', _, _, _] | [b' ', _, _, _, b' ', ..] => &rest[1..4],
            [..] => return Err(Refusal::StatusMalformed),
        };
        let status = StatusCode::from_bytes(status).ok().filter(|it| it.as_u16() < 600);
        let reason = (line.len().min(text.len() + 5), line.len());
        if !line[reason.0..].iter().all(|it| *it == b'\t' || (*it >= b' ' && *it != 0x7f)) {
            return Err(Refusal::ReasonMalformed);
        }
        let status = status.ok_or(Refusal::StatusMalformed)?;
        Ok(Some(Self { version, status, reason, length: feed + 1 }))
    }

    /// With the fields, which follow it in `head`.
    fn complete(
        self,
        head: &Bytes,
        lines: &Lines,
        to: &Method,
    ) -> Result<(response::Parts, Framing), Refusal> {
        let mut declared = Declared::default();
        let mut headers = fields::read(head, self.length, lines, 0, |name, value| {
            if *name == header::CONTENT_LENGTH {
                declared.content_length(value)
            } else if *name == header::TRANSFER_ENCODING {
                declared.transfer_encoding(value)
            } else {
                Ok(())
            }
        })?;
        let framing = declared.of_response(self.version, self.status, to)?;
        if never_has_body(self.status) || (*to == Method::CONNECT && self.status.is_success()) {
            headers.remove(header::CONTENT_LENGTH);
            headers.remove(header::TRANSFER_ENCODING);
        }
        let (mut parts, ()) = Response::new(()).into_parts();
        let reason = &head[self.reason.0..self.reason.1];
        if self.status.canonical_reason().is_none_or(|usual| usual.as_bytes() != reason) {
            parts.extensions.insert(Reason(head.slice(self.reason.0..self.reason.1)));
        }
        parts.status = self.status;
        parts.version = self.version;
        parts.headers = headers;
        Ok((parts, framing))
    }
}
