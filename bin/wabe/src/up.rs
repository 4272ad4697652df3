//! `wabe up`: starts the mesh and what the manifests describe, and returns when all of it is ready.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use serde::Serialize;
use wabe_agent::api::Request;
use wabe_keeper::{client::Client, layout::Mesh, sweep};
use wabe_model::{Object, Objects};

use crate::{
    ask,
    cli::{Output, Up},
    down,
    failure::{Failure, require_root},
    manifests,
    scale::{describe, progress},
    screen::{json, line},
};

mod interrupt;
pub(crate) mod lock;
mod start;

use interrupt::Interrupt;

#[derive(Serialize)]
struct Report<'a> {
    mesh: &'a str,
    generation: u64,
    workloads: usize,
    services: usize,
    milliseconds: u64,
}

pub(crate) fn run(mesh: &Mesh, arguments: &Up) -> Result<ExitCode, Failure> {
    require_root()?;
    let began = Instant::now();
    let objects = read(arguments)?;
    require_features()?;
    let lock = lock::meshes()?;
    refuse_second(mesh)?;
    remove_leftovers(mesh)?;
    let interrupt = Interrupt::watch(mesh)?;
    let report = start::mesh(mesh, &objects.mesh_config())
        .map(|()| drop(lock))
        .and_then(|()| fill(mesh, objects, arguments));
    interrupt.stand_down();
    match report {
        Ok(report) => print(&report, began.elapsed(), arguments.plain.output),
        Err(failure) if arguments.keep => Err(failure),
        Err(failure) => {
            // The logs that the failure quotes go with the mesh.
            match down::take_down(mesh) {
                Ok(_) => Err(failure),
                Err(stays) => {
                    Err(failure.and(format!("what was started can't be removed: {}", stays.message())))
                }
            }
        }
    }
}

/// All manifests, before anything is started.
fn read(arguments: &Up) -> Result<Objects, Failure> {
    if arguments.files.is_empty() {
        return Ok(Objects::default());
    }
    let (_, merged, warnings) =
        manifests::read_and_check(&arguments.files, &Objects::default()).map_err(Failure::refused)?;
    warnings.iter().for_each(|it| eprintln!("{it}"));
    Ok(merged)
}

fn require_features() -> Result<(), Failure> {
    let missing: Vec<String> = wabe_datapath::probe()
        .into_iter()
        .filter(|feature| !feature.present)
        .map(|feature| format!("this kernel lacks {}: {}", feature.name, feature.remedy))
        .collect();
    if !missing.is_empty() {
        return Err(Failure::environment(missing.join("\n")));
    }
    wabe_datapath::lacking().into_iter().for_each(|it| eprintln!("warning: {}", it.lack()));
    Ok(())
}

fn refuse_second(mesh: &Mesh) -> Result<(), Failure> {
    if Client::connect(mesh).is_err() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "mesh `{mesh}` runs already: change it with `wabe apply -f`, stop it with `wabe down`, or choose another name \
         with --name"
    )))
}

/// What a mesh of this name left behind when it was killed.
fn remove_leftovers(mesh: &Mesh) -> Result<(), Failure> {
    let removed = sweep::sweep(mesh).map_err(Failure::environment)?;
    if !removed.is_empty() {
        eprintln!("removed what an earlier mesh `{mesh}` left behind ({} things)", removed.len());
    }
    Ok(())
}

/// Applies everything and waits until it is ready.
fn fill<'a>(mesh: &'a Mesh, objects: Objects, arguments: &Up) -> Result<Report<'a>, Failure> {
    let (workloads, services) = (objects.workloads().count(), objects.services().count());
    let all: Vec<Object> = objects.iter().cloned().collect();
    let changed = ask::change(mesh, &Request::Apply { objects: all })?;
    changed.warnings.iter().for_each(|it| eprintln!("warning: {it}"));
    let to_stderr = arguments.plain.output == Output::Json;
    let tell = |text: String| if to_stderr { eprintln!("{text}") } else { drop(line(&text)) };
    let ready = ask::wait_ready(mesh, Vec::new(), arguments.waiting.timeout, |name, ready, wanted| {
        tell(progress(name, ready, wanted));
    })?;
    ready.map_err(|lacking| Failure::refused(describe(mesh, &lacking)))?;
    Ok(Report { mesh: mesh.name(), generation: changed.generation, workloads, services, milliseconds: 0 })
}

fn print(report: &Report<'_>, took: Duration, output: Output) -> Result<ExitCode, Failure> {
    let milliseconds = took.as_millis() as u64;
    match output {
        Output::Json => json(&Report { milliseconds, ..*report })?,
        Output::Text | Output::Yaml => line(&format!(
            "mesh `{}` is up: {} workloads ready, {} services, after {:.1} s",
            report.mesh,
            report.workloads,
            report.services,
            took.as_secs_f64()
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}
