//! What socket to socket redirection breaks, beside plain TCP.

use std::fs::File;

use anyhow::{Context, Result};
use wabe_lab_datapath::{Scene, canaries};

use crate::{
    arm::Arm,
    place::Place,
    results::{Canary, Results},
    world::{World, kube::Flood},
};

/// Tries them with and without. `worlds` may have the arms already.
///
/// # Errors
/// An arm can't be set up.
pub(super) fn measure(place: &Place, worlds: &[World], results: &mut Results) -> Result<()> {
    for arm in [Arm::None, Arm::Sockmap] {
        eprintln!("{}: what applications rely on", arm.name());
        let own;
        let world = match worlds.iter().find(|it| it.arm == arm) {
            Some(world) => world,
            None => {
                own = World::up(place, arm, Flood::default(), None)?;
                &own
            }
        };
        let scene = world.scene()?.context("invariant: both arms are in pods")?;
        let open = |path: &std::path::Path| File::open(path).with_context(|| path.display().to_string());
        let (client, server) = (open(&scene.client)?, open(&scene.server)?);
        let tried = canaries(&Scene {
            cgroup: Some(&scene.cgroup),
            client_netns: std::os::fd::AsFd::as_fd(&client),
            server_netns: std::os::fd::AsFd::as_fd(&server),
            server_address: scene.address,
        })?;
        results.canaries.extend(tried.into_iter().map(|it| Canary {
            name: it.name.to_owned(),
            expected: it.expected.to_owned(),
            arm: arm.name().to_owned(),
            holds: it.holds,
            seen: it.seen,
        }));
    }
    Ok(())
}
