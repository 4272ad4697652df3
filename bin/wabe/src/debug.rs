//! `wabe debug load`: a mesh of any size, as far as the kernel's tables are concerned.

use std::{
    collections::BTreeMap,
    fs,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use wabe_agent::api::{Changed, Reply, Request, Simulate, Status};
use wabe_keeper::layout::Mesh;

use crate::{
    ask,
    cli::{DebugLoad, Output},
    failure::Failure,
    screen::line,
};

/// What was done, and what it costs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    generation: u64,
    /// Until the load, or its removal, was in force; `None` if neither was asked for.
    milliseconds: Option<u64>,
    /// Rows of services and of endpoints.
    service_rows: u64,
    endpoint_rows: u64,
    /// In KiB.
    agent_rss: u64,
    agent_peak_rss: u64,
    /// Of all maps, in KiB.
    map_memory: u64,
    changes: Option<Changes>,
}

/// Changes of one endpoint each; times in microseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Changes {
    count: usize,
    per_second: f64,
    /// From the request to the answer.
    request: Spread,
    /// Of these, in the agent and the kernel.
    agent: Spread,
}

#[derive(Debug, Serialize)]
struct Spread {
    min: u64,
    median: u64,
    p99: u64,
    max: u64,
}

pub(crate) fn run(mesh: &Mesh, arguments: &DebugLoad) -> Result<ExitCode, Failure> {
    let load = match (arguments.clear, arguments.services) {
        (true, _) => Some(Simulate::Clear),
        (false, Some(services)) => {
            Some(Simulate::Load { services, endpoints: arguments.endpoints.unwrap_or(services) })
        }
        (false, None) => None,
    };
    let mut milliseconds = None;
    if let Some(load) = load {
        let began = Instant::now();
        ask::change(mesh, &Request::Simulate(load))?;
        milliseconds = Some(began.elapsed().as_millis() as u64);
    }
    let changes =
        arguments.changes_per_second.map(|rate| changes(mesh, rate, arguments.seconds)).transpose()?;
    let reply = ask::once(mesh, &Request::Status)?;
    let Reply::Status(status) = reply else { return Err(ask::unexpected(&reply)) };
    let report = report(&status, milliseconds, changes);
    match arguments.plain.output {
        Output::Json => line(&serde_json::to_string(&report).map_err(Failure::environment)?)?,
        Output::Text | Output::Yaml => print(&report)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes changes at an even pace, or as fast as they are answered if that is slower.
fn changes(mesh: &Mesh, rate: u32, seconds: u32) -> Result<Changes, Failure> {
    let count = u64::from(rate) * u64::from(seconds);
    let (mut requests, mut agent) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for number in 0..count {
        let due = began + Duration::from_secs_f64(number as f64 / f64::from(rate));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let asked = Instant::now();
        let Changed { microseconds, .. } =
            ask::change(mesh, &Request::Simulate(Simulate::Change { number: number as u32 }))?;
        requests.push(asked.elapsed().as_micros() as u64);
        agent.push(microseconds);
    }
    let per_second = count as f64 / began.elapsed().as_secs_f64();
    Ok(Changes { count: requests.len(), per_second, request: spread(requests), agent: spread(agent) })
}

fn spread(mut values: Vec<u64>) -> Spread {
    values.sort_unstable();
    let at = |share: usize| values.get(values.len().saturating_sub(1) * share / 100).copied().unwrap_or(0);
    Spread { min: at(0), median: at(50), p99: at(99), max: at(100) }
}

fn report(status: &Status, milliseconds: Option<u64>, changes: Option<Changes>) -> Report {
    let rows = |name| status.maps.iter().find(|it| it.name == name).and_then(|it| it.used).unwrap_or(0);
    let (service_rows, endpoint_rows) = (rows("SERVICES"), rows("ENDPOINTS"));
    let process = format!("/proc/{}", status.agent);
    let text = fs::read_to_string(format!("{process}/status")).unwrap_or_default();
    Report {
        generation: status.generation,
        milliseconds,
        service_rows,
        endpoint_rows,
        agent_rss: number_of(&text, "VmRSS:"),
        agent_peak_rss: number_of(&text, "VmHWM:"),
        map_memory: map_memory(&process) / 1024,
        changes,
    }
}

/// Bytes of all maps that a process has open; several descriptors may be of one map.
fn map_memory(process: &str) -> u64 {
    let files = fs::read_dir(format!("{process}/fdinfo")).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    let maps: BTreeMap<u64, u64> = texts
        .filter(|text| text.contains("map_type:"))
        .map(|text| (number_of(&text, "map_id:"), number_of(&text, "memlock:")))
        .collect();
    maps.values().sum()
}

/// The number behind a word at the beginning of a line; 0 if there is none.
fn number_of(text: &str, word: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(word));
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn print(it: &Report) -> Result<(), Failure> {
    if let Some(milliseconds) = it.milliseconds {
        line(&format!("in force after {milliseconds} ms, generation {}", it.generation))?;
    }
    line(&format!("{} rows of services, {} of endpoints", it.service_rows, it.endpoint_rows))?;
    line(&format!(
        "agent: {} MiB, at most {} MiB; maps in the kernel: {} MiB",
        it.agent_rss / 1024,
        it.agent_peak_rss / 1024,
        it.map_memory / 1024
    ))?;
    let Some(changes) = &it.changes else { return Ok(()) };
    line(&format!("{} changes, {:.0}/s", changes.count, changes.per_second))?;
    for (what, Spread { min, median, p99, max }) in
        [("from request to answer", &changes.request), ("in agent and kernel", &changes.agent)]
    {
        line(&format!("  {what}: min {min}, median {median}, p99 {p99}, max {max} microseconds"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_the_values() {
        let Spread { min, median, p99, max } = spread((1..=101).rev().collect());
        assert_eq!((min, median, p99, max), (1, 51, 100, 101));
        assert_eq!(spread(Vec::new()).max, 0);
    }

    #[test]
    fn numbers_are_found_by_their_words() {
        let text = "pos:\t0\nmap_type:\t1\nmemlock:\t4096\nmap_id:\t7\n";
        assert_eq!((number_of(text, "memlock:"), number_of(text, "map_id:")), (4096, 7));
        assert_eq!(number_of(text, "other:"), 0);
    }
}
