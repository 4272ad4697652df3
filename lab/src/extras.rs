//! What a run measures besides its rounds: the generator against others, where the time goes, what sockmap breaks.

use std::{process::Command, time::Duration};

use anyhow::{Result, bail};

use crate::{
    arm::Arm,
    check,
    place::Place,
    results::{CrossCheck, Results},
    rounds::{finish, load_command, start},
    run::Wish,
    scenario::{Scenario, Spec},
    tools::{self, Tool},
    world::{CLIENT_CORE, Target, World},
};

mod breakdown;
mod canaries;

/// Rounds of a cross-check.
const ROUNDS: u32 = 6;
const QUICK_ROUNDS: u32 = 3;

/// Measures all of them with the arms that are up. `envoy` is the sidecars'.
///
/// # Errors
/// Ctrl-C. Anything else is told in the results.
pub(crate) fn measure(
    wish: &Wish,
    place: &Place,
    worlds: &[World],
    envoy: Option<&Tool>,
    results: &mut Results,
) -> Result<()> {
    if let Some(floor) = worlds.iter().find(|it| it.arm == Arm::None) {
        eprintln!("the load generator against wrk and h2load");
        for (peer, target) in [("wrk", Target::Http), ("h2load", Target::Http2)] {
            place.check()?;
            let (checked, tool) = cross_check(wish, place, floor, peer, target);
            results.cross_checks.push(checked);
            results.environment.tools.extend(tool);
        }
    }
    if wish.arms.iter().any(|it| matches!(it, Arm::Sockmap | Arm::SidecarEbpfSockmap)) {
        canaries::measure(place, worlds, results)?;
    }
    breakdown::measure(wish, place, worlds, envoy, results)
}

fn cross_check(
    wish: &Wish,
    place: &Place,
    floor: &World,
    peer: &str,
    target: Target,
) -> (CrossCheck, Option<crate::results::Tool>) {
    let protocol = if target == Target::Http { "HTTP/1.1" } else { "HTTP/2" };
    let what = format!("{protocol}, 32 connections kept, 64 B, requests/s on the floor arm");
    let mut checked =
        CrossCheck { peer: peer.to_owned(), what, ours: Vec::new(), theirs: Vec::new(), missing: None };
    let tool = match tools::find(peer) {
        Ok(tool) => tool,
        Err(missing) => {
            checked.missing = Some(missing.to_string());
            return (checked, None);
        }
    };
    for round in 0..if wish.quick { QUICK_ROUNDS } else { ROUNDS } {
        if let Err(error) = one_round(wish, place, floor, &tool, target, round, &mut checked) {
            checked.missing = Some(format!("{error:#}"));
            break;
        }
    }
    (checked, Some((&tool).into()))
}

/// Ours and theirs, who comes first taking turns.
fn one_round(
    wish: &Wish,
    place: &Place,
    floor: &World,
    tool: &Tool,
    target: Target,
    round: u32,
    checked: &mut CrossCheck,
) -> Result<()> {
    let seconds = if wish.quick { 1 } else { 2 };
    let spec = capacity(target);
    for turn in 0..2 {
        place.check()?;
        if (turn + round).is_multiple_of(2) {
            let time = Duration::from_secs(seconds);
            let mut command = floor.client(&load_command(place, &spec, floor, time, u64::from(round))?)?;
            let load = finish(place, start(&mut command)?, time)?;
            if load.failed.values().sum::<u64>() > 0 {
                bail!("requests of our generator failed: {:?}", load.failed);
            }
            checked.ours.push(load.answered as f64 / load.seconds);
        } else {
            let url = floor.url(target)?;
            let prefix = prefix(floor)?;
            let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
            let time = Duration::from_secs(seconds);
            let connections = u32::try_from(spec.connections)?;
            let measured = match target {
                Target::Http2 => check::h2load(&prefix, tool, &url, connections, time, CLIENT_CORE),
                Target::Http | Target::Sized(_) | Target::Echo => {
                    check::wrk(&prefix, tool, &url, connections, time, CLIENT_CORE)
                }
            }?;
            checked.theirs.push(measured);
        }
    }
    Ok(())
}

/// The words before a command that run it as the client.
fn prefix(world: &World) -> Result<Vec<String>> {
    let command = world.client(&Command::new(""))?;
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Ok(words.filter(|it| !it.is_empty()).map(|it| it.to_string_lossy().into_owned()).collect())
}

fn capacity(target: Target) -> Spec {
    let mut specs = Scenario::Capacity.points(&[Arm::None], true);
    let spec = specs.remove(0);
    Spec { target, ..spec }
}
