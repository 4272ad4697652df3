//! Which endpoints of a backend may be chosen now, and what the choice among them goes by: as the proxy's
//! `balance::backend` has it, from what the snapshot says and the proxy told.

use wabe_model::{Balance, HashKey, Locality};
use wabe_proxy::{BackendFacts, TrafficPolicy, fields};

use super::{Asked, BackendView, EndpointView, HashView, Withheld};

/// Of a backend, what its endpoints are chosen by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) balance: &'static str,
    pub(super) hash: Option<HashView>,
    pub(super) near: bool,
    pub(super) min_health_percent: Option<u32>,
}

impl Choice {
    pub(super) fn of(facts: Option<&BackendFacts>, asked: &Asked, caller: Option<&Locality>) -> Self {
        let none = TrafficPolicy::default();
        let traffic = facts.map_or(&none, |it| &it.traffic);
        Self {
            balance: match traffic.balance {
                Balance::TwoChoices => "two-choices",
                Balance::Random => "random",
                Balance::RoundRobin => "round-robin",
                Balance::PeakEwma => "peak-ewma",
            },
            hash: traffic.hash.as_ref().map(|it| hash(it, asked)),
            near: traffic.near && caller.is_some_and(|it| !it.is_unknown()),
            min_health_percent: traffic.outliers.as_ref().map(|it| it.min_health_percent),
        }
    }
}

/// Says who gets nothing and what is known of the others' chances, by what is known of them now. `age` is that of what the
/// proxy told, in milliseconds.
pub(super) fn judge(view: &mut BackendView, age: u64) {
    let is_out =
        |it: &EndpointView| it.live.as_ref().and_then(|it| it.ejected_for).is_some_and(|it| it > age);
    let (all, out) = (view.endpoints.len(), view.endpoints.iter().filter(|it| is_out(it)).count());
    let least = view.min_health_percent.unwrap_or(0) as usize;
    let few = out == all || (all - out) * 100 < least * all;
    let counts = view.min_health_percent.is_some();
    view.ejections_ignored = counts && out > 0 && few;
    let out = |it: &EndpointView| counts && !few && is_out(it);
    let nearest = view.endpoints.iter().filter(|it| !out(it)).map(|it| it.nearness).max();
    let decided = view.hash.as_ref().is_some_and(|it| it.given);
    for it in &mut view.endpoints {
        it.withheld = if out(it) {
            Some(Withheld::Ejected)
        } else if view.near && Some(it.nearness) != nearest {
            Some(Withheld::NotNearest)
        } else {
            None
        };
    }
    let total: f64 = view.endpoints.iter().filter(|it| it.withheld.is_none()).map(weight).sum();
    for it in &mut view.endpoints {
        let part = if it.withheld.is_none() { weight(it) / total } else { 0.0 };
        it.share = (!decided || it.withheld.is_some()).then_some(part);
        it.score = if decided { None } else { score(view.balance.unwrap_or_default(), it) };
    }
}

/// What holds of its weight now.
fn weight(it: &EndpointView) -> f64 {
    let warmth = it.live.as_ref().map_or(100, |it| it.warmth.max(1));
    f64::from(it.weight.max(1)) * f64::from(warmth) / 100.0
}

/// The lower one of two is chosen.
fn score(balance: &str, it: &EndpointView) -> Option<f64> {
    let live = it.live.as_ref()?;
    let for_one = (f64::from(live.under_way) + 1.0) / weight(it);
    match (balance, live.latency) {
        ("two-choices", _) => Some(for_one),
        ("peak-ewma", Some(latency)) => Some(latency as f64 * for_one),
        // It is tried once; until it has answered any other is better.
        ("peak-ewma", None) => (live.under_way == 0).then_some(0.0),
        _ => None,
    }
}

fn hash(key: &HashKey, asked: &Asked) -> HashView {
    let mut named = asked.headers.iter();
    let (by, name, given) = match key {
        HashKey::Source => ("source", None, true),
        HashKey::Header(name) => {
            ("header", Some(name.clone()), named.any(|it| it.0.eq_ignore_ascii_case(name)))
        }
        HashKey::Query(name) => {
            let query = asked.target.split_once('?').map(|it| it.1);
            let given = query.is_some_and(|it| fields::parameter(it, name).is_some());
            ("query", Some(name.clone()), given)
        }
        HashKey::Cookie(cookie) => {
            let has = |it: &(String, String)| {
                it.0.eq_ignore_ascii_case("cookie") && fields::cookie(it.1.as_bytes(), &cookie.name).is_some()
            };
            // Who comes without one is given one, and goes by it at once.
            let given = named.any(has) || cookie.lifetime.is_some();
            ("cookie", Some(cookie.name.clone()), given)
        }
    };
    HashView { by, name, given }
}

#[cfg(test)]
mod tests;
