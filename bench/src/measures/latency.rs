//! What a proxy adds to one request, and to the slowest of many.

use anyhow::{Context, Result};

use crate::{
    arm::{Arm, WABE},
    place::Place,
    proxy::{END_CORE, Peer, Way},
    work::{Load, Work},
};

use super::{
    Prepared,
    proxies::{self, CABLE, INSIDE, MESH},
};

/// `proxy-latency`.
pub(super) fn added(place: &Place) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let mut arms = proxies::http(place, "latency", &mut prepared)?;
    let inside = proxies::inside(place, Way::Http, &arms, &mut prepared);
    arms.extend(inside);
    arms.extend(proxies::introducing(&arms, &mut prepared));
    for arm in arms.iter_mut().filter(|arm| ![CABLE, MESH].contains(&arm.name.as_str())) {
        let is_of_mesh = arm.name == WABE || arm.name.ends_with(INSIDE);
        arm.direct = Some(if is_of_mesh { MESH } else { CABLE });
    }
    let polling = proxies::polling(place, "latency", &arms, &mut prepared);
    let title = "proxy-latency: median time of a request, one connection".to_owned();
    proxies::compare(&mut prepared, title, Work::OneByOne, arms, polling);
    Ok(prepared)
}

/// Percent of nginx's capacity that every proxy is loaded with.
const SHARE: f64 = 70.0;
/// A rate is borne if 99 of 100 requests are answered within this time, microseconds: what a proxy can't do piles up.
const BORNE: f64 = 10_000.0;
/// How often it may try.
const LOOKS: u32 = 3;

/// `proxy-tail`: nginx's capacity is searched first, the largest rate by schedule that it bears. The generator shares its core
/// with the server, and a schedule costs it more than answering answers: what `wrk` gets through nginx it could not even offer.
pub(super) fn tail(place: &Place, quick: bool) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let mut arms = proxies::http(place, "tail", &mut prepared)?;
    let inside = proxies::inside(place, Way::Http, &arms, &mut prepared);
    arms.extend(inside);
    arms.extend(proxies::introducing(&arms, &mut prepared));
    let load = Load { connections: 32, time: std::time::Duration::from_secs(1), core: END_CORE };
    let is_nginx = |arm: &&Arm| arm.name == Peer::Nginx.word();
    let nginx = arms.iter().find(is_nginx).context("without nginx there is no rate to load with")?;
    let steps = if quick { 1 } else { 8 };
    let most = Work::Closed.sample(place, &nginx.from, &nginx.to, load)?;
    let capacity = capacity(most, steps, |rate| {
        // What it bore once it bears: the machine may have been busy.
        for _ in 0..LOOKS {
            if Work::Scheduled(rate).sample(place, &nginx.from, &nginx.to, load)? < BORNE {
                return Ok(true);
            }
        }
        Ok(false)
    })?;
    let rate = (capacity as f64 * SHARE / 100.0) as u64;
    prepared.facts.push((
        "every proxy is loaded with".into(),
        format!("{rate} requests/s by schedule, {SHARE} % of the {capacity} that nginx bears"),
    ));
    let title = format!("proxy-tail: 99th percentile at {rate} requests/s");
    let work = Work::Scheduled(rate);
    let polling = proxies::polling(place, "tail", &arms, &mut prepared);
    proxies::compare(&mut prepared, title, work, arms, polling);
    Ok(prepared)
}

/// The largest rate that is borne, up to `most`, by halving; a hundredth of `most` if none is.
fn capacity(most: f64, steps: u32, mut is_borne: impl FnMut(u64) -> Result<bool>) -> Result<u64> {
    let (mut borne, mut not) = (most / 100.0, most);
    for _ in 0..steps {
        let rate = f64::midpoint(borne, not);
        if is_borne(rate as u64)? {
            borne = rate;
        } else {
            not = rate;
        }
    }
    Ok(borne as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_rate_that_is_borne_is_found() {
        let found = |most: f64, borne: u64| capacity(most, 8, |rate| Ok(rate <= borne)).expect("no failure");
        for borne in [5_000, 31_234, 79_000] {
            assert!(
                found(80_000.0, borne).abs_diff(borne) < 80_000 / 200,
                "{borne}: {}",
                found(80_000.0, borne)
            );
        }
        assert_eq!(found(80_000.0, 0), 800, "none is");
    }
}
