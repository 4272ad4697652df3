//! A backend: its endpoints, and who of them gets a request.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use wabe_model::{Balance, OutlierDetection};
use wabe_policy::spread::warmth;

use super::{
    Limits, NoChoice, Outcome, Random, Told, Wish,
    ejection::{Crowd, threshold},
    known::{Common, Own},
    load::Load,
    pick::{self, Candidate},
    random::scatter,
};
use crate::{
    locked::lock,
    snapshot::{EndpointFacts, TrafficPolicy},
};

/// So often Maglev's table is asked for somebody else if who it names may not be chosen.
const PROBES: u32 = 32;

/// A service's port, for one worker.
#[derive(Debug)]
pub(crate) struct Balancer {
    random: Rc<Random>,
    common: Arc<Common>,
    traffic: RefCell<Rc<TrafficPolicy>>,
    endpoints: RefCell<Rc<[Rc<Endpoint>]>>,
    /// See [`Told::table`].
    table: RefCell<Arc<Vec<usize>>>,
}

/// An endpoint as one backend's requests see it.
#[derive(Debug)]
struct Endpoint {
    facts: Rc<EndpointFacts>,
    load: Arc<Load>,
    own: Arc<Own>,
}

/// A request under way at an endpoint; ends when dropped. Without [`UnderWay::done`] it counts for nothing.
#[derive(Debug)]
#[must_use]
pub(crate) struct UnderWay {
    balancer: Rc<Balancer>,
    endpoint: Option<Rc<Endpoint>>,
    begun: Cell<Instant>,
    /// How long it took is known.
    timed: Cell<bool>,
    done: Cell<bool>,
}

/// What a choice goes by, for people to see.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Score {
    pub(crate) workload: u32,
    /// Its weight, in percent: less while it warms up.
    pub(crate) weight: u32,
    pub(crate) under_way: u32,
    /// Expected; `None` if it never answered.
    pub(crate) latency: Option<Duration>,
    /// For so long it gets nothing.
    pub(crate) ejected_for: Option<Duration>,
}

impl Balancer {
    pub(super) fn new(random: Rc<Random>, common: Arc<Common>) -> Self {
        Self {
            random,
            common,
            traffic: RefCell::default(),
            endpoints: RefCell::new(Rc::new([])),
            table: RefCell::default(),
        }
    }

    /// Whether this is what workers share of it.
    pub(super) fn is_of(&self, common: &Arc<Common>) -> bool {
        Arc::ptr_eq(&self.common, common)
    }

    pub(super) fn update(&self, told: &Told) {
        let both = told.facts.endpoints.iter().zip(&told.endpoints);
        let endpoints = both.map(|(facts, (load, own))| {
            let facts = Rc::new(facts.clone());
            Rc::new(Endpoint { facts, load: Arc::clone(load), own: Arc::clone(own) })
        });
        *self.endpoints.borrow_mut() = endpoints.collect();
        *self.table.borrow_mut() = Arc::clone(&told.table);
        *self.traffic.borrow_mut() = Rc::new(told.facts.traffic.clone());
    }

    /// How its requests are spread.
    pub(crate) fn traffic(&self) -> Rc<TrafficPolicy> {
        Rc::clone(&self.traffic.borrow())
    }

