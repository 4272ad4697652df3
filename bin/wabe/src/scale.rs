//! `wabe scale` and `wabe restart`: change a workload, and wait until it is ready again.

use std::process::ExitCode;

use wabe_agent::api::{NotReady, Request};
use wabe_keeper::layout::Mesh;
use wabe_model::ObjectName;

use crate::{
    apply::print,
    ask,
    cli::{Output, Restart, Scale},
    failure::Failure,
    logs, workload,
};

pub(crate) fn run(mesh: &Mesh, arguments: &Scale) -> Result<ExitCode, Failure> {
    let workload = workload::object(mesh, &arguments.workload)?;
    let request = Request::Scale { workload: workload.clone(), replicas: arguments.replicas };
    change_and_wait(mesh, workload, &request, arguments.waiting.timeout, arguments.plain.output)
}

pub(crate) fn restart(mesh: &Mesh, arguments: &Restart) -> Result<ExitCode, Failure> {
    let workload = workload::object(mesh, &arguments.workload)?;
    let request = Request::Restart { workload: workload.clone() };
    change_and_wait(mesh, workload, &request, arguments.waiting.timeout, arguments.plain.output)
}

fn change_and_wait(
    mesh: &Mesh,
    workload: ObjectName,
    request: &Request,
    timeout: u64,
    output: Output,
) -> Result<ExitCode, Failure> {
    let changed = ask::change(mesh, request)?;
    let code = wait(mesh, vec![workload], timeout)?;
    print(&changed, output)?;
    Ok(code)
}

/// Waits until these workloads are ready, and says so on stderr.
pub(crate) fn wait(mesh: &Mesh, workloads: Vec<ObjectName>, timeout: u64) -> Result<ExitCode, Failure> {
    match ask::wait_ready(mesh, workloads, timeout, |name, ready, wanted| {
        eprintln!("{}", progress(name, ready, wanted))
    })? {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(lacking) => Err(Failure::refused(describe(mesh, &lacking))),
    }
}

/// How far a workload is.
pub(crate) fn progress(name: &ObjectName, ready: u32, wanted: u32) -> String {
    if ready >= wanted {
        format!("workload {name}: ready")
    } else {
        format!("workload {name}: {ready} of {wanted} ready")
    }
}

/// What is not ready and why, with the last lines that it printed.
pub(crate) fn describe(mesh: &Mesh, lacking: &[NotReady]) -> String {
    let mut text = String::from("not everything became ready");
    for it in lacking {
        text += &format!("\nworkload {}: {} of {} ready: {}", it.workload, it.ready, it.wanted, it.why);
        let lines = it
            .instance
            .as_deref()
            .map(|log| logs::last_lines(&mesh.logs_dir().join(format!("{log}.log")), 5));
        for line in lines.unwrap_or_default() {
            text += &format!("\n    | {line}");
        }
    }
    text
}
