//! A run: arms are set up, loaded in rounds, and what comes out is written as it comes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};

use crate::{
    arm::Arm,
    available, extras, machine,
    place::Place,
    results::{self, FORMAT, Results, Run},
    rounds::{Rounds, WARM_UP},
    scenario::{Scenario, Spec},
    stats::{Measure, Random, comparisons},
    tools,
    world::{World, kube::Flood},
};

mod output;
mod progress;

pub use output::{RESULTS, prepare};
use progress::Progress;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Wish {
    /// `wabe`: its mesh is measured, and its `lab load` makes the load.
    pub wabe: PathBuf,
    /// In the order in which they run.
    pub scenarios: Vec<Scenario>,
    /// The arms; those that this machine can't run are told in the results.
    pub arms: Vec<Arm>,
    /// Fewer rules, shorter slices.
    pub quick: bool,
    /// At least 1; six are needed for a verdict.
    pub rounds: u32,
    /// Where results go; made if it is not there.
    pub out: PathBuf,
    /// The command line, for the report.
    pub command: Vec<String>,
    /// What orders are drawn from.
    pub seed: u64,
}

/// The arms of `--quick`.
pub const QUICK: [Arm; 4] = [Arm::None, Arm::SidecarIptables, Arm::SidecarEbpf, Arm::WabeDirect];
/// The arms of the thesis' experiment, and what it left open.
pub const THESIS: [Arm; 8] = [
    Arm::None,
    Arm::KubeProxyIptables,
    Arm::KubeProxyNftables,
    Arm::SidecarIptables,
    Arm::SidecarEbpf,
    Arm::SidecarEbpfSockmap,
    Arm::WabeDirect,
    Arm::WabeProxy,
];

/// The scenarios of the thesis' experiment, and what it left open.
#[must_use]
pub fn thesis(quick: bool) -> Vec<Scenario> {
    if quick {
        return vec![Scenario::Latency];
    }
    vec![Scenario::Latency, Scenario::Capacity, Scenario::Connections, Scenario::Rules]
}

/// What a person wants to know at the end: what one data path is in the place of another. The report has the rest.
#[must_use]
pub fn summary(results: &Results) -> Vec<String> {
    let telling = [Measure::P50, Measure::P99, Measure::Rate, Measure::Processor];
    let mut all = comparisons(results);
    all.retain(|it| telling.contains(&it.measure) && it.baseline != Arm::None.name());
    let emulated = results.environment.emulated.then(|| {
        "the machine is emulated by software: these are ratios of times that no real machine has".to_owned()
    });
    emulated
        .into_iter()
        .chain(all.iter().map(|it| {
            format!(
                "{}: {} against {}, {}: {}",
                it.point,
                it.arm,
                it.baseline,
                it.measure.title(),
                it.sentence()
            )
        }))
        .collect()
}

/// Measures, into a folder that [`prepare`] has seen. What was measured is there even if this fails, marked as incomplete.
///
/// # Errors
/// The folder can't be written, another lab is running, no arm can be set up, Ctrl-C, or a server died.
pub fn run(wish: &Wish) -> Result<Results> {
    let place = Place::take(&wish.wabe)?;
    let began = Instant::now();
    let mut results = begin(wish);
    let ended = measure(wish, &place, &mut results);
    results.run.seconds = began.elapsed().as_secs_f64();
    results.run.complete = ended.is_ok();
    results.run.ended = ended.as_ref().err().map(|error| format!("{error:#}"));
    output::write(&wish.out, &results)?;
    match ended {
        Ok(()) => Ok(results),
        Err(error) if results.samples.is_empty() => {
            output::forget(&wish.out);
            Err(error)
        }
        Err(error) => Err(error.context(format!("what was measured is in {}", wish.out.display()))),
    }
}

fn begin(wish: &Wish) -> Results {
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
    Results {
        format: FORMAT,
        run: Run {
            command: wish.command.clone(),
            started,
            seconds: 0.0,
            quick: wish.quick,
            complete: false,
            ended: Some("it is still running, or was killed".to_owned()),
            seed: wish.seed,
            rounds: wish.rounds,
            slice: slice(wish.quick, true).as_secs_f64(),
        },
        environment: machine::environment(),
        arms: wish
            .arms
            .iter()
            .map(|it| results::Arm {
                name: it.name().to_owned(),
                title: it.title().to_owned(),
                missing: available::missing(*it),
                rules: Vec::new(),
            })
            .collect(),
        points: Vec::new(),
        samples: Vec::new(),
        cross_checks: Vec::new(),
        breakdowns: Vec::new(),
        canaries: Vec::new(),
    }
}

