//! Whether many routes cost more than few.

use anyhow::Result;

use crate::{
    arm::{Arm, Comparison, Ratios},
    place::Place,
    proxy::{Peer, Way},
    work::Work,
};

use super::{
    Prepared,
    proxies::{self, Wanted},
};

/// Of the arm that the other is compared with.
const FEW: usize = 10;

/// `proxy-routes`: each proxy twice. Asked for is the last route, so that a proxy that tries one after the other shows it.
pub(super) fn many(place: &Place, quick: bool) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let many = if quick { 100 } else { 1_000 };
    let wanted = |name, routes| Wanted { name, way: Way::Http, routes, peers: &Peer::ALL };
    let few = proxies::arms(place, wanted("few", FEW), &mut prepared)?;
    let mut more = proxies::arms(place, wanted("many", many), &mut prepared)?;
    for first in few {
        let Some(index) = more.iter().position(|it| it.name == first.name) else { continue };
        let second = more.swap_remove(index);
        let title = format!("proxy-routes: {}, requests on 32 connections", first.name);
        let named =
            |arm: &Arm, routes| Arm::new(&format!("{routes} routes"), arm.from.clone(), arm.to.clone());
        let arms = vec![named(&first, FEW), named(&second, many)];
        prepared.comparisons.push(Comparison { title, work: Work::Wrk, ratios: Ratios::ToFirst, arms });
    }
    Ok(prepared)
}
