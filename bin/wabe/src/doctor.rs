//! `wabe doctor`: compares what should be with what is, on the whole machine, also with processes of the mesh dead.

use std::{
    fs,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use wabe_agent::api::Request;
use wabe_keeper::{
    layout::{Mesh, RUN},
    sweep::sweep,
};

use crate::{
    ask,
    cli::{Doctor, Output},
    failure::{Failure, require_root},
    screen::{Colour, json, line, paint},
    up::lock,
};

mod facts;
mod finding;
mod judge;

use finding::{Finding, Lane, Repair, Severity};

/// How long a new agent may take to put its programs in force.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Serialize)]
struct Report {
    healthy: bool,
    meshes: Vec<String>,
    lanes: Vec<Lane>,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<Vec<String>>,
}

pub(crate) fn run(arguments: &Doctor) -> Result<ExitCode, Failure> {
    require_root()?;
    let report = if arguments.fix {
        // What is about to be born is not dead: no `up` may be under way, and what was found before is found again.
        let lock = lock::meshes()?;
        let repaired = repair(&examine()?.findings);
        // As `down` does: it is there for the lock, or with the meshes' folders in it.
        let _ = fs::remove_dir(RUN);
        drop(lock);
        Report { repaired: Some(repaired), ..examine()? }
    } else {
        examine()?
    };
    match arguments.plain.output {
        Output::Json => json(&report)?,
        Output::Text | Output::Yaml => print(&report)?,
    }
    Ok(if report.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine() -> Result<Report, Failure> {
    let machine = facts::machine();
    let mut findings = judge::machine(&machine);
    let meshes = Mesh::found().map_err(Failure::environment)?;
    for mesh in &meshes {
        findings.extend(judge::mesh(&facts::mesh(mesh)));
    }
    findings.sort_by_key(|it| std::cmp::Reverse(it.severity));
    Ok(Report {
        healthy: findings.iter().all(|it| it.severity == Severity::Info),
        meshes: meshes.iter().map(|mesh| mesh.name().to_owned()).collect(),
        lanes: judge::lanes(&machine),
        findings,
        repaired: None,
    })
}

/// Does each repair once; what fails is a finding again.
fn repair(findings: &[Finding]) -> Vec<String> {
    let mut repairs: Vec<&Repair> = Vec::new();
    for repair in findings.iter().filter_map(|it| it.repair.as_ref()) {
        if !repairs.contains(&repair) {
            repairs.push(repair);
        }
    }
    let mut done = Vec::new();
    for repair in repairs {
        let outcome = match repair {
            Repair::Sweep(name) => sweep_up(name),
            Repair::RestartAgent { mesh, pid } => restart_agent(mesh, *pid),
        };
        done.push(outcome.unwrap_or_else(|why| format!("not repaired: {why}")));
    }
    done
}

fn sweep_up(name: &str) -> Result<String, String> {
    let mesh = Mesh::new(name).map_err(|error| error.to_string())?;
    let removed = sweep(&mesh).map_err(|error| error.to_string())?;
    Ok(format!("removed what was left of mesh `{name}`: {}", crate::down::summary(&removed)))
}

/// The keeper starts another, which attaches what is missing before it answers.
fn restart_agent(name: &str, pid: u32) -> Result<String, String> {
    let mesh = Mesh::new(name).map_err(|error| error.to_string())?;
    let agent =
        i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or("it has no process")?;
    rustix::process::kill_process(agent, rustix::process::Signal::KILL).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
        if let Ok(wabe_agent::api::Reply::Status(status)) = ask::once(&mesh, &Request::Status)
            && status.agent != pid
        {
            return Ok(format!("started the agent of mesh `{name}` anew, which attached what was missing"));
        }
    }
    Err(format!("no new agent of mesh `{name}` answers within {} s", PATIENCE.as_secs()))
}

fn print(report: &Report) -> Result<(), Failure> {
    for text in report.repaired.iter().flatten() {
        line(text)?;
    }
    for finding in &report.findings {
        let (name, colour) = match finding.severity {
            Severity::Info => ("info", Colour::Dim),
            Severity::Warning => ("warning", Colour::Yellow),
            Severity::Error => ("error", Colour::Red),
        };
        let of = finding.mesh.as_ref().map_or_else(String::new, |mesh| format!(" mesh `{mesh}`:"));
        line(&format!("{} {}:{of} {}", paint(name, colour), finding.code, finding.what))?;
        if finding.severity != Severity::Info {
            line(&format!("    {}", finding.remedy))?;
        }
    }
    let lane = |it: &Lane| match it.lacks.as_slice() {
        [] => it.name.to_owned(),
        lacks => format!("{} (lacks {})", it.name, lacks.join(", ")),
    };
    let lanes: Vec<String> = report.lanes.iter().map(lane).collect();
    line(&format!("lanes of this kernel: {}", lanes.join(", ")))?;
    let meshes = match report.meshes.len() {
        0 => "no mesh on this machine".to_owned(),
        _ => format!("examined {}", report.meshes.join(", ")),
    };
    let verdict = if report.healthy {
        paint("healthy", Colour::Green)
    } else if report.repaired.is_none() && report.findings.iter().any(|it| it.repair.is_some()) {
        "not healthy; `wabe doctor --fix` repairs some of it".to_owned()
    } else {
        "not healthy".to_owned()
    };
    line(&format!("{meshes}: {verdict}"))
}
