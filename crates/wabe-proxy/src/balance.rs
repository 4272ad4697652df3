//! Which endpoint gets a request: the one with fewer requests under way of two that are drawn by weight.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use crate::snapshot::EndpointFacts;

/// Requests under way by endpoint, whoever asks. They outlive snapshots.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    open: RefCell<HashMap<u32, u32>>,
    random: Random,
}

/// A request under way; ends when dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    loads: Rc<Loads>,
    endpoint: u32,
}

impl Loads {
    /// One of these that is not among `tried`.
    pub(crate) fn choose<'a>(
        &self,
        endpoints: &'a [EndpointFacts],
        tried: &[u32],
    ) -> Option<&'a EndpointFacts> {
        let left: Vec<_> = endpoints.iter().filter(|it| !tried.contains(&it.workload)).collect();
        let weights: Vec<u32> = left.iter().map(|it| it.weight).collect();
        let (one, other) = (self.draw(&weights)?, self.draw(&weights)?);
        let open = self.open.borrow();
        // Of unequal weights, too: what counts is how full each is.
        let load = |place: usize| {
            let open = open.get(&left[place].workload).copied().unwrap_or(0);
            f64::from(open) / f64::from(left[place].weight.max(1))
        };
        Some(left[if load(other) < load(one) { other } else { one }])
    }

    /// A place drawn by weight; `None` if all are 0.
    pub(crate) fn draw(&self, weights: &[u32]) -> Option<usize> {
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        if total == 0 {
            return None;
        }
        let mut drawn = self.random.next() % total;
        weights.iter().position(|weight| {
            let hit = drawn < u64::from(*weight);
            drawn = drawn.saturating_sub(u64::from(*weight));
            hit
        })
    }

    pub(crate) fn begin(self: &Rc<Self>, endpoint: u32) -> UnderWay {
        *self.open.borrow_mut().entry(endpoint).or_insert(0) += 1;
        UnderWay { loads: Rc::clone(self), endpoint }
    }

    /// 128 random bits, as a UUID of version 4.
    pub(crate) fn request_id(&self) -> String {
        let (high, low) = (self.random.next(), self.random.next());
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

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut open = self.loads.open.borrow_mut();
        if let Some(count) = open.get_mut(&self.endpoint) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.endpoint);
            }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), seeded by the kernel: for choices and names, not for secrets.
#[derive(Debug)]
struct Random(Cell<u64>);

impl Default for Random {
    fn default() -> Self {
        let mut seed = [0; 8];
        // Before the kernel has enough of it, the same for all is still a seed.
        let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
        Self(Cell::new(u64::from_ne_bytes(seed)))
    }
}

impl Random {
    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(workload: u32, weight: u32) -> EndpointFacts {
        let (v4, v6) = (std::net::Ipv4Addr::LOCALHOST, std::net::Ipv6Addr::LOCALHOST);
        EndpointFacts { workload, v4, v6, port: 80, weight }
    }

    #[test]
    fn draws_by_weight_and_never_what_weighs_nothing() {
        let loads = Loads::default();
        let mut drawn = [0_u32; 3];
        for _ in 0..10_000 {
            drawn[loads.draw(&[90, 10, 0]).expect("some weigh")] += 1;
        }
        assert!((8_700..9_300).contains(&drawn[0]) && drawn[2] == 0, "{drawn:?}");
        assert_eq!((loads.draw(&[0, 0]), loads.draw(&[])), (None, None));
    }

    #[test]
    fn the_emptier_of_two_is_taken_and_none_twice() {
        let loads = Rc::new(Loads::default());
        let both = [endpoint(1, 100), endpoint(2, 100)];
        let busy: Vec<_> = (0..50).map(|_| loads.begin(1)).collect();
        let of_second = (0..1_000).filter(|_| loads.choose(&both, &[]).expect("one").workload == 2).count();
        assert!((650..850).contains(&of_second), "three of four draws see the emptier one: {of_second}");
        assert_eq!(loads.choose(&both, &[2]).expect("one").workload, 1);
        assert_eq!(loads.choose(&both, &[1, 2]), None);
        drop(busy);
        assert!(loads.open.borrow().is_empty());
    }

    #[test]
    fn names_of_requests_are_uuids() {
        let name = Loads::default().request_id();
        let lengths: Vec<_> = name.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{name}");
        assert!(name.split('-').nth(2).is_some_and(|it| it.starts_with('4')));
    }
}
