//! Writes bodies.

use std::fmt;

use bytes::{BufMut as _, BytesMut};
use http::HeaderMap;

use crate::{Framing, body::is_of_heads, write::field};

/// What can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// A request can't end with the connection.
    RequestUntilClose,
    /// CONNECT needs a host and a port.
    NoAuthority,
    /// Neither a `Host` nor a target with a host, as HTTP/1.0 allows.
    NoHost,
    /// A target that HTTP/1.1 can't carry: a character beyond ASCII, say, which came by HTTP/2.
    Target,
    /// More octets than the head announced.
    TooLong,
    /// Fewer octets than the head announced.
    TooShort,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestUntilClose => "a request can't end with the connection",
            Self::NoAuthority => "CONNECT has no host and port",
            Self::NoHost => "the request says no host",
            Self::Target => "the target can't be written in HTTP/1.1",
            Self::TooLong => "the body is longer than its head said",
            Self::TooShort => "the body is shorter than its head said",
        })
    }
}

impl std::error::Error for EncodeError {}

/// Writes what stands around the pieces of one body, and counts them.
///
/// Data itself is not copied: [`Self::before`] a piece, the piece, [`Self::after`] it; or [`Self::whole`] for a small one.
#[derive(Debug)]
pub struct BodyEncoder {
    framing: Framing,
}

impl BodyEncoder {
    /// For the body whose head was written with that framing.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self { framing }
    }

    /// Writes what comes before a piece of `length` octets. A piece of none is left out.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`]; nothing has been written then.
    pub fn before(&mut self, length: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        match &mut self.framing {
            Framing::None if length > 0 => Err(EncodeError::TooLong),
            Framing::Length(left) => {
                *left = left.checked_sub(length as u64).ok_or(EncodeError::TooLong)?;
                Ok(())
            }
            Framing::Chunked if length > 0 => {
                hexadecimal(length, out);
                out.put_slice(b"\r\n");
                Ok(())
            }
            Framing::None | Framing::Chunked | Framing::UntilClose => Ok(()),
        }
    }

    /// Writes what comes after a piece of `length` octets.
    pub fn after(&self, length: usize, out: &mut BytesMut) {
        if self.framing == Framing::Chunked && length > 0 {
            out.put_slice(b"\r\n");
        }
    }

    /// Writes a piece with what stands around it.
    ///
    /// # Errors
    /// As [`Self::before`].
    pub fn whole(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        self.before(data.len(), out)?;
        out.put_slice(data);
        self.after(data.len(), out);
        Ok(())
    }

    /// Writes the end. Trailers are left out where there are no chunks, and so is each that only a head may have.
    ///
    /// # Errors
    /// [`EncodeError::TooShort`]: the receiver waits for the rest; only closing the connection tells it.
    pub fn end(self, trailers: Option<&HeaderMap>, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self.framing {
            Framing::None | Framing::UntilClose | Framing::Length(0) => {}
            Framing::Length(_) => return Err(EncodeError::TooShort),
            Framing::Chunked => {
                out.put_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten().filter(|(it, _)| !is_of_heads(it)) {
                    field(name, value, out);
                }
                out.put_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

fn hexadecimal(number: usize, out: &mut BytesMut) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        out.put_u8(b"0123456789abcdef"[number >> (4 * place) & 15]);
    }
}
