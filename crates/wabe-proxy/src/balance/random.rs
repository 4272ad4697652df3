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
    pub(crate) fn draw(&self, weights: &[u32]) -> Option<usize> {
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        if total == 0 {
            return None;
        }
        let mut drawn = self.next() % total;
        weights.iter().position(|weight| {
            let hit = drawn < u64::from(*weight);
            drawn = drawn.saturating_sub(u64::from(*weight));
            hit
        })
    }

    /// 128 random bits, as a UUID of version 4.
    pub(crate) fn request_id(&self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48) & 0x3fff,
            low & 0xffff_ffff_ffff
        )
    }
}

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
            drawn[random.draw(&[90, 10, 0]).expect("some weigh")] += 1;
        }
        assert!((8_700..9_300).contains(&drawn[0]) && drawn[2] == 0, "{drawn:?}");
        assert_eq!((random.draw(&[0, 0]), random.draw(&[])), (None, None));
    }

    #[test]
    fn names_of_requests_are_uuids() {
        let name = Random::default().request_id();
        let lengths: Vec<_> = name.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{name}");
        assert!(name.split('-').nth(2).is_some_and(|it| it.starts_with('4')));
    }
}
