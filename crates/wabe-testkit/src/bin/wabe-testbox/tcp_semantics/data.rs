//! Bytes that tell when one is missing, changed or out of place.

use std::io::{self, Read, Write};

/// Bytes of one direction of a large transfer.
pub(super) const LARGE: usize = 20_000_000;
/// Bytes of a small transfer.
pub(super) const SMALL: usize = 1_000_000;
/// What the server asks for in one MSG_WAITALL; comes in [`PIECES`] pieces.
pub(super) const WAIT_ALL: usize = 300_000;
/// Pieces that do not fit one segment.
pub(super) const PIECES: usize = 3;

/// A stream of `length` bytes that never repeats, different for each seed.
pub(super) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        // xorshift64*, Vigna 2016.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(length);
    out
}

/// How many bytes there were, and a sum that depends on their order: FNV-1a over words of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) length: u64,
    pub(super) hash: u64,
}

impl Sum {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
        }
        Self { length: bytes.len() as u64, hash }
    }

    pub(super) fn send(self, mut to: impl Write) -> io::Result<()> {
        to.write_all(&[self.length.to_le_bytes(), self.hash.to_le_bytes()].concat())
    }

    pub(super) fn receive(mut from: impl Read) -> io::Result<Self> {
        let mut word = || {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes))
        };
        Ok(Self { length: word()?, hash: word()? })
    }
}
