//! A caller's bytes of HTTP/2: whether a head is under way is what RFC 9113 says of the whole, read here once more, however the bytes
//! come.
//!
//! An input is what follows the preface, behind one octet: how long the pieces are that it comes in.

use wabe_proxy::{detect::PREFACE, http2_frames::Frames};

use crate::Seed;

/// Follows the bytes in pieces, and as a whole.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let Some((piece, bytes)) = input.split_first() else { return };
    let (under_way, ended) = read(bytes);
    for length in [bytes.len().max(1), usize::from(*piece).max(1), 1] {
        let mut frames = Frames::new();
        assert!(!frames.pass(PREFACE) && !frames.is_under_way(), "the preface is no head");
        let mut any = false;
        for piece in bytes.chunks(length) {
            any |= frames.pass(piece);
        }
        assert_eq!((frames.is_under_way(), any), (under_way, ended), "in pieces of {length}");
    }
}

/// RFC 9113, sections 4.1, 6.2 and 6.10, as simple as can be: whether a head has begun and not ended, and whether one ended.
fn read(bytes: &[u8]) -> (bool, bool) {
    const END_HEADERS: u8 = 4;
    let (mut under_way, mut ended, mut rest) = (false, false, bytes);
    while let [a, b, c, kind, flags, _, _, _, _, more @ ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let is_head = matches!(kind, 1 | 9);
        under_way |= is_head;
        let Some(after) = more.get(length..) else { break };
        if is_head && flags & END_HEADERS != 0 {
            (under_way, ended) = (false, true);
        }
        rest = after;
    }
    (under_way, ended)
}

/// Heads in one piece and in several, and what comes between.
pub fn seeds() -> Vec<Seed> {
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
        [&[0, 0, length, kind, flags, 0, 0, 0, 1], payload].concat()
    };
    let seed = |name: &str, frames: &[Vec<u8>]| (name.to_owned(), [&[5][..], &frames.concat()].concat());
    vec![
        seed("head", &[frame(4, 0, &[]), frame(1, 5, &[0x82, 0x86, 0x84])]),
        seed("continued", &[frame(1, 1, &[0x82]), frame(9, 0, &[]), frame(9, 4, &[0x86])]),
        seed("broken-off", &[frame(1, 4, &[0x82, 0x86])[..10].to_vec()]),
        seed("body", &[frame(1, 4, &[0x83]), frame(0, 4, b"some body"), frame(0, 1, &[])]),
        seed("signs-of-life", &[frame(6, 0, &[7; 8]), frame(6, 1, &[7; 8]), frame(8, 0, &[0, 0, 1, 0])]),
    ]
}