fn measure(wish: &Wish, place: &Place, results: &mut Results) -> Result<()> {
    let arms: Vec<Arm> = wish.arms.iter().copied().filter(|it| available::missing(*it).is_none()).collect();
    if arms.is_empty() {
        let why: Vec<&str> = results.arms.iter().filter_map(|it| it.missing.as_deref()).collect();
        bail!("none of the arms can run here: {}", why.join("; "));
    }
    let envoy = if arms.iter().any(|it| it.has_sidecars()) {
        eprintln!("Envoy: installing it below {} if it is not there", Place::peers().display());
        let envoy = tools::envoy(Place::peers())?;
        results.environment.tools.push((&envoy).into());
        Some(envoy)
    } else {
        None
    };
    results.environment.tools.extend(tools::find("nginx").ok().as_ref().map(Into::into));
    let specs: Vec<Spec> = wish
        .scenarios
        .iter()
        .flat_map(|it| it.points(&arms, wish.quick))
        .filter(|it| !it.point.arms.is_empty())
        .collect();
    results.points = specs.iter().map(|it| it.point.clone()).collect();
    let mut progress = Progress::new(&specs, wish);
    let mut random = Random::new(wish.seed);
    let mut worlds: Vec<World> = Vec::new();
    for spec in &specs {
        ready(place, spec, envoy.as_ref().map(|it| it.path.as_path()), &mut worlds, results)?;
        let rounds = Rounds { place, spec, slice: slice(wish.quick, spec.point.open) };
        for round in 0..wish.rounds {
            let done = rounds.round(round, &mut worlds, &mut random, &mut results.samples, |arm| {
                progress.show(spec, round, arm);
            });
            progress.round(spec);
            // Whatever comes, what was measured is there.
            output::write(&wish.out, results)?;
            done?;
        }
    }
    progress.end();
    // All arms once more, as the last point may have had others, or other rules.
    if let Some(spec) = Scenario::Latency.points(&arms, wish.quick).first() {
        ready(place, spec, envoy.as_ref().map(|it| it.path.as_path()), &mut worlds, results)?;
    }
    extras::measure(wish, place, &worlds, envoy.as_ref(), results)
}

/// Sets up the arms that a point needs and takes down those that it can't use. An arm that can't be set up is told in the
/// results and left out.
fn ready(
    place: &Place,
    spec: &Spec,
    envoy: Option<&Path>,
    worlds: &mut Vec<World>,
    results: &mut Results,
) -> Result<()> {
    let wanted: BTreeSet<Arm> = spec.point.arms.iter().filter_map(|it| Arm::of(it)).collect();
    // An arm without rules is the same with any flood.
    let fits = |world: &World, flood: Flood| world.flood == flood || !world.arm.has_rules();
    worlds.retain(|it| fits(it, spec.flood()));
    for arm in wanted {
        let facts = results
            .arms
            .iter_mut()
            .find(|it| it.name == arm.name())
            .context("invariant: an arm of the run")?;
        if facts.missing.is_some() || worlds.iter().any(|it| it.arm == arm) {
            continue;
        }
        let Flood { services, endpoints } = spec.flood();
        eprintln!("{}: setting up, {services} services of {endpoints} besides", arm.name());
        match World::up(place, arm, spec.flood(), envoy) {
            Ok(world) => {
                facts.rules.extend(world.facts.clone());
                worlds.push(world);
            }
            Err(error) => {
                place.check()?;
                eprintln!("{}: {error:#}", arm.name());
                facts.missing = Some(format!("it could not be set up: {error:#}"));
            }
        }
    }
    if worlds.is_empty() {
        bail!("no arm could be set up");
    }
    Ok(())
}

/// How long one arm is loaded in one round.
fn slice(quick: bool, open: bool) -> Duration {
    Duration::from_millis(match (open, quick) {
        (true, false) => 3_000,
        (true, true) => 2_000,
        (false, false) => 1_500,
        (false, true) => 1_000,
    })
}

/// With its warm-up and the starting and ending of processes, about.
fn whole_slice(quick: bool, open: bool) -> Duration {
    slice(quick, open) + WARM_UP + Duration::from_millis(100)
}
