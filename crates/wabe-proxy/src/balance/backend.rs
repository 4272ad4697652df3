//! A backend: its endpoints, and who of them gets a request.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use wabe_model::{Balance, OutlierDetection};
use wabe_policy::spread::{maglev, warmth};

use super::{
    Limits, NoChoice, Outcome, Random, Wish,
    ejection::{Crowd, Standing, threshold},
    load::Load,
    pick::{self, Candidate},
    random::scatter,
};
use crate::snapshot::{BackendFacts, EndpointFacts, TrafficPolicy};

/// So often Maglev's table is asked for somebody else if who it names may not be chosen.
const PROBES: u32 = 32;

/// A service's port.
#[derive(Debug)]
pub(crate) struct Balancer {
    random: Rc<Random>,
    limits: Rc<Limits>,
    traffic: RefCell<Rc<TrafficPolicy>>,
    endpoints: RefCell<Rc<[Rc<Endpoint>]>>,
    /// Maglev's, of places in `endpoints`; empty unless hashes are asked for.
    table: RefCell<Vec<usize>>,
    /// When success rates were compared last.
    compared: Cell<Instant>,
    ejections: Cell<u64>,
}

/// An endpoint as one backend's requests see it.
#[derive(Debug)]
struct Endpoint {
    facts: Rc<EndpointFacts>,
    load: Rc<Load>,
    own: Rc<Own>,
}

/// What outlives a change of its facts.
#[derive(Debug, Default)]
struct Own {
    credit: Cell<i64>,
    standing: RefCell<Standing>,
}

/// A request under way at an endpoint; ends when dropped. Without [`UnderWay::done`] it counts for nothing: the caller left.
#[derive(Debug)]
#[must_use]
pub(crate) struct UnderWay {
    balancer: Rc<Balancer>,
    endpoint: Option<Rc<Endpoint>>,
    begun: Instant,
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
    pub(super) fn new(random: Rc<Random>, now: Instant) -> Self {
        Self {
            random,
            limits: Rc::default(),
            traffic: RefCell::default(),
            endpoints: RefCell::new(Rc::new([])),
            table: RefCell::default(),
            compared: Cell::new(now),
            ejections: Cell::new(0),
        }
    }

    pub(super) fn update(&self, facts: &BackendFacts, mut load: impl FnMut(&EndpointFacts) -> Rc<Load>) {
        let before = self.endpoints();
        let endpoint = |facts: &EndpointFacts| {
            let same =
                |it: &&Rc<Endpoint>| it.facts.workload == facts.workload && it.facts.port == facts.port;
            let own = before.iter().find(same).map(|it| Rc::clone(&it.own)).unwrap_or_default();
            Rc::new(Endpoint { facts: Rc::new(facts.clone()), load: load(facts), own })
        };
        let endpoints: Rc<[_]> = facts.endpoints.iter().map(endpoint).collect();
        let members = |all: &[Rc<Endpoint>]| -> Vec<(u32, u32)> {
            all.iter().map(|it| (it.facts.workload, it.facts.weight)).collect()
        };
        let now = members(&endpoints);
        let mut table = self.table.borrow_mut();
        if facts.traffic.hash.is_none() {
            table.clear();
        } else if table.is_empty() || now != members(&before) {
            *table = maglev::table(&now);
        }
        *self.endpoints.borrow_mut() = endpoints;
        self.limits.set(&facts.traffic.pool);
        *self.traffic.borrow_mut() = Rc::new(facts.traffic.clone());
    }

    /// How its requests are spread.
    pub(crate) fn traffic(&self) -> Rc<TrafficPolicy> {
        Rc::clone(&self.traffic.borrow())
    }

    /// How much of it may be in use.
    pub(crate) fn limits(&self) -> &Rc<Limits> {
        &self.limits
    }

    /// Ejections ever.
    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.get()
    }

    /// What is known of each endpoint.
    pub(crate) fn scores(&self, now: Instant) -> Vec<Score> {
        let traffic = self.traffic();
        let score = |it: &Rc<Endpoint>| Score {
            workload: it.facts.workload,
            weight: it.weight(&traffic, now),
            under_way: it.load.under_way(),
            latency: it.load.latency(now),
            ejected_for: it.own.standing.borrow().out_for(now),
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
        let usable = usable(&endpoints, &traffic, now, wish);
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
                    Balance::RoundRobin => pick::round_robin(&candidates),
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
        UnderWay { balancer: Rc::clone(self), endpoint, begun: now, done: Cell::new(false) }
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

    fn record(&self, endpoint: &Rc<Endpoint>, outcome: Outcome, now: Instant) {
        let traffic = self.traffic();
        let Some(rule) = &traffic.outliers else { return };
        let fails = endpoint.own.standing.borrow_mut().record(outcome, rule);
        let endpoints = self.endpoints();
        // Requests under way when it stopped say nothing about the others.
        if fails && endpoints.iter().any(|it| Rc::ptr_eq(&it.own, &endpoint.own)) {
            self.eject(&endpoints, endpoint, rule, now);
        }
        if now.saturating_duration_since(self.compared.get()) >= rule.interval {
            self.compared.set(now);
            self.compare(&endpoints, rule, now);
        }
    }

    /// Ejects those whose share of good answers is far below the others'.
    fn compare(&self, endpoints: &[Rc<Endpoint>], rule: &OutlierDetection, now: Instant) {
        let rates = endpoints.iter().filter_map(|it| {
            let mut standing = it.own.standing.borrow_mut();
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
        let out = endpoints.iter().filter(|it| it.own.standing.borrow().is_out(now)).count();
        let crowd = Crowd { all: endpoints.len(), out };
        if endpoint.own.standing.borrow_mut().eject(rule, crowd, now).is_some() {
            self.ejections.set(self.ejections.get() + 1);
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
        let took = now.saturating_duration_since(self.begun);
        match outcome {
            Outcome::Answered(_) => endpoint.load.answered(took, now),
            Outcome::ConnectFailed | Outcome::Reset | Outcome::TimedOut => endpoint.load.failed(took, now),
        }
        self.balancer.record(endpoint, outcome, now);
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
fn usable(endpoints: &[Rc<Endpoint>], traffic: &TrafficPolicy, now: Instant, wish: &Wish<'_>) -> Vec<usize> {
    let is_out = |it: &Endpoint| it.own.standing.borrow().is_out(now);
    let min_health = traffic.outliers.as_ref().map(|it| it.min_health_percent as usize);
    let left = min_health.map_or(endpoints.len(), |_| endpoints.iter().filter(|it| !is_out(it)).count());
    let keep_out = min_health.is_some_and(|percent| left > 0 && left * 100 >= percent * endpoints.len());
    let may_not = |it: &Endpoint| wish.tried.contains(&it.facts.workload) || (keep_out && is_out(it));
    let mut usable: Vec<usize> = (0..endpoints.len()).filter(|place| !may_not(&endpoints[*place])).collect();
    if traffic.near
        && let Some(caller) = wish.locality.filter(|it| !it.is_unknown())
    {
        let nearness = |place: &usize| caller.nearness(&endpoints[*place].facts.locality);
        let nearest = usable.iter().map(nearness).max().unwrap_or(0);
        usable.retain(|place| nearness(place) == nearest);
    }
    usable
}
