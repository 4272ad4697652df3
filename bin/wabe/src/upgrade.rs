//! `wabe upgrade`: makes the processes of a running mesh, or its proxy alone, this program, without a gap: workloads,
//! connections, names and requests go on meanwhile.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use wabe_agent::api::{Reply, Request};
use wabe_keeper::{client::Client, layout::Mesh, protocol::KeeperState};

use crate::{
    ask,
    cli::{Output, Upgrade, Upgraded},
    failure::{Failure, require_root},
    screen::{json, line},
};

/// How long the new agent may take to load its programs and to answer.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

#[derive(Serialize)]
struct Report {
    mesh: String,
    from: String,
    to: String,
    agent: u32,
    proxy: u32,
    milliseconds: u64,
}

#[derive(Serialize)]
struct ProxyReport {
    mesh: String,
    proxy: u32,
    /// Earlier ones that finish what they began.
    draining: Vec<u32>,
    milliseconds: u64,
}

pub(crate) fn run(mesh: &Mesh, arguments: &Upgrade) -> Result<ExitCode, Failure> {
    require_root()?;
    match arguments.only {
        None => upgrade_all(mesh, arguments.plain.output),
        Some(Upgraded::Proxy) => upgrade_proxy(mesh, arguments.plain.output),
    }
}

fn upgrade_all(mesh: &Mesh, output: Output) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let before = Client::connect(mesh)?.hello()?;
    let after = Client::connect(mesh)?.replace(mesh, std::env::current_exe()?)?;
    let agent = wait_for_agent(mesh, agent_of(&before))?;
    // Last: a proxy of this version reads what an agent of this version writes. It is the keeper's own program.
    let proxy = Client::connect(mesh)?.relieve_proxy(None).map_err(|error| {
        Failure::environment(format!(
            "keeper, agent and dns are upgraded, but not the proxy: {error}; `wabe upgrade proxy` tries again"
        ))
    })?;
    let report = Report {
        mesh: mesh.name().into(),
        from: before.version,
        to: after.version,
        agent,
        proxy,
        milliseconds: began.elapsed().as_millis() as u64,
    };
    match output {
        Output::Json => json(&report)?,
        Output::Text | Output::Yaml => line(&format!(
            "mesh `{}` went from version {} to {} in {} ms; agent, dns and proxy are new, workloads went on",
            report.mesh, report.from, report.to, report.milliseconds
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn upgrade_proxy(mesh: &Mesh, output: Output) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let proxy = Client::connect(mesh)?.relieve_proxy(Some(std::env::current_exe()?))?;
    let keeper = Client::connect(mesh)?.hello()?;
    let draining = keeper.children.into_iter().find(|child| child.name == "proxy").map(|it| it.draining);
    let report = ProxyReport {
        mesh: mesh.name().into(),
        proxy,
        draining: draining.unwrap_or_default(),
        milliseconds: began.elapsed().as_millis() as u64,
    };
    match output {
        Output::Json => json(&report)?,
        Output::Text | Output::Yaml => line(&format!(
            "the proxy of mesh `{}` is process {} after {} ms; {} still finish what was begun",
            report.mesh,
            report.proxy,
            report.milliseconds,
            match report.draining.len() {
                1 => "1 earlier one may".into(),
                count => format!("{count} earlier ones may"),
            }
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until an agent answers that is not this one.
fn wait_for_agent(mesh: &Mesh, old: Option<u32>) -> Result<u32, Failure> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Reply::Status(status)) = ask::once(mesh, &Request::Status)
            && Some(status.agent) != old
        {
            return Ok(status.agent);
        }
        thread::sleep(LOOK);
    }
    Err(Failure::environment(format!(
        "the keeper is replaced, but its agent does not answer after {} s; what was in force stays; `wabe status` and \
         {} say why",
        PATIENCE.as_secs(),
        mesh.logs_dir().join("agent.log").display()
    )))
}

fn agent_of(keeper: &KeeperState) -> Option<u32> {
    keeper.children.iter().find(|child| child.name == "agent")?.pid
}
