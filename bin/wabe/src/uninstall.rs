//! `wabe uninstall`: ends every mesh of which anything is on this machine, removes all that there is of it, and shows what
//! is left.

use std::{collections::BTreeMap, process::ExitCode};

use serde::Serialize;
use wabe_keeper::{
    layout::Mesh,
    sweep::{Leftover, inventory},
};

use crate::{
    cli::{Output, Uninstall},
    down,
    failure::{Failure, require_root},
    screen::{json, line},
};

#[derive(Serialize)]
struct Report {
    meshes: Vec<String>,
    removed: Vec<String>,
    /// Of each kind, before and after.
    counts: BTreeMap<&'static str, [usize; 2]>,
    left: Vec<String>,
    /// Why something is left.
    problems: Vec<String>,
}

pub(crate) fn run(arguments: &Uninstall) -> Result<ExitCode, Failure> {
    require_root()?;
    let meshes = Mesh::found().map_err(Failure::environment)?;
    if !arguments.yes && !meshes.is_empty() {
        let names: Vec<&str> = meshes.iter().map(Mesh::name).collect();
        return Err(Failure::usage(format!(
            "this ends {} with all that runs in them: `wabe uninstall --yes` does it",
            names.join(", ")
        )));
    }
    let (mut removed, mut problems) = (Vec::new(), Vec::new());
    for mesh in &meshes {
        match down::take_down(mesh) {
            Ok(found) => removed.extend(found),
            Err(failure) => problems.push(format!("mesh `{mesh}`: {}", failure.message())),
        }
    }
    // Looked for again, meshes too: one may have come meanwhile.
    let mut left: Vec<Leftover> = Vec::new();
    for mesh in Mesh::found().map_err(Failure::environment)? {
        match inventory(&mesh) {
            Ok(found) => left.extend(found),
            Err(error) => problems.push(format!("mesh `{mesh}`: {error}")),
        }
    }
    let report = Report {
        meshes: meshes.iter().map(|mesh| mesh.name().to_owned()).collect(),
        counts: counts(&removed, &left),
        removed: words(&removed),
        left: words(&left),
        problems,
    };
    match arguments.plain.output {
        Output::Json => json(&report)?,
        Output::Text | Output::Yaml => print(&report)?,
    }
    if report.left.is_empty() && report.problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let why = [&report.problems[..], &report.left[..]].concat().join(", ");
    Err(Failure::environment(format!("not everything could be removed: {why}")))
}

fn print(report: &Report) -> Result<(), Failure> {
    report.removed.iter().try_for_each(|it| line(&format!("removed {it}")))?;
    for (kind, [before, after]) in &report.counts {
        line(&format!("{kind}: {before} before, {after} after"))?;
    }
    line(&format!(
        "{} meshes, {} things removed; {} left. The program itself is a file that you may delete",
        report.meshes.len(),
        report.removed.len(),
        report.left.len()
    ))
}

/// How many of each kind there were and are. What could not be removed was there before, too.
fn counts(removed: &[Leftover], left: &[Leftover]) -> BTreeMap<&'static str, [usize; 2]> {
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for it in removed {
        counts.entry(it.kind()).or_default()[0] += 1;
    }
    for it in left {
        let count = counts.entry(it.kind()).or_default();
        count[0] += usize::from(!removed.contains(it));
        count[1] += 1;
    }
    counts
}

fn words(all: &[Leftover]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_before_and_after() {
        let cgroup = |path: &str| Leftover::Cgroup(path.into());
        let counted = counts(&[cgroup("/a"), cgroup("/b")], &[cgroup("/b"), Leftover::Folder("/c".into())]);
        assert_eq!(counted, BTreeMap::from([("cgroups", [2, 1]), ("folders", [1, 1])]));
    }
}
