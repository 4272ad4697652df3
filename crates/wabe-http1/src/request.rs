//! Heads of requests.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Method, Request, Version, header, request};
use memchr::memchr;

use crate::{
    Framing, Limits, Refusal,
    authority::Authority,
    fields::{self, is_token},
    framing::Declared,
    lines::{self, Bounds, Lines},
    target,
};

/// Longer methods are of no standard.
const METHOD_BYTES: usize = 32;

/// What a target may have at most in the `http` crate.
const TARGET_BYTES: usize = 65_534;

/// So many fields a proxy adds to a request.
const ADDED: usize = 6;

/// Two blanks, the version and the line end.
const REST_OF_LINE: usize = 2 + "HTTP/1.1\r\n".len();

/// Takes the head of a request from the front of `buffer`; `None`: more octets are needed, and none has been taken.
///
/// One empty line before the head is skipped (RFC 9112, section 2.2). The target is as it was sent, with one exception: an
/// absolute one of OPTIONS without a path gets the path `*`, which it stands for. `Content-Length` and
/// `Transfer-Encoding` are still among the fields, and say what the framing says.
///
/// # Errors
/// What is wrong, as soon as it is certain. The buffer is then of no use.
pub fn request(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<(request::Parts, Framing)>, Refusal> {
    if buffer[..] == b"\r"[..] {
        return Ok(None);
    }
    let begin = if buffer.starts_with(b"\r\n") { 2 } else { 0 };
    let Some(line) = RequestLine::find(&buffer[begin..], limits)? else { return Ok(None) };
    let bounds = Bounds { bytes: limits.head_bytes, lines: limits.headers, too_large: Refusal::HeadTooLarge };
    let Some(lines) = lines::find(&buffer[begin..], line.length, bounds)? else { return Ok(None) };
    buffer.advance(begin);
    let head = buffer.split_to(lines.end).freeze();
    Ok(Some(line.complete(&head, &lines)?))
}

/// A request line whose method and version are right.
#[derive(Debug)]
pub(crate) struct RequestLine {
    pub(crate) method: Method,
    /// Where the target begins and ends.
    pub(crate) target: (usize, usize),
    pub(crate) version: Version,
    /// With its line end.
    pub(crate) length: usize,
}

impl RequestLine {
    #[inline]
    pub(crate) fn find(input: &[u8], limits: &Limits) -> Result<Option<Self>, Refusal> {
        let Some((method, from)) = method(input)? else { return Ok(None) };
        let longest = from + limits.target_bytes.min(TARGET_BYTES) + REST_OF_LINE - 1;
        let Some(feed) = memchr(b'\n', &input[..input.len().min(longest)]) else {
            return if input.len() < longest { Ok(None) } else { Err(Refusal::TargetTooLong) };
        };
        let Some(line) = input[..feed].strip_suffix(b"\r") else { return Err(Refusal::BareLineFeed) };
        let blank = memchr(b' ', &line[from..]).ok_or(Refusal::RequestLineMalformed)?;
        let to = from + blank;
        if to == from {
            return Err(Refusal::RequestLineMalformed);
        }
        if to - from > limits.target_bytes.min(TARGET_BYTES) {
            return Err(Refusal::TargetTooLong);
        }
        let version = version(&line[to + 1..])?;
        Ok(Some(Self { method, target: (from, to), version, length: feed + 1 }))
    }

    /// With the fields, which follow it in `head`.
    #[inline]
    fn complete(self, head: &Bytes, lines: &Lines) -> Result<(request::Parts, Framing), Refusal> {
        let (mut declared, mut host) = (Declared::default(), None);
        let headers = fields::read(head, self.length, lines, ADDED, |name, value| {
            if *name == header::CONTENT_LENGTH {
                declared.content_length(value)
            } else if *name == header::TRANSFER_ENCODING {
                declared.transfer_encoding(value)
            } else if *name == header::HOST {
                if host.is_some() {
                    return Err(Refusal::HostTwice);
                }
                host = Some(Authority::parse(value, Refusal::HostMalformed)?);
                Ok(())
            } else {
                Ok(())
            }
        })?;
        if host.is_none() && self.version == Version::HTTP_11 {
            return Err(Refusal::HostMissing);
        }
        let framing = declared.of_request(self.version, &self.method)?;
        let (from, to) = self.target;
        let uri = target::read(head.slice(from..to), &self.method, host.as_ref())?;
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method;
        parts.uri = uri;
        parts.version = self.version;
        parts.headers = headers;
        Ok((parts, framing))
    }
}

/// The method, and where the target begins.
fn method(input: &[u8]) -> Result<Option<(Method, usize)>, Refusal> {
    let Some(length) = input.iter().take(METHOD_BYTES + 1).position(|it| !is_token(*it)) else {
        return if input.len() > METHOD_BYTES { Err(Refusal::MethodTooLong) } else { Ok(None) };
    };
    if length == 0 || input[length] != b' ' {
        return Err(Refusal::MethodMalformed);
    }
    let method = Method::from_bytes(&input[..length]).map_err(|_| Refusal::MethodMalformed)?;
    check_method(&method)?;
    Ok(Some((method, length + 1)))
}

/// Checks a method that another protocol's parser has read as this one reads its own.
///
/// # Errors
/// [`Refusal::MethodTooLong`], and [`Refusal::MethodCase`] for a standard method in another case: methods are told apart by case
/// (RFC 9110, section 9.1), but not by everybody, so that who judges `delete` and who obeys it might differ.
pub fn check_method(method: &Method) -> Result<(), Refusal> {
    let standard = |it: &Method| method.as_str().eq_ignore_ascii_case(it.as_str());
    if method.as_str().len() > METHOD_BYTES {
        Err(Refusal::MethodTooLong)
    } else if method != Method::GET && !METHODS.contains(method) && METHODS.iter().any(standard) {
        Err(Refusal::MethodCase)
    } else {
        Ok(())
    }
}

/// Those which mean something to whoever frames messages, and their companions.
const METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

pub(crate) fn version(text: &[u8]) -> Result<Version, Refusal> {
    match text {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::VersionUnsupported)
        }
        [..] if text.contains(&b' ') => Err(Refusal::RequestLineMalformed),
        [..] => Err(Refusal::VersionMalformed),
    }
}
