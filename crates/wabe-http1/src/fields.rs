//! Field lines: of heads and of trailers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use crate::{Refusal, lines::Lines};

/// Hands over each field line with its name and its value as they were written.
///
/// `lines` were found in `input` from `begin` on. There is room for so many further fields without another allocation.
pub(crate) fn read<'a>(
    input: &'a Bytes,
    mut begin: usize,
    lines: &Lines,
    room: usize,
    mut take: impl FnMut(&HeaderName, &'a [u8]) -> Result<(), Refusal>,
) -> Result<HeaderMap, Refusal> {
    let mut fields = HeaderMap::try_with_capacity(lines.count + room).map_err(|_| Refusal::TooManyHeaders)?;
    for number in 0..lines.count {
        let feed = lines.feed(input, number, begin);
        let line = &input[begin..feed - 1];
        let (name, from, to) = split(line)?;
        take(&name, &line[from..to])?;
        // Looks for control characters; a carriage return within the line is one.
        let value = HeaderValue::from_maybe_shared(input.slice(begin + from..begin + to));
        let value = value.map_err(|_| Refusal::ValueMalformed)?;
        fields.try_append(name, value).map_err(|_| Refusal::TooManyHeaders)?;
        begin = feed + 1;
    }
    Ok(fields)
}

/// The name, and where the value begins and ends without the blanks around it.
fn split(line: &[u8]) -> Result<(HeaderName, usize, usize), Refusal> {
    if is_blank(line[0]) {
        return Err(Refusal::FoldedLine);
    }
    let colon = memchr(b':', line).ok_or(Refusal::NoColon)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| {
        if line[..colon].last().is_some_and(|it| is_blank(*it)) {
            Refusal::SpaceBeforeColon
        } else {
            Refusal::NameMalformed
        }
    })?;
    let mut from = colon + 1;
    let mut to = line.len();
    while from < to && is_blank(line[from]) {
        from += 1;
    }
    while from < to && is_blank(line[to - 1]) {
        to -= 1;
    }
    Ok((name, from, to))
}

fn is_blank(octet: u8) -> bool {
    octet == b' ' || octet == b'\t'
}

/// Whether a token may have it (RFC 9110, section 5.6.2).
pub(crate) const fn is_token(octet: u8) -> bool {
    matches!(octet, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
        || octet.is_ascii_alphanumeric()
}
