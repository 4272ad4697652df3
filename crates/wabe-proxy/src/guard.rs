//! What a rule says before a request goes anywhere: how many pass (`RequestLimit`), and what goes wrong on purpose
//! (`FaultInjection`).

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use wabe_model::{Delay, FaultInjection, Kind, LimitScope, ObjectName, RequestLimit, Share};
use wabe_policy::http::TableRule;

use crate::{balance::Random, failure::Failure, locked::lock};

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Account {
    limit: ObjectName,
    route: (Kind, ObjectName),
    /// `None` for all.
    caller: Option<u32>,
}

impl Account {
    fn of(limit: &RequestLimit, (kind, route): (Kind, &ObjectName), caller: u32) -> Self {
        let caller = match limit.each {
            LimitScope::Route => None,
            LimitScope::Caller => Some(caller),
        };
        Self { limit: limit.name.clone(), route: (kind, route.clone()), caller }
    }
}

/// What passed lately, by all limits and whichever worker took it. It outlives snapshots.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// When each account would be as if nobody had called, if nobody did.
    accounts: Mutex<HashMap<Account, Instant>>,
}

/// What a request has to bear before it goes on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Burden {
    /// When its limit will have forgotten it.
    pub(crate) due: Option<Instant>,
    pub(crate) delay: Option<Duration>,
    pub(crate) abort: Option<Failure>,
}

/// What the rule's own filters say of a request.
///
/// # Errors
/// It is one too many, or a filter is named that there is none of.
pub(crate) fn guard(
    rule: &TableRule,
    caller: u32,
    passed: &Passed,
    random: &Random,
    now: Instant,
) -> Result<Burden, Failure> {
    if rule.guards.missing {
        return Err(Failure::InvalidFilter);
    }
    let mut due = None;
    if let Some(limit) = &rule.guards.limit {
        due = Some(passed.admit(limit, (rule.kind, &rule.route), caller, now).map_err(Failure::TooMany)?);
    }
    let burden = rule.guards.fault.as_ref().map_or_else(Burden::default, |it| burden(it, random));
    Ok(Burden { due, ..burden })
}

/// A request that passed by this rule's limit got nowhere. See [`Burden::due`].
pub(crate) fn forgive(rule: &TableRule, caller: u32, passed: &Passed, due: Instant, now: Instant) {
    if let Some(limit) = &rule.guards.limit {
        passed.forgive(limit, (rule.kind, &rule.route), caller, (due, now));
    }
}

impl Passed {
    /// Counts one less of those that passed, unless that is forgotten by now: it got nowhere. `due` is what [`Passed::admit`] said of it.
    fn forgive(
        &self,
        limit: &RequestLimit,
        route: (Kind, &ObjectName),
        caller: u32,
        (due, now): (Instant, Instant),
    ) {
        if let Some(even) = lock(&self.accounts).get_mut(&Account::of(limit, route, caller))
            && due > now
        {
            *even = even.checked_sub(limit.per / limit.requests.max(1)).map_or(now, |it| it.max(now));
        }
    }

    /// Lets a request pass and tells when it will be forgotten, or after which time one may.
    ///
    /// The generic cell rate algorithm (ITU-T I.371): an account is a bucket that runs full by one request in each `per /
    /// requests` and holds `burst`, kept as one time.
    fn admit(
        &self,
        limit: &RequestLimit,
        route: (Kind, &ObjectName),
        caller: u32,
        now: Instant,
    ) -> Result<Instant, Duration> {
        let account = Account::of(limit, route, caller);
        let each = limit.per / limit.requests.max(1);
        let ahead = each * limit.burst.saturating_sub(1);
        let mut accounts = lock(&self.accounts);
        let even = accounts.entry(account).or_insert(now);
        // Never deeper in debt than the limit allows: it may have been another one when the debt was made.
        let from = (*even).clamp(now, now + each * limit.burst.max(1));
        *even = from;
        match from.duration_since(now).checked_sub(ahead) {
            Some(early) if !early.is_zero() => Err(early),
            Some(_) | None => {
                *even = from + each;
                Ok(*even)
            }
        }
    }

    /// Forgets accounts that are as if nobody had called.
    pub(crate) fn sweep(&self, now: Instant) {
        lock(&self.accounts).retain(|_, even| *even > now);
    }
}

fn burden(fault: &FaultInjection, random: &Random) -> Burden {
    let delay = fault.delay.filter(|it| hits(it.share, random)).map(|Delay { time, .. }| time);
    let abort = fault.abort.filter(|it| hits(it.share, random)).map(|it| Failure::Injected(it.status));
    Burden { due: None, delay, abort }
}

fn hits(share: Share, random: &Random) -> bool {
    random.next() % u64::from(share.denominator.max(1)) < u64::from(share.numerator)
}

#[cfg(test)]
mod tests {
    use wabe_model::Abort;

    use super::*;

    fn limit(requests: u32, burst: u32, each: LimitScope) -> RequestLimit {
        RequestLimit {
            name: ObjectName::new("shop", "few"),
            requests,
            per: Duration::from_secs(1),
            burst,
            each,
        }
    }

