//! Whole backends in virtual time.

mod consistent;
mod ejection;
mod kinds;
mod places;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    rc::Rc,
    time::{Duration, Instant},
};

use wabe_model::{Balance, Locality, ObjectName};

use super::{Balancer, Balancers, Known, NoChoice, Outcome, UnderWay, Wish};
use crate::snapshot::{BackendFacts, EndpointFacts, Speaks, TrafficPolicy};

const OK: Outcome = Outcome::Answered(http::StatusCode::OK);
const ERROR: Outcome = Outcome::Answered(http::StatusCode::INTERNAL_SERVER_ERROR);

/// One backend with these endpoints, and what makes others of it.
struct World {
    known: Known,
    balancers: Balancers,
    backend: Rc<Balancer>,
    facts: BackendFacts,
    now: Instant,
}

impl World {
    /// Endpoints by workload and weight.
    fn new(traffic: TrafficPolicy, endpoints: &[(u32, u32)]) -> Self {
        let facts = BackendFacts {
            service: ObjectName::new("shop", "web"),
            speaks: Speaks::default(),
            port: 80,
            endpoints: endpoints.iter().map(|(workload, weight)| endpoint(*workload, *weight)).collect(),
            traffic,
        };
        let (known, balancers, now) = (Known::default(), Balancers::seeded(7), Instant::now());
        balancers.update(&known.take(vec![facts.clone()], now));
        let backend = balancers.backend(&facts.service, 80).expect("it was made");
        Self { known, balancers, backend, facts, now }
    }

    /// A snapshot with other facts comes.
    fn change(&mut self, change: impl FnOnce(&mut BackendFacts)) {
        change(&mut self.facts);
        self.take(vec![self.facts.clone()]);
    }

    fn take(&self, facts: Vec<BackendFacts>) {
        self.balancers.update(&self.known.take(facts, self.now));
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn choose(&self, wish: &Wish<'_>) -> Result<u32, NoChoice> {
        self.backend.choose(self.now, wish).map(|it| it.workload)
    }

    fn next(&self) -> u32 {
        self.choose(&Wish::default()).expect("an endpoint")
    }

    fn begin(&self, workload: u32) -> UnderWay {
        self.backend.begin(workload, self.now)
    }

    /// A request that fared so at once.
    fn ask(&self, workload: u32, outcome: Outcome) {
        self.begin(workload).done(self.now, outcome);
    }

    /// How often each is chosen.
    fn shares(&self, times: u32) -> BTreeMap<u32, f64> {
        let mut counts = BTreeMap::new();
        for _ in 0..times {
            *counts.entry(self.next()).or_insert(0.0) += 1.0 / f64::from(times);
        }
        counts
    }

    fn out(&self) -> Vec<u32> {
        let scores = self.backend.scores(self.now).into_iter();
        scores.filter(|it| it.ejected_for.is_some()).map(|it| it.workload).collect()
    }
}

fn endpoint(workload: u32, weight: u32) -> EndpointFacts {
    let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    EndpointFacts { workload, v4, v6, port: 80, weight, locality: Locality::default() }
}

fn kind(balance: Balance) -> TrafficPolicy {
    TrafficPolicy { balance, ..TrafficPolicy::default() }
}

#[test]
fn nobody_is_left() {
    let mut world = World::new(kind(Balance::TwoChoices), &[(1, 100), (2, 100)]);
    let tried = |tried| Wish { tried, ..Wish::default() };
    assert_eq!(world.choose(&tried(&[2])), Ok(1));
    assert_eq!(world.choose(&tried(&[1, 2])), Err(NoChoice::AllTried));
    world.change(|it| it.endpoints.clear());
    assert_eq!(world.choose(&tried(&[])), Err(NoChoice::Empty));
}

#[test]
fn requests_under_way_outlive_snapshots_and_are_seen_by_other_backends() {
    let mut world = World::new(kind(Balance::TwoChoices), &[(1, 100), (2, 100)]);
    let busy: Vec<_> = (0..50).map(|_| world.begin(1)).collect();
    world.change(|it| it.endpoints[0].weight = 200);
    assert_eq!(world.backend.scores(world.now)[0].under_way, 50);
    let other = BackendFacts { service: ObjectName::new("shop", "other"), ..world.facts.clone() };
    world.take(vec![world.facts.clone(), other.clone()]);
    let other = world.balancers.backend(&other.service, 80).expect("it was made");
    assert_eq!(other.choose(world.now, &Wish::default()).expect("one").workload, 2);
    drop(busy);
    assert_eq!(world.backend.scores(world.now)[0].under_way, 0);
    world.take(Vec::new());
    assert!(world.balancers.backend(&world.facts.service, 80).is_none());
    assert_eq!(world.known.endpoints(), 0, "nothing is kept of who is gone");
}

#[test]
fn who_comes_back_is_new() {
    let mut world = World::new(kind(Balance::PeakEwma), &[(1, 100), (2, 100)]);
    world.ask(1, Outcome::TimedOut);
    assert!(world.backend.scores(world.now)[0].latency.is_some());
    let gone = world.facts.endpoints.remove(0);
    world.change(|_| ());
    world.change(|it| it.endpoints.push(gone));
    assert_eq!(world.backend.scores(world.now)[1].latency, None);
}

#[test]
fn a_request_that_its_caller_gave_up_counts_for_nothing() {
    let outliers = Some(wabe_model::OutlierDetection { failures: 1, ..Default::default() });
    let world = World::new(TrafficPolicy { outliers, ..kind(Balance::PeakEwma) }, &[(1, 100), (2, 100)]);
    drop(world.begin(1));
    let score = &world.backend.scores(world.now)[0];
    assert_eq!((score.latency, score.under_way, score.ejected_for), (None, 0, None));
    let under_way = world.begin(1);
    under_way.done(world.now, OK);
    under_way.done(world.now, Outcome::Reset);
    assert!(world.out().is_empty(), "only the first word counts");
    assert_eq!(world.backend.scores(world.now)[0].under_way, 1, "its answer is still on its way");
}

#[test]
fn a_workload_that_is_no_endpoint_any_more_is_nobody() {
    let world = World::new(kind(Balance::TwoChoices), &[(1, 100)]);
    world.ask(9, Outcome::Reset);
    assert_eq!(world.next(), 1);
}
