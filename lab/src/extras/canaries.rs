//! What socket to socket redirection breaks, beside plain TCP.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{
    arm::Arm,
    place::{Place, command::run},
    results::Results,
    rounds::start,
    world::{World, kube::Flood},
};

/// Where canaries are answered in the server's pod.
const PORT: u16 = 9100;

/// Tries them with and without. `worlds` may have the arms already.
///
/// # Errors
/// Ctrl-C, or an arm can't be set up.
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
        let at = world.server_address(PORT).context("invariant: both arms are in pods")?;
        let mut server = Command::new(place.program());
        server.args(["lab", "canary", "--serve", &at]);
        let mut server = start(&mut world.server(&server)?)?;
        let mut client = Command::new(place.program());
        client.args(["lab", "canary", &at, "--arm", arm.name()]);
        let tried = (|| {
            place.wait(Duration::from_secs(5), || {
                let mut listening = Command::new("bash");
                listening.args(["-c", &format!("exec 3<>/dev/tcp/{}", at.replace(':', "/"))]);
                run(&mut world.client(&listening)?).map(drop)
            })?;
            run(&mut world.client(&client)?)
        })();
        let _ = server.kill();
        server.wait()?;
        let told = tried?;
        results.canaries.extend(serde_json::from_str::<Vec<_>>(&told).context("reading canaries")?);
    }
    Ok(())
}
