//! When requests ought to be sent. Pure.

use super::Arrivals;
use crate::stats::Random;

/// Times from the start, nanoseconds, never going back; endless.
#[derive(Debug)]
pub(super) struct Schedule {
    arrivals: Arrivals,
    count: u64,
    at: f64,
    random: Random,
}

impl Schedule {
    pub(super) fn new(arrivals: Arrivals, seed: u64) -> Self {
        Self { arrivals, count: 0, at: 0.0, random: Random::new(seed) }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    /// `None` only if there is no schedule.
    fn next(&mut self) -> Option<u64> {
        match self.arrivals {
            Arrivals::Closed => None,
            Arrivals::Constant(rate) => {
                // By count, so that rounding does not add up.
                let at = self.count as f64 * 1e9 / rate;
                self.count += 1;
                Some(at as u64)
            }
            Arrivals::Poisson(rate) => {
                self.at += self.random.exponential(1e9 / rate);
                Some(self.at as u64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_keep_their_rate_for_long() {
        let last = Schedule::new(Arrivals::Constant(3.0), 1).nth(3_000_000).expect("endless");
        assert_eq!(last, 1_000_000_000_000_000);
    }

    #[test]
    fn poisson_arrivals_come_at_their_rate_on_average_and_never_go_back() {
        let times: Vec<u64> = Schedule::new(Arrivals::Poisson(1_000.0), 1).take(20_000).collect();
        assert!(times.is_sorted());
        let seconds = *times.last().expect("times") as f64 / 1e9;
        assert!((seconds - 20.0).abs() < 0.6, "{seconds}");
    }

    #[test]
    fn without_a_rate_there_is_no_schedule() {
        assert_eq!(Schedule::new(Arrivals::Closed, 1).next(), None);
    }
}
