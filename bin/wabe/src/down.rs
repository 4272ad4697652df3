//! `wabe down`: stops the mesh, also one whose processes are dead or half-born, and leaves nothing.

use std::{collections::BTreeMap, fs, process::ExitCode, time::Duration};

use serde::Serialize;
use wabe_keeper::{
    client::Client,
    layout::{Mesh, RUN},
    sweep::{Leftover, inventory, sweep},
};

use crate::{
    cli::{Output, Plain},
    failure::{Failure, require_root},
    screen::{json, line},
};

/// How long the keeper may take to stop everything; then it is done without it.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Report<'a> {
    mesh: &'a str,
    removed: Vec<String>,
}

pub(crate) fn run(mesh: &Mesh, arguments: &Plain) -> Result<ExitCode, Failure> {
    require_root()?;
    let removed = take_down(mesh)?;
    match arguments.output {
        Output::Json => {
            let removed = removed.iter().map(ToString::to_string).collect();
            json(&Report { mesh: mesh.name(), removed })?;
        }
        Output::Text | Output::Yaml if removed.is_empty() => {
            line(&format!("mesh `{mesh}` does not run; nothing of it is left"))?;
        }
        Output::Text | Output::Yaml => {
            line(&format!("mesh `{mesh}` is down; removed {}; nothing is left", summary(&removed)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops and removes everything; returns what there was.
pub(crate) fn take_down(mesh: &Mesh) -> Result<Vec<Leftover>, Failure> {
    let before = inventory(mesh).map_err(Failure::environment)?;
    if before.is_empty() {
        return Ok(before);
    }
    if let Ok(keeper) = Client::connect(mesh) {
        let stopped = keeper.set_patience(Some(PATIENCE)).and_then(|()| keeper.shutdown());
        if let Err(error) = stopped {
            eprintln!("the keeper could not stop everything ({error}); doing it without");
        }
    }
    let found = sweep(mesh).map_err(Failure::environment)?;
    // The folder of all meshes goes with the last one.
    let _ = fs::remove_dir(RUN);
    let more = found.into_iter().filter(|it| !before.contains(it)).collect::<Vec<_>>();
    Ok(before.into_iter().chain(more).collect())
}

/// How many of what.
pub(crate) fn summary(removed: &[Leftover]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for it in removed {
        *counts.entry(it.kind()).or_default() += 1;
    }
    counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts() {
        let removed = [
            Leftover::Cgroup("/a".into()),
            Leftover::Cgroup("/b".into()),
            Leftover::Process { pid: 1, name: "x".into() },
        ];
        assert_eq!(summary(&removed), "2 cgroups, 1 processes");
    }
}
