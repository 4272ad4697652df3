//! What came out of a load, while it lasts.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::{Plan, own::Own};
use crate::results::{Latency, Load};

/// Longest time that is told apart, nanoseconds; longer ones count as this.
const LONGEST: u64 = 60_000_000_000;

/// Counts and times; times are nanoseconds since the load's start.
#[derive(Debug)]
pub(super) struct Tally {
    open: bool,
    begin: u64,
    end: u64,
    own: Option<Own>,
    used: (f64, f64),
    sent: u64,
    answered: u64,
    answers: u64,
    bytes: u64,
    failed: BTreeMap<String, u64>,
    latency: Histogram<u64>,
    lateness: Histogram<u64>,
    set_up: Histogram<u64>,
}

impl Tally {
    pub(super) fn new(plan: &Plan) -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, LONGEST, 3).expect("invariant: bounds and digits are fixed");
        let begin = nanoseconds(plan.warm_up);
        Self {
            open: plan.arrivals.rate().is_some(),
            begin,
            end: begin + nanoseconds(plan.time),
            own: None,
            used: (0.0, 0.0),
            sent: 0,
            answered: 0,
            answers: 0,
            bytes: 0,
            failed: BTreeMap::new(),
            latency: histogram(),
            lateness: histogram(),
            set_up: histogram(),
        }
    }

    /// When it stops counting.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// To be called often: notes the generator's own time at both ends.
    pub(super) fn tick(&mut self, now: u64) {
        match self.own {
            None if now >= self.begin => self.own = Some(Own::now()),
            Some(own) if now < self.end || self.used == (0.0, 0.0) => self.used = Own::now().since(own),
            _ => {}
        }
    }

    pub(super) fn connected(&mut self, since: u64, now: u64) {
        if self.counts(since, now) {
            record(&mut self.set_up, now - since);
        }
    }

    pub(super) fn sent(&mut self, due: u64, now: u64) {
        if self.open && self.counts(due, now) {
            self.sent += 1;
            record(&mut self.lateness, now.saturating_sub(due));
        }
    }

    pub(super) fn answered(&mut self, due: u64, now: u64, bytes: u64) {
        self.answers += 1;
        if self.counts(due, now) {
            self.answered += 1;
            self.bytes += bytes;
            self.sent += u64::from(!self.open);
            record(&mut self.latency, now.saturating_sub(due));
        }
    }

    pub(super) fn failed(&mut self, due: u64, now: u64, kind: &str) {
        if self.counts(due, now) {
            self.sent += u64::from(!self.open);
            *self.failed.entry(kind.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn load(self, plan: &Plan) -> Load {
        Load {
            intended_rate: plan.arrivals.rate(),
            sent: self.sent,
            answered: self.answered,
            answers: self.answers,
            failed: self.failed,
            seconds: plan.time.as_secs_f64(),
            bytes: self.bytes,
            latency: Latency::of(&self.latency),
            lateness: self.open.then(|| Latency::of(&self.lateness)),
            set_up: plan.fresh.then(|| Latency::of(&self.set_up)),
            user: self.used.0,
            system: self.used.1,
        }
    }

    /// By schedule a request belongs to the time when it was due; else to the time when its answer came, so that a rate is
    /// one of answers.
    fn counts(&self, due: u64, now: u64) -> bool {
        let at = if self.open { due } else { now };
        (self.begin..self.end).contains(&at)
    }
}

fn record(histogram: &mut Histogram<u64>, value: u64) {
    histogram.saturating_record(value.max(1));
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}
