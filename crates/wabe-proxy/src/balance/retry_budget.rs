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

#[cfg(test)]
mod tests {
    use super::*;

    fn left(budget: &mut RetryBudget, now: Instant) -> u64 {
        (0..100_000).take_while(|_| budget.withdraw(now)).count() as u64
    }

    #[test]
    fn there_are_ten_a_second_without_any_request() {
        let (mut budget, start) = (RetryBudget::default(), Instant::now());
        assert_eq!(left(&mut budget, start), 100, "of ten seconds at once");
        assert_eq!(left(&mut budget, start + 9 * SLOT), 0);
        assert_eq!(left(&mut budget, start + 10 * SLOT), 100, "the first are forgotten");
    }

    #[test]
    fn a_fifth_of_the_requests_comes_on_top() {
        let (mut budget, start) = (RetryBudget::default(), Instant::now());
        for second in 0..10 {
            (0..1000).for_each(|_| budget.deposit(start + second * SLOT));
        }
        assert_eq!(left(&mut budget, start + 9 * SLOT), 2100);
        assert_eq!(
            left(&mut budget, start + 18 * SLOT),
            0,
            "the last second's requests and all retries count"
        );
        assert_eq!(left(&mut budget, start + 19 * SLOT), 100, "and then they do not");
    }

    #[test]
    fn a_backend_that_always_fails_gets_little_more_than_a_fifth_of_its_load_again() {
        let (mut budget, start) = (RetryBudget::default(), Instant::now());
        let mut retries = 0;
        for turn in 0..60_000_u32 {
            let now = start + Duration::from_millis(1) * turn;
            budget.deposit(now);
            retries += u32::from(budget.withdraw(now));
        }
        assert!((12_000..13_000).contains(&retries), "{retries} of 60 000 in a minute");
    }

    #[test]
    fn a_long_pause_and_a_clock_that_stands_still_are_survived() {
        let (mut budget, start) = (RetryBudget::default(), Instant::now());
        assert_eq!(left(&mut budget, start + Duration::from_secs(5)), 100);
        assert_eq!(left(&mut budget, start), 0, "an earlier moment is the newest slot's");
        assert_eq!(left(&mut budget, start + Duration::from_secs(1_000_000)), 100);
    }
}
