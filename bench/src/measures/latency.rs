//! What a proxy adds to one request, and to the slowest of many.

use anyhow::{Context, Result};

use crate::{
    arm::{Arm, Comparison, Ratios, WABE},
    place::Place,
    proxy::{END_CORE, Peer},
    stats::median,
    work::{Load, Work},
};

use super::{
    Prepared,
    proxies::{self, CABLE, MESH},
};

/// `proxy-latency`.
pub(super) fn added(place: &Place) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let mut arms = proxies::http(place, "latency", &mut prepared)?;
    for arm in arms.iter_mut().filter(|arm| ![CABLE, MESH].contains(&arm.name.as_str())) {
        arm.direct = Some(if arm.name == WABE { MESH } else { CABLE });
    }
    let title = "proxy-latency: median time of a request, one connection".to_owned();
    prepared.comparisons.push(Comparison { title, work: Work::OneByOne, ratios: Ratios::OfWabe, arms });
    Ok(prepared)
}

/// Percent of nginx's capacity that every proxy is loaded with.
const SHARE: f64 = 70.0;

/// `proxy-tail`: nginx's capacity is measured first, by the same generator as in `proxy-requests`.
pub(super) fn tail(place: &Place, quick: bool) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let arms = proxies::http(place, "tail", &mut prepared)?;
    let load = Load { connections: 32, time: std::time::Duration::from_secs(1), core: END_CORE };
    let is_nginx = |arm: &&Arm| arm.name == Peer::Nginx.word();
    let nginx = arms.iter().find(is_nginx).context("without nginx there is no rate to load with")?;
    let runs = if quick { 1 } else { 7 };
    let capacity = (0..runs)
        .map(|_| Work::Wrk.sample(place, &nginx.from, &nginx.to, load))
        .collect::<Result<Vec<f64>>>()?;
    let capacity = median(&capacity).context("invariant: at least one run")?;
    let rate = (capacity * SHARE / 100.0) as u64;
    prepared.facts.push((
        "every proxy is loaded with".into(),
        format!("{rate} requests/s by schedule, {SHARE} % of nginx's {capacity:.0} (median of {runs} runs)"),
    ));
    let title = format!("proxy-tail: 99th percentile at {rate} requests/s");
    let work = Work::Scheduled(rate);
    prepared.comparisons.push(Comparison { title, work, ratios: Ratios::OfWabe, arms });
    Ok(prepared)
}
