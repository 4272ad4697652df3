//! What an endpoint has to do and how fast it answers, whoever asks.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::locked::lock;

/// After so long a latency counts for a third (1/e) of what it was. Finagle's and Linkerd's default.
const DECAY: Duration = Duration::from_secs(10);
/// The cost of an endpoint that was asked and never answered yet: it is tried once, then left alone. Finagle's idea.
const UNPROVEN: f64 = 1e15;
/// A failure costs at least this, and twice of what the endpoint cost before up to [`MOST`]: one that refuses at once must
/// not look like a fast one.
const LEAST: f64 = 0.1;
/// Seconds.
const MOST: f64 = 10.0;

/// An endpoint's requests under way and latency.
#[derive(Debug)]
pub(super) struct Load {
    /// When it was first seen.
    pub(super) since: Instant,
    under_way: AtomicU32,
    latency: Mutex<Option<Latency>>,
}

/// In seconds, as of a moment.
#[derive(Clone, Copy, Debug)]
struct Latency {
    peak: f64,
    at: Instant,
}

impl Load {
    pub(super) fn new(since: Instant) -> Self {
        Self { since, under_way: AtomicU32::new(0), latency: Mutex::new(None) }
    }

    pub(super) fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// An answer took so long.
    pub(super) fn answered(&self, took: Duration, now: Instant) {
        observe(&mut lock(&self.latency), took.as_secs_f64(), now);
    }

    /// There was no answer after so long.
    pub(super) fn failed(&self, took: Duration, now: Instant) {
        let mut latency = lock(&self.latency);
        let before = latency.map_or(0.0, |it| it.decayed(now));
        observe(&mut latency, took.as_secs_f64().max((before * 2.0).clamp(LEAST, MOST)), now);
    }

    /// Who asked waited for so long, and left without an answer: it would have taken longer still.
    pub(super) fn unanswered(&self, took: Duration, now: Instant) {
        let mut latency = lock(&self.latency);
        let known = latency.map_or(LEAST, |it| it.decayed(now));
        // Some answers are meant to be waited for, which says nothing about others.
        let took = took.as_secs_f64().min(MOST);
        if took > known {
            *latency = Some(Latency { peak: took, at: now });
        }
    }

    /// Seconds that one more request is expected to wait. What was not asked for long costs less and less, so that it is
    /// asked again.
    pub(super) fn cost(&self, now: Instant) -> f64 {
        let under_way = f64::from(self.under_way());
        match *lock(&self.latency) {
            Some(latency) => latency.decayed(now) * (under_way + 1.0),
            None if under_way == 0.0 => 0.0,
            None => UNPROVEN + under_way,
        }
    }

    /// What is expected of its latency; `None` if it never answered.
    pub(super) fn latency(&self, now: Instant) -> Option<Duration> {
        lock(&self.latency).map(|it| Duration::from_secs_f64(it.decayed(now)))
    }
}

/// Finagle's peak EWMA: rises at once to what is slower, falls slowly to what is faster.
fn observe(latency: &mut Option<Latency>, took: f64, now: Instant) {
    let peak = match *latency {
        Some(before) if took < before.peak => {
            let weight = before.weight(now);
            before.peak * weight + took * (1.0 - weight)
        }
        Some(_) | None => took,
    };
    *latency = Some(Latency { peak, at: now });
}

impl Latency {
    fn weight(&self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.at).as_secs_f64() / DECAY.as_secs_f64()).exp()
    }

    fn decayed(&self, now: Instant) -> f64 {
        self.peak * self.weight(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn about(load: &Load, now: Instant) -> u128 {
        load.latency(now).expect("it answered").as_millis()
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_a_fast_one_slowly() {
        let start = Instant::now();
        let load = Load::new(start);
        load.answered(milliseconds(10), start);
        load.answered(milliseconds(200), start);
        assert_eq!(about(&load, start), 200);
        load.answered(milliseconds(10), start + milliseconds(100));
        assert_eq!(about(&load, start + milliseconds(100)), 198);
        for turn in 0..600 {
            load.answered(milliseconds(10), start + milliseconds(100 * turn));
        }
        assert_eq!(about(&load, start + milliseconds(59_900)), 10);
    }

    #[test]
    fn who_is_not_asked_is_forgiven() {
        let start = Instant::now();
        let load = Load::new(start);
        load.answered(milliseconds(1000), start);
        assert_eq!(about(&load, start + Duration::from_secs(10)), 367, "a third of it");
        assert!(load.cost(start + Duration::from_secs(100)) < 0.0001);
    }

    #[test]
    fn who_lets_callers_wait_until_they_leave_is_no_fast_one() {
        let start = Instant::now();
        let load = Load::new(start);
        load.unanswered(milliseconds(50), start);
        assert_eq!(load.latency(start), None, "who left soon says nothing");
        load.answered(milliseconds(10), start);
        load.unanswered(milliseconds(5), start);
        assert_eq!(
            about(&load, start),
            10,
            "no answer after 5 ms does not say that there would have been none after 10"
        );
        load.unanswered(Duration::from_secs(3600), start);
        assert_eq!(about(&load, start), 10_000);
        for minute in 3..6 {
            let now = start + Duration::from_secs(60 * minute);
            load.unanswered(milliseconds(1000), now);
            assert_eq!(about(&load, now), 1000);
        }
    }

    #[test]
    fn who_never_answered_is_asked_once() {
        let start = Instant::now();
        let load = Load::new(start);
        assert_eq!((load.cost(start), load.latency(start)), (0.0, None));
        load.begin();
        assert!(load.cost(start) > 1e12);
        load.end();
        load.answered(milliseconds(10), start);
        load.begin();
        assert_eq!(load.cost(start), 0.02, "two requests' time");
    }

    #[test]
    fn a_fast_failure_is_no_fast_answer() {
        let start = Instant::now();
        let load = Load::new(start);
        let after = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000];
        for want in after {
            load.failed(milliseconds(1), start);
            assert_eq!(about(&load, start), want);
        }
        load.failed(milliseconds(30_000), start);
        assert_eq!(about(&load, start), 30_000, "a slow one is what it was");
    }
}
