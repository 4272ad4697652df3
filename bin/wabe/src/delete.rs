//! `wabe delete`: removes what manifests describe.

use std::process::ExitCode;

use wabe_agent::api::Request;
use wabe_keeper::layout::Mesh;

use crate::{apply::print, ask, cli::Files, failure::Failure, manifests};

pub(crate) fn run(mesh: &Mesh, arguments: &Files) -> Result<ExitCode, Failure> {
    let parsed = manifests::read(&arguments.files).map_err(Failure::refused)?;
    let keys: Vec<_> = parsed.objects.iter().map(|it| it.object.key()).collect();
    let changed = ask::change(mesh, &Request::Delete { keys: keys.clone() })?;
    for key in keys.iter().filter(|key| !changed.deleted.contains(key)) {
        eprintln!("warning: {key} was not there");
    }
    print(&changed, arguments.plain.output)?;
    Ok(ExitCode::SUCCESS)
}
