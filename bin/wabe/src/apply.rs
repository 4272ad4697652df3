//! `wabe apply`: adds or replaces what manifests describe; in force in the kernel when it returns.

use std::process::ExitCode;

use wabe_agent::api::{Changed, Request};
use wabe_keeper::layout::Mesh;
use wabe_model::{Object, ObjectKey, ObjectName};

use crate::{
    ask,
    cli::{Apply, Output},
    failure::Failure,
    manifests,
    scale::wait,
    screen::{duration, json, line},
};

pub(crate) fn run(mesh: &Mesh, arguments: &Apply) -> Result<ExitCode, Failure> {
    let existing = ask::objects(mesh, None)?;
    let (parsed, _, warnings) =
        manifests::read_and_check(&arguments.files.files, &existing).map_err(Failure::refused)?;
    warnings.iter().for_each(|it| eprintln!("{it}"));
    let objects: Vec<Object> = parsed.objects.into_iter().map(|it| it.object).collect();
    let workload =
        |object: &Object| if let Object::Workload(it) = object { Some(it.name.clone()) } else { None };
    let workloads: Vec<ObjectName> = objects.iter().filter_map(workload).collect();
    let changed = ask::change(mesh, &Request::Apply { objects })?;
    print(&changed, arguments.files.plain.output)?;
    if arguments.wait && !workloads.is_empty() {
        return wait(mesh, workloads, arguments.waiting.timeout);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what a change did.
pub(crate) fn print(changed: &Changed, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => return json(changed),
        Output::Text | Output::Yaml => {}
    }
    let lists = [
        ("created", &changed.created),
        ("changed", &changed.changed),
        ("unchanged", &changed.unchanged),
        ("deleted", &changed.deleted),
    ];
    for (what, keys) in lists {
        keys.iter().try_for_each(|key: &ObjectKey| line(&format!("{what} {key}")))?;
    }
    changed.warnings.iter().for_each(|it| eprintln!("warning: {it}"));
    line(&format!(
        "in force from generation {}, after {}",
        changed.generation,
        duration(changed.microseconds)
    ))
}
