//! Endpoints that fail get no requests for a while: Envoy's outlier detection.

use std::time::{Duration, Instant};

use http::StatusCode;
use wabe_model::OutlierDetection;

use super::Outcome;

/// The longest time out, whatever the back-off; Envoy's default.
const LONGEST: Duration = Duration::from_secs(300);
/// Success rates are compared if so many endpoints had so many requests in an interval; Envoy's defaults.
const MIN_ENDPOINTS: usize = 5;
const MIN_REQUESTS: u64 = 100;

/// How an endpoint did for one backend.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Failures in a row, by kind.
    connections: u32,
    gateway_errors: u32,
    server_errors: u32,
    /// Requests of this interval, and those that went well.
    requests: u64,
    good: u64,
    /// How often it was out, less the intervals that went well since.
    times: u32,
    out_until: Option<Instant>,
}

/// How many endpoints there are, and are out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    pub(super) all: usize,
    pub(super) out: usize,
}

impl Standing {
    /// Counts a request; returns whether a row of failures is long enough for ejection.
    ///
    /// What goes wrong before an answer is a failure of the connection, and besides, unless told apart, an answer of 5xx that
    /// did not come; as in Envoy.
    pub(super) fn record(&mut self, outcome: Outcome, rule: &OutlierDetection) -> bool {
        self.requests += 1;
        match outcome {
            Outcome::Answered(status) => {
                self.connections = 0;
                let is_gateways =
                    [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT]
                        .contains(&status);
                self.gateway_errors = if is_gateways { self.gateway_errors + 1 } else { 0 };
                self.server_errors = if status.is_server_error() { self.server_errors + 1 } else { 0 };
                self.good += u64::from(!status.is_server_error());
            }
            Outcome::Connected => {
                (self.connections, self.gateway_errors, self.server_errors) = (0, 0, 0);
                self.good += 1;
            }
            Outcome::ConnectFailed | Outcome::Reset | Outcome::TimedOut => {
                self.connections += 1;
                if !rule.split {
                    self.gateway_errors += 1;
                    self.server_errors += 1;
                }
            }
        }
        let rows = [
            (self.connections, rule.failures),
            (self.gateway_errors, rule.gateway_errors),
            (self.server_errors, rule.server_errors),
        ];
        rows.iter().any(|(failures, most)| *most > 0 && failures >= most)
    }

    /// Puts it out, if that may be. Returns until when.
    ///
    /// Envoy's rule for the cap: one more may go while those that are out are less than the largest share, so that one may
    /// always go; but never the last one.
    pub(super) fn eject(&mut self, rule: &OutlierDetection, crowd: Crowd, now: Instant) -> Option<Instant> {
        let Crowd { all, out } = crowd;
        let below_the_cap = out * 100 < rule.max_percent as usize * all;
        if self.is_out(now) || !below_the_cap || out + 1 >= all {
            return None;
        }
        let well = self.out_until.map_or(Duration::ZERO, |until| now.saturating_duration_since(until));
        let intervals = well.as_nanos() / rule.interval.as_nanos().max(1);
        self.times = self.times.saturating_sub(u32::try_from(intervals).unwrap_or(u32::MAX)) + 1;
        (self.connections, self.gateway_errors, self.server_errors) = (0, 0, 0);
        let longest = LONGEST.max(rule.base_ejection);
        let until = now + rule.base_ejection.saturating_mul(self.times).min(longest);
        self.out_until = Some(until);
        Some(until)
    }

    /// Whether it is out, or has been at some time since then.
    pub(super) fn was_out_since(&self, then: Instant) -> bool {
        self.out_until.is_some_and(|until| until > then)
    }

    pub(super) fn is_out(&self, now: Instant) -> bool {
        self.out_until.is_some_and(|until| until > now)
    }

    /// How long it stays out.
    pub(super) fn out_for(&self, now: Instant) -> Option<Duration> {
        self.out_until.filter(|until| *until > now).map(|until| until - now)
    }

    /// Begins a new interval; the share of requests that went well in the last one, if there were enough.
    pub(super) fn success_rate(&mut self) -> Option<f64> {
        let rate = (self.requests >= MIN_REQUESTS).then(|| self.good as f64 / self.requests as f64);
        (self.requests, self.good) = (0, 0);
        rate
    }
}

