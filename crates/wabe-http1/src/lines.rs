//! Finds where a head or trailers end, without looking into their lines.

use memchr::memchr;

use crate::Refusal;

/// Which refusals are meant, and the largest size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) lines: usize,
    pub(crate) too_large: Refusal,
}

/// The index behind the empty line that ends the field lines, which begin at `from`; `None`: more is needed.
///
/// [`Bounds::bytes`] counts from the beginning of `input`.
///
/// # Errors
/// A line that ends otherwise than by CR LF, too many lines, too many octets.
pub(crate) fn end(input: &[u8], from: usize, bounds: Bounds) -> Result<Option<usize>, Refusal> {
    let window = &input[..input.len().min(bounds.bytes)];
    let mut begin = from;
    let mut lines = 0;
    while let Some(length) = window.get(begin..).and_then(|rest| memchr(b'\n', rest)) {
        let feed = begin + length;
        if length == 0 || window[feed - 1] != b'\r' {
            return Err(Refusal::BareLineFeed);
        }
        begin = feed + 1;
        if length == 1 {
            return Ok(Some(begin));
        }
        lines += 1;
        if lines > bounds.lines {
            return Err(Refusal::TooManyHeaders);
        }
    }
    if input.len() >= bounds.bytes { Err(bounds.too_large) } else { Ok(None) }
}
