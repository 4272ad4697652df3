//! Whether connections that do nothing slow the others down.

use anyhow::Result;

use crate::{
    arm::{Arm, Comparison, Ratios},
    hold::Held,
    place::Place,
    proxy::{END_CORE, Peer, Way},
    work::Work,
};

use super::{
    Prepared,
    proxies::{self, Wanted},
};

/// `proxy-idle`: each proxy twice, once with idle connections.
pub(super) fn with_idle(place: &Place, quick: bool) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let count = super::memory::idle(quick);
    let wanted = |name| Wanted { name, way: Way::Http, routes: 0, peers: &Peer::ALL };
    let none = proxies::arms(place, wanted("none"), &mut prepared)?;
    let mut idle = proxies::arms(place, wanted("idle"), &mut prepared)?;
    for first in none {
        let Some(index) = idle.iter().position(|it| it.name == first.name) else { continue };
        let second = idle.swap_remove(index);
        let client = second.from.client(&place.program());
        match Held::open(client, &second.to, count, END_CORE) {
            Ok(held) => prepared.held.push(held),
            Err(error) => {
                let name = format!("{} with {count} idle connections", first.name);
                prepared.missing.push((name, format!("{error:#}")));
                continue;
            }
        }
        let title = format!("proxy-idle: {}, requests on 32 connections", first.name);
        let named = |arm: &Arm, name: String| Arm::new(&name, arm.from.clone(), arm.to.clone());
        let arms = vec![
            named(&first, "no other connection".into()),
            named(&second, format!("{count} idle connections besides")),
        ];
        prepared.comparisons.push(Comparison { title, work: Work::Wrk, ratios: Ratios::ToFirst, arms });
    }
    Ok(prepared)
}