    /// How much of it may be in use.
    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.common.limits
    }

    /// Ejections ever.
    pub(crate) fn ejections(&self) -> u64 {
        self.common.ejections.load(Ordering::Relaxed)
    }

    /// What is known of each endpoint.
    pub(crate) fn scores(&self, now: Instant) -> Vec<Score> {
        let traffic = self.traffic();
        let score = |it: &Rc<Endpoint>| Score {
            workload: it.facts.workload,
            weight: it.weight(&traffic, now),
            under_way: it.load.under_way(),
            latency: it.load.latency(now),
            ejected_for: lock(&it.own.standing).out_for(now),
        };
        self.endpoints().iter().map(score).collect()
    }

    /// Chooses an endpoint; [`Self::begin`] what it is chosen for.
    ///
    /// # Errors
    /// Nobody is left.
    pub(crate) fn choose(&self, now: Instant, wish: &Wish<'_>) -> Result<Rc<EndpointFacts>, NoChoice> {
        let (endpoints, traffic) = (self.endpoints(), self.traffic());
        if endpoints.is_empty() {
            return Err(NoChoice::Empty);
        }
        let usable = usable(&endpoints, &traffic, self.out(&endpoints, &traffic, now).as_deref(), wish);
        let candidate = |place: &usize| {
            let endpoint = &endpoints[*place];
            Candidate {
                load: &endpoint.load,
                credit: &endpoint.own.credit,
                workload: endpoint.facts.workload,
                weight: endpoint.weight(&traffic, now),
            }
        };
        let candidates: Vec<_> = usable.iter().map(candidate).collect();
        if candidates.is_empty() {
            return Err(NoChoice::AllTried);
        }
        let chosen = match wish.hash {
            Some(hash) if traffic.hash.is_some() => {
                let by_table = self.by_table(hash, &usable);
                by_table.unwrap_or_else(|| usable[pick::rendezvous(&candidates, hash)])
            }
            Some(_) | None => {
                usable[match traffic.balance {
                    Balance::TwoChoices => pick::two_choices(&candidates, &self.random),
                    Balance::PeakEwma => pick::peak_ewma(&candidates, &self.random, now),
                    Balance::RoundRobin => {
                        let _turn = lock(&self.common.turn);
                        pick::round_robin(&candidates)
                    }
                    Balance::Random => pick::random(&candidates, &self.random),
                }]
            }
        };
        Ok(Rc::clone(&endpoints[chosen].facts))
    }

    /// A request goes to this workload.
    pub(crate) fn begin(self: &Rc<Self>, workload: u32, now: Instant) -> UnderWay {
        let endpoint = self.endpoints().iter().find(|it| it.facts.workload == workload).cloned();
        if let Some(endpoint) = &endpoint {
            endpoint.load.begin();
        }
        UnderWay {
            balancer: Rc::clone(self),
            endpoint,
            begun: Cell::new(now),
            timed: Cell::default(),
            done: Cell::default(),
        }
    }

    fn endpoints(&self) -> Rc<[Rc<Endpoint>]> {
        Rc::clone(&self.endpoints.borrow())
    }

    /// The table is of all endpoints, and stays as it is while some of them are out: only who would go to one of those goes
    /// elsewhere, each to another place.
    fn by_table(&self, hash: u64, usable: &[usize]) -> Option<usize> {
        let table = self.table.borrow();
        let mut hash = hash;
        for _ in 0..PROBES {
            let place = *table.get(hash.checked_rem(table.len() as u64)? as usize)?;
            if usable.contains(&place) {
                return Some(place);
            }
            hash = scatter(hash.wrapping_add(0x9e37_79b9_7f4a_7c15));
        }
        None
    }

    /// Who of them is out; `None` if nobody can be.
    fn out(&self, endpoints: &[Rc<Endpoint>], traffic: &TrafficPolicy, now: Instant) -> Option<Vec<bool>> {
        if traffic.outliers.is_none() || now >= *lock(&self.common.all_in) {
            return None;
        }
        Some(endpoints.iter().map(|it| lock(&it.own.standing).is_out(now)).collect())
    }

    fn record(&self, endpoint: &Rc<Endpoint>, outcome: Outcome, begun: Instant, now: Instant) {
        let traffic = self.traffic();
        let Some(rule) = &traffic.outliers else { return };
        let fails = {
            let mut standing = lock(&endpoint.own.standing);
            // What was under way when it went out says nothing of how it is once it is back.
            !standing.was_out_since(begun) && standing.record(outcome, rule)
        };
        let endpoints = self.endpoints();
        // Requests under way when it stopped say nothing about the others.
        if fails && endpoints.iter().any(|it| Arc::ptr_eq(&it.own, &endpoint.own)) {
            self.eject(&endpoints, endpoint, rule, now);
        }
        let is_due = {
            let mut compared = lock(&self.common.compared);
            let is_due = now.saturating_duration_since(*compared) >= rule.interval;
            if is_due {
                *compared = now;
            }
            is_due
        };
        if is_due {
            self.compare(&endpoints, rule, now);
        }
    }

    /// Ejects those whose share of good answers is far below the others'.
    fn compare(&self, endpoints: &[Rc<Endpoint>], rule: &OutlierDetection, now: Instant) {
        let rates = endpoints.iter().filter_map(|it| {
            let mut standing = lock(&it.own.standing);
            let rate = standing.success_rate()?;
            (!standing.is_out(now)).then_some((rate, it))
        });
        let mut rates: Vec<_> = rates.collect();
        let Some(deviations) = rule.deviations else { return };
        let all: Vec<f64> = rates.iter().map(|(rate, _)| *rate).collect();
        let Some(threshold) = threshold(&all, deviations) else { return };
        rates.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        for (_, endpoint) in rates.into_iter().take_while(|(rate, _)| *rate < threshold) {
            self.eject(endpoints, endpoint, rule, now);
        }
    }

    fn eject(&self, endpoints: &[Rc<Endpoint>], endpoint: &Endpoint, rule: &OutlierDetection, now: Instant) {
        // One at a time, so that never more go than may.
        let mut all_in = lock(&self.common.all_in);
        let out = endpoints.iter().filter(|it| lock(&it.own.standing).is_out(now)).count();
        let crowd = Crowd { all: endpoints.len(), out };
        if let Some(until) = lock(&endpoint.own.standing).eject(rule, crowd, now) {
            *all_in = until.max(*all_in);
            self.common.ejections.fetch_add(1, Ordering::Relaxed);
            tracing::info!(endpoint = endpoint.facts.workload, "ejected: its requests fail");
        }
    }
}

