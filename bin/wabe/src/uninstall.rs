//! `wabe uninstall`: ends every mesh that has a folder in `/run/wabe`, removes all that there is of it, and shows what
//! is left.

use std::process::ExitCode;

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
    left: Vec<String>,
}

pub(crate) fn run(arguments: &Uninstall) -> Result<ExitCode, Failure> {
    require_root()?;
    let meshes = Mesh::all().map_err(Failure::environment)?;
    if !arguments.yes && !meshes.is_empty() {
        let names: Vec<&str> = meshes.iter().map(Mesh::name).collect();
        return Err(Failure::usage(format!(
            "this ends {} with all that runs in them: `wabe uninstall --yes` does it",
            names.join(", ")
        )));
    }
    let mut removed = Vec::new();
    for mesh in &meshes {
        removed.extend(down::take_down(mesh)?);
    }
    // Looked for again, of the same meshes: one whose folder is gone is not found, here or above.
    let mut left: Vec<Leftover> = Vec::new();
    for mesh in &meshes {
        left.extend(inventory(mesh).map_err(Failure::environment)?);
    }
    let words = |all: &[Leftover]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let report = Report {
        meshes: meshes.iter().map(|mesh| mesh.name().to_owned()).collect(),
        removed: words(&removed),
        left: words(&left),
    };
    match arguments.plain.output {
        Output::Json => json(&report)?,
        Output::Text | Output::Yaml => {
            report.removed.iter().try_for_each(|it| line(&format!("removed {it}")))?;
            line(&format!(
                "{} meshes, {} things removed; {} left. The program itself is a file that you may delete",
                report.meshes.len(),
                report.removed.len(),
                report.left.len()
            ))?;
        }
    }
    if left.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::environment(format!("these could not be removed: {}", report.left.join(", "))))
}
