//! Endpoints whose connections fail get none for a while: Envoy's outlier detection for failed connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use wabe_model::OutlierDetection;

/// The longest time out, whatever the back-off; Envoy's default.
const LONGEST: Duration = Duration::from_secs(300);

/// What is known of the endpoints of all services with outlier detection, by service and endpoint.
#[derive(Debug, Default)]
pub(crate) struct Ejections {
    known: BTreeMap<(u32, u32), Standing>,
    total: u64,
}

#[derive(Debug, Default)]
struct Standing {
    /// Failures in a row, and when the first of them was.
    failures: u32,
    since: Option<Instant>,
    /// How often it was out, less the intervals that went well since.
    times: u32,
    out_until: Option<Instant>,
}

impl Ejections {
    /// A connection came to be: the row of failures ends.
    pub(crate) fn succeeded(&mut self, service: u32, endpoint: u32) {
        if let Some(standing) = self.known.get_mut(&(service, endpoint)) {
            standing.failures = 0;
        }
    }

    /// A connection failed. `hosts` is how many endpoints the service has, those that are out included. Returns until
    /// when the endpoint is out, if this put it out.
    ///
    /// Envoy's rule for the cap: one more may go while those that are out are less than the largest share, so that one
    /// may always go; but never the last one.
    pub(crate) fn failed(
        &mut self,
        service: u32,
        endpoint: u32,
        hosts: usize,
        rule: &OutlierDetection,
        now: Instant,
    ) -> Option<Instant> {
        let out = self.out(service, now).len();
        let standing = self.known.entry((service, endpoint)).or_default();
        if standing.out_until.is_some_and(|until| until > now) {
            return None;
        }
        if standing.failures == 0 || standing.since.is_none_or(|since| now - since > rule.interval) {
            standing.failures = 0;
            standing.since = Some(now);
        }
        standing.failures += 1;
        if rule.failures == 0 || standing.failures < rule.failures {
            return None;
        }
        let below_the_cap = out * 100 < rule.max_percent as usize * hosts;
        if !below_the_cap || out + 1 >= hosts {
            return None;
        }
        let well = standing.out_until.map_or(Duration::ZERO, |until| now.saturating_duration_since(until));
        let intervals = well.as_nanos() / rule.interval.as_nanos().max(1);
        standing.times = standing.times.saturating_sub(intervals.min(u128::from(u32::MAX)) as u32) + 1;
        standing.failures = 0;
        let longest = LONGEST.max(rule.base_ejection);
        let until = now + rule.base_ejection.saturating_mul(standing.times).min(longest);
        standing.out_until = Some(until);
        self.total += 1;
        Some(until)
    }

    /// The endpoints of a service that are out.
    pub(crate) fn out(&self, service: u32, now: Instant) -> BTreeSet<u32> {
        let of_service = self.known.range((service, 0)..=(service, u32::MAX));
        let out = of_service.filter(|(_, standing)| standing.out_until.is_some_and(|until| until > now));
        out.map(|((_, endpoint), _)| *endpoint).collect()
    }

    /// The same, but none if too few would be left to be called healthy.
    pub(crate) fn kept_out(
        &self,
        service: u32,
        hosts: usize,
        rule: &OutlierDetection,
        now: Instant,
    ) -> BTreeSet<u32> {
        let out = self.out(service, now);
        let left = hosts.saturating_sub(out.len());
        if left == 0 || left * 100 < rule.min_health_percent as usize * hosts { BTreeSet::new() } else { out }
    }

    /// Ejections ever.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Forgets what is not one of these services' any more, and who is gone.
    pub(crate) fn retain(&mut self, service: impl Fn(u32) -> bool, endpoint: impl Fn(u32) -> bool) {
        self.known.retain(|(of, id), _| service(*of) && endpoint(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> OutlierDetection {
        OutlierDetection { failures: 3, max_percent: 100, ..OutlierDetection::default() }
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn fail(all: &mut Ejections, endpoint: u32, hosts: usize, rule: &OutlierDetection, now: Instant) -> bool {
        (0..rule.failures).any(|_| all.failed(1, endpoint, hosts, rule, now).is_some())
    }

    #[test]
    fn failures_in_a_row_within_the_interval_eject() {
        let (mut all, start) = (Ejections::default(), Instant::now());
        for _ in 0..2 {
            assert_eq!(all.failed(1, 5, 4, &rule(), start), None);
        }
        all.succeeded(1, 5);
        for _ in 0..2 {
            assert_eq!(all.failed(1, 5, 4, &rule(), start), None, "the row began anew");
        }
        assert_eq!(all.failed(1, 5, 4, &rule(), start + seconds(11)), None, "the others are too long ago");
        assert!(fail(&mut all, 5, 4, &rule(), start + seconds(12)));
        assert_eq!(all.out(1, start + seconds(13)), BTreeSet::from([5]));
        assert!(all.out(2, start + seconds(13)).is_empty(), "another service's is another");
        assert!(all.out(1, start + seconds(42)).is_empty(), "it is back after 30 s");
    }

    #[test]
    fn each_time_is_longer_and_going_well_shortens_it_again() {
        let (mut all, start) = (Ejections::default(), Instant::now());
        let mut now = start;
        for times in 1..=12 {
            let until = (0..3).find_map(|_| all.failed(1, 5, 4, &rule(), now)).expect("it goes out");
            assert_eq!(until - now, seconds((30 * times).min(300)), "time {times}");
            now = until;
        }
        now += seconds(200);
        let until = (0..3).find_map(|_| all.failed(1, 5, 4, &rule(), now)).expect("it goes out");
        assert_eq!(until - now, seconds(30));
    }

    #[test]
    fn the_cap_holds_and_the_last_one_stays() {
        let now = Instant::now();
        for (max_percent, hosts, want) in
            [(100, 4, 3), (50, 4, 2), (10, 4, 1), (10, 20, 2), (0, 4, 0), (100, 1, 0), (10, 2, 1)]
        {
            let rule = OutlierDetection { max_percent, ..rule() };
            let mut all = Ejections::default();
            let out = (0..hosts as u32).filter(|id| fail(&mut all, *id, hosts, &rule, now)).count();
            assert_eq!(out, want, "{max_percent} % of {hosts}");
            assert_eq!((all.total(), all.out(1, now).len()), (want as u64, want));
        }
    }

    #[test]
    fn with_too_few_left_all_get_connections() {
        let (mut all, now) = (Ejections::default(), Instant::now());
        let rule = OutlierDetection { min_health_percent: 50, ..rule() };
        for (endpoint, want) in [(1, 1), (2, 2), (3, 0)] {
            assert!(fail(&mut all, endpoint, 4, &rule, now));
            assert_eq!(all.kept_out(1, 4, &rule, now).len(), want);
        }
    }
}