/// Below which share of good answers an endpoint is an outlier: the mean less so many thousandths of the standard deviation.
/// `None` if too few can be compared.
pub(super) fn threshold(rates: &[f64], deviations: u32) -> Option<f64> {
    if rates.len() < MIN_ENDPOINTS {
        return None;
    }
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / count;
    Some(mean - variance.sqrt() * f64::from(deviations) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Outcome = Outcome::Answered(StatusCode::OK);
    const ERROR: Outcome = Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR);
    const UNAVAILABLE: Outcome = Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE);

    fn rule(failures: u32, gateway_errors: u32, server_errors: u32, split: bool) -> OutlierDetection {
        OutlierDetection { failures, gateway_errors, server_errors, split, ..OutlierDetection::default() }
    }

    #[test]
    fn rows_of_each_kind() {
        use Outcome::{ConnectFailed, Connected, Reset, TimedOut};
        let missing = Outcome::Answered(StatusCode::NOT_FOUND);
        for (name, rule, outcomes, wanted) in [
            ("three of 5xx", rule(0, 0, 3, false), vec![ERROR, UNAVAILABLE, ERROR], true),
            ("a good one between", rule(0, 0, 3, false), vec![ERROR, ERROR, OK, ERROR, ERROR], false),
            ("4xx is the caller's", rule(1, 1, 1, false), vec![missing, missing], false),
            ("500 is no gateway's", rule(0, 2, 0, false), vec![UNAVAILABLE, ERROR, UNAVAILABLE], false),
            ("503 is one", rule(0, 2, 0, false), vec![UNAVAILABLE, UNAVAILABLE], true),
            ("no connection is a 503", rule(0, 2, 0, false), vec![UNAVAILABLE, ConnectFailed], true),
            ("and a 5xx", rule(0, 0, 3, false), vec![Reset, TimedOut, ERROR], true),
            ("unless told apart", rule(0, 1, 1, true), vec![ConnectFailed, Reset, TimedOut], false),
            ("connections by themselves", rule(3, 0, 0, true), vec![ConnectFailed, Reset, TimedOut], true),
            ("an answer proves one", rule(2, 0, 0, false), vec![ConnectFailed, ERROR, ConnectFailed], false),
            (
                "so does a connection",
                rule(2, 2, 2, false),
                vec![ConnectFailed, Connected, ConnectFailed],
                false,
            ),
            ("0 is never", rule(0, 0, 0, false), vec![ConnectFailed, ERROR, UNAVAILABLE], false),
        ] {
            let mut standing = Standing::default();
            let full = outcomes.iter().any(|it| standing.record(*it, &rule));
            assert_eq!(full, wanted, "{name}");
        }
    }

    #[test]
    fn each_time_is_longer_and_going_well_shortens_it_again() {
        let (rule, crowd, start) = (rule(1, 0, 0, false), Crowd { all: 4, out: 0 }, Instant::now());
        let mut standing = Standing::default();
        let mut now = start;
        for times in 1..=12 {
            let until = standing.eject(&rule, crowd, now).expect("it goes out");
            assert_eq!(until - now, Duration::from_secs((30 * times).min(300)), "time {times}");
            assert_eq!(standing.out_for(now), Some(until - now));
            assert!(standing.is_out(until - Duration::from_nanos(1)) && !standing.is_out(until));
            assert_eq!(standing.eject(&rule, crowd, now), None, "it is out already");
            now = until;
        }
        now += Duration::from_secs(200);
        let until = standing.eject(&rule, crowd, now).expect("it goes out");
        assert_eq!(until - now, Duration::from_secs(30));
    }

    #[test]
    fn the_cap_holds_and_the_last_one_stays() {
        let now = Instant::now();
        for (max_percent, all, want) in
            [(100, 4, 3), (50, 4, 2), (10, 4, 1), (10, 20, 2), (0, 4, 0), (100, 1, 0), (10, 2, 1)]
        {
            let rule = OutlierDetection { max_percent, ..OutlierDetection::default() };
            let mut out = 0;
            for _ in 0..all {
                out += usize::from(Standing::default().eject(&rule, Crowd { all, out }, now).is_some());
            }
            assert_eq!(out, want, "{max_percent} % of {all}");
        }
    }

    #[test]
    fn rates_are_of_one_interval_with_enough_requests() {
        let mut standing = Standing::default();
        let rule = OutlierDetection::default();
        for turn in 0..200 {
            standing.record(if turn % 4 == 0 { ERROR } else { OK }, &rule);
        }
        assert_eq!((standing.success_rate(), standing.success_rate()), (Some(0.75), None));
        for _ in 0..99 {
            standing.record(OK, &rule);
        }
        assert_eq!(standing.success_rate(), None);
    }

    #[test]
    fn the_threshold_is_below_the_mean_by_deviations() {
        assert_eq!(threshold(&[1.0; 4], 1900), None, "too few");
        assert_eq!(threshold(&[1.0; 5], 1900), Some(1.0), "all alike: nobody is below");
        let got = threshold(&[1.0, 1.0, 1.0, 1.0, 0.5], 1000).expect("enough");
        assert!((got - 0.7).abs() < 1e-9, "mean 0.9, deviation 0.2: {got}");
    }
}