impl Endpoint {
    fn weight(&self, traffic: &TrafficPolicy, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.load.since);
        let percent = traffic.warmup.map_or(100, |warmup| warmth(age, warmup));
        self.facts.weight.max(1).saturating_mul(percent)
    }
}

impl UnderWay {
    /// It fared so. Only the first word counts; it stays under way until it is dropped.
    pub(crate) fn done(&self, now: Instant, outcome: Outcome) {
        let Some(endpoint) = &self.endpoint else { return };
        if self.done.replace(true) {
            return;
        }
        if !self.timed.replace(true) {
            let took = now.saturating_duration_since(self.begun.get());
            match outcome {
                Outcome::Answered(_) => endpoint.load.answered(took, now),
                // How soon it would answer that does not tell.
                Outcome::Connected => {}
                Outcome::ConnectFailed | Outcome::Reset | Outcome::TimedOut => {
                    endpoint.load.failed(took, now)
                }
            }
        }
        self.balancer.record(endpoint, outcome, self.begun.get(), now);
    }

    /// It gets to the endpoint only now: what was before is not the endpoint's time.
    pub(crate) fn begins(&self, now: Instant) {
        self.begun.set(now);
    }

    /// How long it has been under way.
    pub(crate) fn lasts(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun.get())
    }

    /// Its caller left while only the endpoint's answer was waited for.
    pub(crate) fn left(&self, now: Instant) {
        if let Some(endpoint) = &self.endpoint
            && !self.timed.replace(true)
        {
            endpoint.load.unanswered(now.saturating_duration_since(self.begun.get()), now);
        }
    }

    /// It is being answered, which took so long; how it fares is still to be said.
    pub(crate) fn answers(&self, now: Instant) {
        if let Some(endpoint) = &self.endpoint
            && !self.timed.replace(true)
        {
            endpoint.load.answered(now.saturating_duration_since(self.begun.get()), now);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.load.end();
        }
    }
}

/// Places of those who may be chosen: not ejected (unless too few would be left to be called healthy), not tried, and of those
/// the ones nearest to the caller, if near ones come first.
fn usable(
    endpoints: &[Rc<Endpoint>],
    traffic: &TrafficPolicy,
    out: Option<&[bool]>,
    wish: &Wish<'_>,
) -> Vec<usize> {
    let left = out.map_or(endpoints.len(), |out| out.iter().filter(|it| !**it).count());
    let min_health = traffic.outliers.as_ref().map_or(0, |it| it.min_health_percent as usize);
    let out = out.filter(|_| left > 0 && left * 100 >= min_health * endpoints.len());
    let may_not = |place: usize| {
        wish.tried.contains(&endpoints[place].facts.workload) || out.is_some_and(|out| out[place])
    };
    let mut usable: Vec<usize> = (0..endpoints.len()).filter(|place| !may_not(*place)).collect();
    if traffic.near
        && let Some(caller) = wish.locality.filter(|it| !it.is_unknown())
    {
        let nearness = |place: &usize| caller.nearness(&endpoints[*place].facts.locality, &traffic.failover);
        let nearest = usable.iter().map(nearness).max().unwrap_or(0);
        usable.retain(|place| nearness(place) == nearest);
    }
    usable
}
