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

/// Where the lines are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    /// Behind the empty line.
    pub(crate) end: usize,
    pub(crate) count: usize,
    /// The line feeds of the first lines, so that they need not be searched again.
    feeds: [u32; KNOWN],
}

/// More lines than most heads have.
const KNOWN: usize = 20;

impl Lines {
    /// The line feed that ends line `number`, one of [`Self::count`], which begins at `begin` in the same input.
    pub(crate) fn feed(&self, input: &[u8], number: usize, begin: usize) -> usize {
        match self.feeds.get(number) {
            Some(feed) => *feed as usize,
            None => begin + memchr(b'\n', &input[begin..]).expect("invariant: this line was counted"),
        }
    }
}

/// Finds the field lines, which begin at `from`, and the empty line that ends them; `None`: more is needed.
///
/// [`Bounds::bytes`] counts from the beginning of `input`.
///
/// # Errors
/// A line that ends otherwise than by CR LF, too many lines, too many octets.
#[inline]
pub(crate) fn find(input: &[u8], from: usize, bounds: Bounds) -> Result<Option<Lines>, Refusal> {
    let window = &input[..input.len().min(bounds.bytes).min(u32::MAX as usize)];
    let mut lines = Lines { end: from, count: 0, feeds: [0; KNOWN] };
    while let Some(length) = window.get(lines.end..).and_then(|rest| memchr(b'\n', rest)) {
        let feed = lines.end + length;
        if length == 0 || window[feed - 1] != b'\r' {
            return Err(Refusal::BareLineFeed);
        }
        lines.end = feed + 1;
        if length == 1 {
            return Ok(Some(lines));
        }
        if lines.count == bounds.lines {
            return Err(Refusal::TooManyHeaders);
        }
        if let Some(known) = lines.feeds.get_mut(lines.count) {
            *known = feed as u32;
        }
        lines.count += 1;
    }
    if input.len() >= bounds.bytes { Err(bounds.too_large) } else { Ok(None) }
}