    /// How many of so many at once pass.
    fn at_once(passed: &Passed, limit: &RequestLimit, caller: u32, now: Instant) -> usize {
        let route = ObjectName::new("shop", "web");
        (0..1000).filter(|_| passed.admit(limit, (Kind::HttpRoute, &route), caller, now).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (passed, limit, start) = (Passed::default(), limit(10, 5, LimitScope::Route), Instant::now());
        assert_eq!(at_once(&passed, &limit, 1, start), 5);
        assert_eq!(at_once(&passed, &limit, 1, start + Duration::from_millis(99)), 0);
        assert_eq!(at_once(&passed, &limit, 1, start + Duration::from_millis(100)), 1);
        assert_eq!(at_once(&passed, &limit, 1, start + Duration::from_millis(400)), 3);
        assert_eq!(at_once(&passed, &limit, 1, start + Duration::from_secs(60)), 5, "no more than a burst");
    }

    #[test]
    fn over_a_long_time_the_rate_holds() {
        for (requests, burst) in [(10, 1), (10, 50), (1000, 10), (3, 3)] {
            let (passed, limit, start) =
                (Passed::default(), limit(requests, burst, LimitScope::Route), Instant::now());
            let route = ObjectName::new("shop", "web");
            let times = (0..100_000_u32).map(|turn| start + Duration::from_micros(100) * turn);
            let admitted =
                times.filter(|now| passed.admit(&limit, (Kind::HttpRoute, &route), 1, *now).is_ok()).count();
            let most = (requests * 10 + burst) as usize;
            assert!((most - requests as usize..=most).contains(&admitted), "{requests}, {burst}: {admitted}");
        }
    }

    #[test]
    fn a_limit_that_is_loosened_holds_at_once() {
        let (passed, start) = (Passed::default(), Instant::now());
        let tight = RequestLimit { per: Duration::from_secs(3600), ..limit(10, 10, LimitScope::Route) };
        assert_eq!(at_once(&passed, &tight, 1, start), 10);
        let loose = limit(100, 10, LimitScope::Route);
        let soon = start + Duration::from_millis(100);
        assert_eq!(at_once(&passed, &loose, 1, soon), 0, "as if all of its burst had been used");
        assert_eq!(at_once(&passed, &loose, 1, soon + Duration::from_millis(50)), 5);
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_again() {
        let (passed, limit, start) = (Passed::default(), limit(10, 2, LimitScope::Route), Instant::now());
        let route = ObjectName::new("shop", "web");
        at_once(&passed, &limit, 1, start);
        let wait = passed.admit(&limit, (Kind::HttpRoute, &route), 1, start).expect_err("it is one too many");
        assert_eq!(wait, Duration::from_millis(100));
        assert!(passed.admit(&limit, (Kind::HttpRoute, &route), 1, start + wait).is_ok());
    }

    #[test]
    fn who_got_nowhere_leaves_its_place_to_others() {
        let (passed, limit, start) = (Passed::default(), limit(10, 2, LimitScope::Route), Instant::now());
        let name = ObjectName::new("shop", "web");
        let route = (Kind::HttpRoute, &name);
        let due = passed.admit(&limit, route, 1, start).expect("the first");
        assert_eq!(at_once(&passed, &limit, 1, start), 1);
        passed.forgive(&limit, route, 1, (due, start));
        assert_eq!(at_once(&passed, &limit, 1, start), 1);
        // Time has given it back already.
        passed.forgive(&limit, route, 1, (due, due));
        assert_eq!(at_once(&passed, &limit, 1, due), 1);
    }

    #[test]
    fn callers_and_routes_have_accounts_of_their_own() {
        let (passed, start) = (Passed::default(), Instant::now());
        let by_caller = limit(10, 2, LimitScope::Caller);
        assert_eq!((at_once(&passed, &by_caller, 1, start), at_once(&passed, &by_caller, 2, start)), (2, 2));
        let by_route =
            RequestLimit { name: ObjectName::new("shop", "all"), ..limit(10, 2, LimitScope::Route) };
        assert_eq!((at_once(&passed, &by_route, 1, start), at_once(&passed, &by_route, 2, start)), (2, 0));
        let other = ObjectName::new("shop", "other");
        assert!(passed.admit(&by_route, (Kind::HttpRoute, &other), 1, start).is_ok());
        let calls = (Kind::GrpcRoute, &other);
        assert!(passed.admit(&by_route, calls, 1, start).is_ok(), "one of another kind has its own");
        assert_eq!(lock(&passed.accounts).len(), 5);
        passed.sweep(start + Duration::from_secs(1));
        assert!(lock(&passed.accounts).is_empty(), "who has not called lately is forgotten");
    }

    #[test]
    fn faults_hit_their_shares() {
        let random = Random::seeded(3);
        let share = |numerator, denominator| Share { numerator, denominator };
        let second = Duration::from_secs(1);
        for (delay, abort) in [(0, 100), (100, 0), (20, 1), (50, 50)] {
            let fault = FaultInjection {
                name: ObjectName::new("shop", "fault"),
                delay: Some(Delay { time: second, share: share(delay, 100) }),
                abort: Some(Abort { status: 503, share: share(abort, 100) }),
            };
            let all: Vec<_> = (0..20_000).map(|_| burden(&fault, &random)).collect();
            let delayed = all.iter().filter(|it| it.delay == Some(second)).count();
            let aborted = all.iter().filter(|it| it.abort == Some(Failure::Injected(503))).count();
            for (got, wanted) in [(delayed, delay), (aborted, abort)] {
                let percent = got as f64 / 200.0;
                assert!((percent - f64::from(wanted)).abs() < 1.5, "{percent} instead of {wanted}");
                assert!((1..100).contains(&wanted) || got as u32 == wanted * 200, "none and all are exact");
            }
        }
        let none = FaultInjection { name: ObjectName::new("shop", "fault"), delay: None, abort: None };
        assert_eq!(burden(&none, &random), Burden::default());
    }
}
