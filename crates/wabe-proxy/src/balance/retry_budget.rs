//! How many retries a backend gets: a share of its requests, so that retries never multiply its load when it fails.
//!
//! Finagle's `RetryBudget`: of the last ten seconds, 20 % of the requests and ten a second besides.

use std::time::{Duration, Instant};

/// What is looked at: so many slots of a second.
const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_secs(1);
/// Of a hundred requests so many may be tried again.
const PERCENT: u64 = 20;
/// So many retries in each second whatever the number of requests.
const LEAST: u64 = 10;

/// Requests and retries of the last seconds.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    begun: Option<Instant>,
    /// Number of the newest slot since `begun`.
    newest: u64,
    requests: [u64; SLOTS],
    retries: [u64; SLOTS],
}

impl RetryBudget {
    /// A request came, which is no retry.
    pub(super) fn deposit(&mut self, now: Instant) {
        let slot = self.slot(now);
        self.requests[slot] += 1;
    }

    /// Whether there may be a retry; counts it if so.
    pub(super) fn withdraw(&mut self, now: Instant) -> bool {
        let slot = self.slot(now);
        let (requests, retries): (u64, u64) = (self.requests.iter().sum(), self.retries.iter().sum());
        let allowed = requests * PERCENT / 100 + LEAST * SLOTS as u64;
        let is_left = retries < allowed;
        if is_left {
            self.retries[slot] += 1;
        }
        is_left
    }

    /// The slot of this moment; those that were skipped since the last are emptied.
    fn slot(&mut self, now: Instant) -> usize {
        let begun = *self.begun.get_or_insert(now);
        let number = now.saturating_duration_since(begun).as_nanos() as u64 / SLOT.as_nanos() as u64;
        let skipped = number.saturating_sub(self.newest).min(SLOTS as u64);
        for back in 0..skipped {
            let slot = (number - back) as usize % SLOTS;
            (self.requests[slot], self.retries[slot]) = (0, 0);
        }
        self.newest = self.newest.max(number);
        self.newest as usize % SLOTS
    }
}
