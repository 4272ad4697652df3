//! One of several endpoints, by each kind of balancing.

use std::{
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::Instant,
};

use wabe_verdict::less_loaded;

use super::{
    load::Load,
    random::{Random, scatter},
};

/// An endpoint that may be chosen.
pub(super) struct Candidate<'a> {
    pub(super) load: &'a Load,
    /// Credit of its turns.
    pub(super) credit: &'a AtomicI64,
    pub(super) workload: u32,
    /// More than 0; what warms up has less of its own.
    pub(super) weight: u32,
}

/// One drawn by weight. The others expect `candidates` not to be empty, too.
pub(super) fn random(candidates: &[Candidate<'_>], random: &Random) -> usize {
    drawn(candidates, random, usize::MAX).unwrap_or(0)
}

/// The one with fewer requests under way for its weight of two that are drawn by weight.
pub(super) fn two_choices(candidates: &[Candidate<'_>], random: &Random) -> usize {
    of_two(candidates, random, |second, first| {
        let live = |it: &Candidate<'_>| u64::from(it.load.under_way());
        less_loaded(live(second), second.weight, live(first), first.weight)
    })
}

/// The one that is expected to answer sooner of two that are drawn by weight: Finagle's peak EWMA.
pub(super) fn peak_ewma(candidates: &[Candidate<'_>], random: &Random, now: Instant) -> usize {
    of_two(candidates, random, |second, first| {
        let cost = |it: &Candidate<'_>| it.load.cost(now) / f64::from(it.weight);
        cost(second) < cost(first)
    })
}

/// In turn, by weight, and evenly: who has waited longest for its weight (nginx's smooth weighted round robin). One worker at a
/// time.
pub(super) fn round_robin(candidates: &[Candidate<'_>]) -> usize {
    let total: i64 = candidates.iter().map(|it| i64::from(it.weight)).sum();
    let mut best = (0, i64::MIN);
    for (place, candidate) in candidates.iter().enumerate() {
        let weight = i64::from(candidate.weight);
        let credit = candidate.credit.fetch_add(weight, Relaxed) + weight;
        if credit > best.1 {
            best = (place, credit);
        }
    }
    if let Some(candidate) = candidates.get(best.0) {
        candidate.credit.fetch_sub(total, Relaxed);
    }
    best.0
}

/// The one that scores highest for this hash (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
/// 1998): where Maglev's table leads to nobody who may be chosen.
pub(super) fn rendezvous(candidates: &[Candidate<'_>], hash: u64) -> usize {
    let score = |it: &Candidate<'_>| scatter(hash ^ scatter(u64::from(it.workload)));
    let best = candidates.iter().enumerate().max_by_key(|(_, it)| score(it));
    best.map_or(0, |(place, _)| place)
}

fn of_two(
    candidates: &[Candidate<'_>],
    random: &Random,
    is_better: impl Fn(&Candidate<'_>, &Candidate<'_>) -> bool,
) -> usize {
    let first = drawn(candidates, random, usize::MAX).unwrap_or(0);
    match drawn(candidates, random, first) {
        Some(second) if is_better(&candidates[second], &candidates[first]) => second,
        Some(_) | None => first,
    }
}

/// A place drawn by weight, but not this one.
fn drawn(candidates: &[Candidate<'_>], random: &Random, but: usize) -> Option<usize> {
    let weight = |place: usize| if place == but { 0 } else { u64::from(candidates[place].weight) };
    let total: u64 = (0..candidates.len()).map(weight).sum();
    if total == 0 {
        return None;
    }
    let mut drawn = random.next() % total;
    (0..candidates.len()).find(|place| {
        let hit = drawn < weight(*place);
        drawn = drawn.saturating_sub(weight(*place));
        hit
    })
}
