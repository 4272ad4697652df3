//! How backends and endpoints are, for people to see.

use std::time::{Duration, Instant};

use super::{Balancers, Overflow, backend::Score};
use crate::figures::{BackendFigures, EndpointFigures, MOST_BACKENDS, MOST_ENDPOINTS};

impl Balancers {
    /// All of them, to a limit.
    pub(crate) fn figures(&self, now: Instant) -> Vec<BackendFigures> {
        let mut room = MOST_ENDPOINTS;
        let backends = self.backends.borrow();
        let figures = backends.iter().take(MOST_BACKENDS).map(|((service, port), balancer)| {
            let scores = balancer.scores(now);
            let ejected = scores.iter().filter(|it| it.ejected_for.is_some()).count();
            let endpoints =
                if scores.len() <= room { scores.iter().map(endpoint).collect() } else { Vec::new() };
            room -= endpoints.len();
            let in_use = |what| balancer.limits().in_use(what);
            BackendFigures {
                service: service.clone(),
                port: *port,
                connections: in_use(Overflow::Connections),
                pending: in_use(Overflow::Pending),
                requests: in_use(Overflow::Requests),
                ejections: balancer.ejections(),
                ejected: u32::try_from(ejected).unwrap_or(u32::MAX),
                endpoints,
            }
        });
        figures.collect()
    }
}

fn endpoint(score: &Score) -> EndpointFigures {
    let whole = |time: u128| u64::try_from(time).unwrap_or(u64::MAX);
    EndpointFigures {
        workload: score.workload,
        weight: score.weight,
        under_way: score.under_way,
        latency: score.latency.as_ref().map(Duration::as_micros).map(whole),
        ejected_for: score.ejected_for.as_ref().map(Duration::as_millis).map(whole),
    }
}
