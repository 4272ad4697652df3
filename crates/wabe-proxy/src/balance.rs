//! Which endpoint of a backend gets a request, how it fared there, and how much may be under way.
//!
//! Pure: whoever calls says what time it is. What is known of endpoints outlives snapshots, and is the same for all workers
//! ([`Known`]); each worker has a [`Balancer`] of its own for a backend. Who may be chosen at all comes
//! first (not ejected, not tried, near the caller), then one of them by the backend's kind of balancing.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use http::StatusCode;
use wabe_model::{Locality, ObjectName};

mod backend;
mod ejection;
mod figures;
mod hash;
mod known;
mod limits;
mod load;
mod pick;
mod random;
mod retry_budget;
#[cfg(test)]
mod tests;

pub(crate) use backend::{Balancer, UnderWay};
pub(crate) use hash::{Asked, Hashed, hashed};
pub(crate) use known::{Known, Told};
pub(crate) use limits::{Limits, Overflow, Permit};
pub(crate) use random::Random;

/// All backends as one worker sees them.
#[derive(Debug, Default)]
pub(crate) struct Balancers {
    random: Rc<Random>,
    backends: RefCell<HashMap<(ObjectName, u16), Rc<Balancer>>>,
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
    /// A connection for bytes of any kind came to be.
    Connected,
    /// No connection: refused, reset or too slow.
    ConnectFailed,
    /// The connection ended, or brought no HTTP, before the head of an answer. Not said of a kept connection that its other end
    /// had closed before the request was sent.
    Reset,
    /// The head of an answer took longer than the route grants.
    TimedOut,
}

impl Balancers {
    /// For tests: the same choices each time.
    #[cfg(test)]
    fn seeded(seed: u64) -> Self {
        Self { random: Rc::new(Random::seeded(seed)), ..Self::default() }
    }

    /// For choices that are no endpoint's, and names of requests.
    pub(crate) fn random(&self) -> &Random {
        &self.random
    }

    /// A backend that was [told](Self::update) of last.
    pub(crate) fn backend(&self, service: &ObjectName, port: u16) -> Option<Rc<Balancer>> {
        self.backends.borrow().get(&(service.clone(), port)).cloned()
    }

    /// Takes over what a snapshot says.
    pub(crate) fn update(&self, told: &[Told]) {
        let mut backends = self.backends.borrow_mut();
        let known: HashSet<_> = told.iter().map(|it| (&it.facts.service, it.facts.port)).collect();
        backends.retain(|(service, port), _| known.contains(&(service, *port)));
        for told in told {
            let key = (told.facts.service.clone(), told.facts.port);
            // One that was gone meanwhile is new.
            let same = backends.get(&key).filter(|it| it.is_of(&told.common)).cloned();
            let balancer = same
                .unwrap_or_else(|| Rc::new(Balancer::new(Rc::clone(&self.random), Arc::clone(&told.common))));
            balancer.update(told);
            backends.insert(key, balancer);
        }
    }
}
