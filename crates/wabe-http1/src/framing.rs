//! Where a body ends, from what a head says about it (RFC 9112, section 6.3).

use http::{Method, StatusCode, Version};

use crate::Refusal;

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many octets; may be 0.
    Length(u64),
    /// In chunks, with trailers.
    Chunked,
    /// It ends with the connection: answers only.
    UntilClose,
}

/// What the field lines of a head say about the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    length: Option<u64>,
    chunked: bool,
}

impl Declared {
    /// Takes the value of a `Content-Length` line.
    pub(crate) fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(Refusal::ContentLengthTwice);
        }
        self.length = Some(length(value)?);
        Ok(())
    }

    /// Takes the value of a `Transfer-Encoding` line.
    pub(crate) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked {
            return Err(Refusal::TransferEncodingTwice);
        }
        only_chunked(value)?;
        self.chunked = true;
        Ok(())
    }

    fn consistent(self, version: Version) -> Result<Self, Refusal> {
        match self {
            Self { chunked: true, length: Some(_) } => Err(Refusal::LengthAndEncoding),
            Self { chunked: true, .. } if version == Version::HTTP_10 => Err(Refusal::EncodingInHttp10),
            consistent => Ok(consistent),
        }
    }

    /// Of a request.
    pub(crate) fn of_request(self, version: Version, method: &Method) -> Result<Framing, Refusal> {
        let framing = match self.consistent(version)? {
            Self { chunked: true, .. } => Framing::Chunked,
            Self { length: Some(length), .. } => Framing::Length(length),
            Self { length: None, .. } => Framing::None,
        };
        // What follows the head of a CONNECT is the tunnel's; a reader that took it for a body would disagree.
        match framing {
            Framing::None | Framing::Length(0) => Ok(framing),
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose if *method == Method::CONNECT => {
                Err(Refusal::ConnectWithBody)
            }
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose => Ok(framing),
        }
    }

    /// Of the answer to a request with method `to`.
    pub(crate) fn of_response(
        self,
        version: Version,
        status: StatusCode,
        to: &Method,
    ) -> Result<Framing, Refusal> {
        let declared = self.consistent(version)?;
        if never_has_body(status) && (declared.chunked || declared.length.is_some_and(|it| it > 0)) {
            return Err(Refusal::BodyWhereNone);
        }
        if has_no_body(status, to) {
            return Ok(Framing::None);
        }
        Ok(match declared {
            Self { chunked: true, .. } => Framing::Chunked,
            Self { length: Some(length), .. } => Framing::Length(length),
            Self { length: None, .. } => Framing::UntilClose,
        })
    }
}

/// Statuses with which a server may not even say what framing there would be.
pub(crate) fn never_has_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// Whether the answer is a head and nothing else, whatever it says.
fn has_no_body(status: StatusCode, to: &Method) -> bool {
    never_has_body(status)
        || status == StatusCode::NOT_MODIFIED
        || *to == Method::HEAD
        || (*to == Method::CONNECT && status.is_success())
}

/// Digits only. A length that no file has is refused, so that nobody's arithmetic overflows further on.
fn length(value: &[u8]) -> Result<u64, Refusal> {
    const DIGITS: usize = 18;
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::ContentLengthMalformed);
    }
    if value.len() > DIGITS {
        return Err(Refusal::ContentLengthTooLarge);
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// `chunked` alone. What else there is, is told apart only to give the right status.
fn only_chunked(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.split(|it| *it == b',').map(<[u8]>::trim_ascii);
    if codings.clone().any(|it| it.is_empty() || !it.iter().copied().all(crate::fields::is_token)) {
        return Err(Refusal::TransferEncodingMalformed);
    }
    match codings.position(|it| it.eq_ignore_ascii_case(b"chunked")) {
        // Something understood before or after it is something that is not understood, or chunks within chunks.
        Some(_) if codings.next().is_some() => Err(Refusal::ChunkedNotLast),
        Some(_) | None => Err(Refusal::TransferEncodingUnknown),
    }
}
