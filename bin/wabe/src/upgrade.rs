//! `wabe upgrade`: makes the processes of a running mesh this program, without a gap: workloads, connections and names
//! go on meanwhile.

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
    cli::{Output, Plain},
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
    milliseconds: u64,
}

pub(crate) fn run(mesh: &Mesh, arguments: &Plain) -> Result<ExitCode, Failure> {
    require_root()?;
    let began = Instant::now();
    let before = Client::connect(mesh)?.hello()?;
    let after = Client::connect(mesh)?.replace(mesh, std::env::current_exe()?)?;
    let agent = wait_for_agent(mesh, agent_of(&before))?;
    let report = Report {
        mesh: mesh.name().into(),
        from: before.version,
        to: after.version,
        agent,
        milliseconds: began.elapsed().as_millis() as u64,
    };
    match arguments.output {
        Output::Json => json(&report)?,
        Output::Text | Output::Yaml => line(&format!(
            "mesh `{}` went from version {} to {} in {} ms; agent, dns and proxy are new, workloads went on",
            report.mesh, report.from, report.to, report.milliseconds
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
