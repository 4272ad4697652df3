//! `wabe status`: workloads, services, lanes, maps and processes.

use std::process::ExitCode;

use serde::Serialize;
use wabe_agent::{
    api::{InstanceStatus, Reply, Request, ServiceStatus, Status, WorkloadStatus},
    figures,
};
use wabe_keeper::{
    client::Client,
    layout::Mesh,
    protocol::{ChildState, KeeperState},
};

use crate::{
    ask,
    cli::{Output, Plain},
    failure::{Failure, require_root},
    screen::{Colour, Table, json, line, paint},
};

mod proxy;

use proxy::ProxyView;

#[derive(Serialize)]
struct Report {
    /// The agent's part has it, too: only in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    mesh: Option<String>,
    processes: Vec<Process>,
    proxy: ProxyView,
    #[serde(flatten)]
    status: Option<Status>,
}

#[derive(Serialize)]
struct Process {
    role: String,
    pid: Option<u32>,
    restarts: u32,
    problem: Option<String>,
    /// Earlier processes of this role that finish what they began.
    draining: Vec<u32>,
}

pub(crate) fn run(mesh: &Mesh, arguments: &Plain) -> Result<ExitCode, Failure> {
    require_root()?;
    let keeper = Client::connect(mesh)?.hello()?;
    let processes = processes(keeper);
    // Without an agent the processes still tell what is wrong.
    let (mut status, failure) = match ask::once(mesh, &Request::Status) {
        Ok(Reply::Status(status)) => (Some(*status), None),
        Ok(other) => (None, Some(ask::unexpected(&other))),
        Err(failure) => (None, Some(failure)),
    };
    let live = figures::live(mesh);
    status.iter_mut().for_each(|it| proxy::mark(&mut it.services, &live));
    let proxy = ProxyView::of(figures::snapshot_generation(mesh), &live);
    match arguments.output {
        Output::Json => {
            json(&Report { mesh: status.is_none().then(|| mesh.name().into()), processes, proxy, status })?
        }
        Output::Text | Output::Yaml => print(mesh, &processes, &proxy, status.as_ref())?,
    }
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => Err(failure),
    }
}

fn processes(keeper: KeeperState) -> Vec<Process> {
    let own = Process {
        role: "keeper".into(),
        pid: Some(keeper.pid),
        restarts: 0,
        problem: None,
        draining: Vec::new(),
    };
    let child = |it: ChildState| Process {
        role: it.name,
        pid: it.pid,
        restarts: it.restarts,
        draining: it.draining,
        problem: it.problem.or_else(|| it.last_exit.map(|status| format!("ended with {status}"))),
    };
    std::iter::once(own).chain(keeper.children.into_iter().map(child)).collect()
}

fn print(
    mesh: &Mesh,
    processes: &[Process],
    proxy: &ProxyView,
    status: Option<&Status>,
) -> Result<(), Failure> {
    let generation = status.map_or(String::new(), |status| format!(", generation {}", status.generation));
    line(&format!("mesh {}{generation}", paint(mesh.name(), Colour::Bold)))?;
    if let Some(status) = status {
        line(&format!("\n{}", workloads(&status.workloads)))?;
        line(&format!("\n{}", services(&status.services)))?;
        line(&format!("\n{}", connections(status)))?;
        line(&format!("\n{}", maps(status)))?;
    }
    line(&format!("\n{}", table_of(processes)))?;
    proxy.text().map_or(Ok(()), |it| line(&it))?;
    for warning in status.iter().flat_map(|status| &status.warnings) {
        line(&format!("{} {warning}", paint("warning:", Colour::Yellow)))?;
    }
    Ok(())
}

fn workloads(all: &[WorkloadStatus]) -> String {
    let mut table = Table::new(["WORKLOAD", "READY", "STATE", "LIVE", "TOTAL", "RESTARTS", "PID", "ADDRESS"]);
    for workload in all {
        let ready = format!("{}/{}", workload.ready, workload.wanted);
        if workload.instances.is_empty() {
            let none = || "-".to_owned();
            table.row([workload.name.clone(), ready.clone(), none(), none(), none(), none(), none(), none()]);
        }
        for instance in &workload.instances {
            table.row([
                format!("{}-{}", workload.name, instance.replica),
                ready.clone(),
                state(instance),
                instance.live.to_string(),
                instance.total.to_string(),
                instance.restarts.to_string(),
                instance.pid.map_or("-".into(), |pid| pid.to_string()),
                instance.addresses.first().map_or("-".into(), ToString::to_string),
            ]);
        }
    }
    table.text()
}

fn state(instance: &InstanceStatus) -> String {
    if instance.ready {
        return paint("ready", Colour::Green);
    }
    let phase =
        paint(if instance.phase == "started" { "not ready" } else { &instance.phase }, Colour::Yellow);
    match &instance.trouble {
        Some(trouble) => format!("{phase}: {trouble}"),
        None => phase,
    }
}

fn services(all: &[ServiceStatus]) -> String {
    let mut table = Table::new(["SERVICE", "ADDRESS", "PORTS", "BALANCE", "READY", "LIVE BY ENDPOINT"]);
    for service in all {
        let live: Vec<String> = service.endpoints.iter().map(proxy::endpoint).collect();
        table.row([
            service.name.clone(),
            service.addresses.first().map_or("headless".into(), ToString::to_string),
            service.ports.join(","),
            service.balance.clone(),
            proxy::ready(&service.endpoints),
            live.join(" "),
        ]);
    }
    table.text()
}

fn connections(status: &Status) -> String {
    let mut table = Table::new(["LANE", "DECISIONS"]);
    for lane in &status.lanes {
        table.row([lane.name.clone(), lane.count.to_string()]);
    }
    for refusal in &status.refusals {
        table.row([format!("  {}", refusal.name), refusal.count.to_string()]);
    }
    let lost = match status.events_lost {
        0 => String::new(),
        lost => format!("; {lost} reports lost"),
    };
    format!("{} connections open{lost}\n{}", status.connections, table.text())
}

fn maps(status: &Status) -> String {
    let mut table = Table::new(["MAP", "USED", "LIMIT"]);
    for map in &status.maps {
        if let Some(used) = map.used {
            table.row([map.name.clone(), used.to_string(), map.limit.to_string()]);
        }
    }
    table.text()
}

fn table_of(processes: &[Process]) -> String {
    let mut table = Table::new(["PROCESS", "PID", "RESTARTS", "LAST END"]);
    for process in processes {
        table.row([
            process.role.clone(),
            match (process.pid, process.draining.len()) {
                (None, _) => paint("dead", Colour::Red),
                (Some(pid), 0) => pid.to_string(),
                (Some(pid), earlier) => format!("{pid} ({earlier} drain)"),
            },
            process.restarts.to_string(),
            process.problem.clone().unwrap_or_else(|| "-".into()),
        ]);
    }
    table.text()
}
