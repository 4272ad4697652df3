//! Which endpoint of a backend gets a request, how it fared there, and how much may be under way.
//!
//! Pure: whoever calls says what time it is. What is known of endpoints outlives snapshots.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
    time::Instant,
};

use http::StatusCode;
use wabe_model::{Locality, ObjectName};

use crate::snapshot::{BackendFacts, EndpointFacts, TrafficPolicy};

mod hash;
mod limits;
mod random;
mod retry_budget;

pub(crate) use hash::{Asked, Hashed, hashed};
pub(crate) use limits::{Limits, Overflow, Permit};
pub(crate) use random::Random;

/// All backends. One for the proxy.
#[derive(Debug, Default)]
pub(crate) struct Balancers {
    random: Rc<Random>,
    backends: RefCell<HashMap<(ObjectName, u16), Rc<Balancer>>>,
    /// Endpoints by workload and port, whichever backends they serve.
    endpoints: RefCell<HashMap<(u32, u16), Rc<Load>>>,
}

/// A backend: a service's port.
#[derive(Debug)]
pub(crate) struct Balancer {
    random: Rc<Random>,
    limits: Rc<Limits>,
    traffic: RefCell<Rc<TrafficPolicy>>,
    endpoints: RefCell<Vec<Rc<Endpoint>>>,
}

/// An endpoint as one backend's requests see it.
#[derive(Debug)]
struct Endpoint {
    facts: Rc<EndpointFacts>,
    load: Rc<Load>,
}

/// What an endpoint has to do, whoever asks.
#[derive(Debug)]
struct Load {
    under_way: Cell<u32>,
}

/// What is known of a request before its endpoint is chosen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish<'a> {
    /// From [`hashed`].
    pub(crate) hash: Option<u64>,
    /// Workloads that were tried already.
    pub(crate) tried: &'a [u32],
    /// Where the caller is.
    pub(crate) locality: Option<&'a Locality>,
}

/// Why there is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoChoice {
    /// Nobody serves the backend.
    Empty,
    /// All that may be asked were tried.
    AllTried,
}

/// How a request fared at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The head of an answer came.
    Answered(StatusCode),
    /// No connection: refused, reset or too slow.
    ConnectFailed,
    /// The connection ended, or brought no HTTP, before the head of an answer.
    Reset,
    /// The head of an answer took longer than the route grants.
    TimedOut,
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

impl Balancers {
    /// For choices that are no endpoint's, and names of requests.
    pub(crate) fn random(&self) -> &Random {
        &self.random
    }

    /// A backend that the last [`Self::update`] knew.
    pub(crate) fn backend(&self, service: &ObjectName, port: u16) -> Option<Rc<Balancer>> {
        self.backends.borrow().get(&(service.clone(), port)).cloned()
    }

    /// Takes over what a snapshot says. Backends and endpoints that it does not have are forgotten.
    pub(crate) fn update(&self, facts: &[BackendFacts], _now: Instant) {
        let mut backends = self.backends.borrow_mut();
        let mut loads = self.endpoints.borrow_mut();
        let known: HashSet<_> = facts.iter().map(|it| (&it.service, it.port)).collect();
        backends.retain(|(service, port), _| known.contains(&(service, *port)));
        let serving = facts.iter().flat_map(|it| &it.endpoints);
        let serving: HashSet<_> = serving.map(|it| (it.workload, it.port)).collect();
        loads.retain(|key, _| serving.contains(key));
        for facts in facts {
            let key = (facts.service.clone(), facts.port);
            let balancer =
                backends.entry(key).or_insert_with(|| Rc::new(Balancer::new(Rc::clone(&self.random))));
            let endpoint = |facts: &EndpointFacts| {
                let load = loads.entry((facts.workload, facts.port));
                let load = load.or_insert_with(|| Rc::new(Load { under_way: Cell::new(0) }));
                Rc::new(Endpoint { facts: Rc::new(facts.clone()), load: Rc::clone(load) })
            };
            *balancer.endpoints.borrow_mut() = facts.endpoints.iter().map(endpoint).collect();
            balancer.limits.set(&facts.traffic.pool);
            *balancer.traffic.borrow_mut() = Rc::new(facts.traffic.clone());
        }
    }
}

impl Balancer {
    fn new(random: Rc<Random>) -> Self {
        Self { random, limits: Rc::default(), traffic: RefCell::default(), endpoints: RefCell::default() }
    }

    /// How its requests are spread.
    pub(crate) fn traffic(&self) -> Rc<TrafficPolicy> {
        Rc::clone(&self.traffic.borrow())
    }

    /// How much of it may be in use.
    pub(crate) fn limits(&self) -> &Rc<Limits> {
        &self.limits
    }

    /// Chooses an endpoint; [`Self::begin`] what it is chosen for.
    ///
    /// # Errors
    /// Nobody is left.
    pub(crate) fn choose(&self, _now: Instant, wish: &Wish<'_>) -> Result<Rc<EndpointFacts>, NoChoice> {
        let endpoints = self.endpoints.borrow();
        if endpoints.is_empty() {
            return Err(NoChoice::Empty);
        }
        let left: Vec<_> = endpoints.iter().filter(|it| !wish.tried.contains(&it.facts.workload)).collect();
        let weights: Vec<u32> = left.iter().map(|it| it.facts.weight).collect();
        let draw = || self.random.draw(&weights).ok_or(NoChoice::AllTried);
        let (one, other) = (draw()?, draw()?);
        // Of unequal weights, too: what counts is how full each is.
        let load = |place: usize| {
            f64::from(left[place].load.under_way.get()) / f64::from(left[place].facts.weight.max(1))
        };
        let chosen = left[if load(other) < load(one) { other } else { one }];
        Ok(Rc::clone(&chosen.facts))
    }

    /// A request goes to this workload.
    pub(crate) fn begin(self: &Rc<Self>, workload: u32, now: Instant) -> UnderWay {
        let endpoint = self.endpoints.borrow().iter().find(|it| it.facts.workload == workload).cloned();
        if let Some(endpoint) = &endpoint {
            endpoint.load.under_way.set(endpoint.load.under_way.get() + 1);
        }
        UnderWay { balancer: Rc::clone(self), endpoint, begun: now, done: Cell::new(false) }
    }
}

impl UnderWay {
    /// It fared so. Only the first word counts; it stays under way until it is dropped.
    pub(crate) fn done(&self, _now: Instant, _outcome: Outcome) {
        self.done.set(true);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.load.under_way.set(endpoint.load.under_way.get() - 1);
        }
    }
}
