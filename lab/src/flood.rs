//! The cluster flooder by itself: so many services in a namespace, how long that takes, and one change.

use anyhow::{Result, bail};

use crate::{
    arm::Arm,
    place::Place,
    results::Rules,
    world::{World, kube::Flood},
};

/// Floods a node of its own, and removes it again.
///
/// # Errors
/// Not root, another lab is running, too many services, or the technology refuses.
pub fn flood(wabe: &std::path::Path, arm: Arm, flood: Flood) -> Result<Rules> {
    if let Err(why) = flood.check() {
        bail!(why);
    }
    if let Some(why) = crate::available::missing(arm) {
        bail!(why);
    }
    let place = Place::take(wabe)?;
    let world = World::up(&place, arm, flood, None)?;
    Ok(world.facts.clone().unwrap_or_else(|| Rules {
        technology: "none".to_owned(),
        services: 0,
        endpoints: 0,
        count: 0,
        programmed: 0.0,
        changed: None,
    }))
}
