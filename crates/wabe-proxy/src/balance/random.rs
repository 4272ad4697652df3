//! Random numbers for choices and names, not for secrets.

use std::cell::Cell;

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Default for Random {
    /// Seeded by the kernel.
    fn default() -> Self {
        let mut seed = [0; 8];
        // Before the kernel has enough of it, the same for all is still a seed.
        let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
        Self::seeded(u64::from_ne_bytes(seed))
    }
}

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        scatter(state)
    }

    /// A place drawn by weight; `None` if all are 0.
    pub(crate) fn draw(&self, mut weights: impl Iterator<Item = u32> + Clone) -> Option<usize> {
        let total: u64 = weights.clone().map(u64::from).sum();
        if total == 0 {
            return None;
        }
        let mut drawn = self.next() % total;
        weights.position(|weight| {
            let hit = drawn < u64::from(weight);
            drawn = drawn.saturating_sub(u64::from(weight));
            hit
        })
    }

    /// 128 random bits, as a UUID of version 4.
    pub(crate) fn request_id(&self) -> [u8; 36] {
        // Between its parts there are dashes.
        const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
        let mut bits = u128::from(self.next()) << 64 | u128::from(self.next());
        bits = bits & !(0xf << 76) | 4 << 76;
        bits = bits & !(3 << 62) | 2 << 62;
        let mut text = [b'-'; 36];
        for (place, byte) in PLACES.into_iter().zip(bits.to_be_bytes()) {
            text[place] = DIGITS[usize::from(byte >> 4)];
            text[place + 1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// SplitMix64's output function: neighbours become strangers.
pub(crate) fn scatter(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_by_weight_and_never_what_weighs_nothing() {
        let random = Random::seeded(1);
        let mut drawn = [0_u32; 3];
        for _ in 0..10_000 {
            drawn[random.draw([90, 10, 0].into_iter()).expect("some weigh")] += 1;
        }
        assert!((8_700..9_300).contains(&drawn[0]) && drawn[2] == 0, "{drawn:?}");
        assert_eq!((random.draw([0, 0].into_iter()), random.draw([].into_iter())), (None, None));
    }

    #[test]
    fn names_of_requests_are_uuids() {
        let name = String::from_utf8(Random::default().request_id().to_vec()).expect("ASCII");
        let lengths: Vec<_> = name.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{name}");
        assert!(name.split('-').nth(2).is_some_and(|it| it.starts_with('4')), "{name}");
        assert!(name.split('-').nth(3).is_some_and(|it| it.starts_with(['8', '9', 'a', 'b'])), "{name}");
        assert!(name.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit()), "{name}");
    }
}
