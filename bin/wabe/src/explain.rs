//! `wabe explain`: what would happen to a connection, hook by hook. Reads the pinned tables, so it works with the agent
//! dead.

use std::{fs, io, process::ExitCode};

use wabe_abi::{TCP, UDP};
use wabe_agent::{
    Published,
    explain::{Candidate, Explanation, Question, Verdict, explain},
};
use wabe_datapath::Pinned;
use wabe_dns::Names;
use wabe_keeper::{client::Client, layout::Mesh};

use crate::{
    cli::{self, Output},
    failure::{Failure, require_root},
    screen::{Colour, Table, json, line, paint},
    workload::Word,
};

mod request;
mod target;

pub(crate) fn run(mesh: &Mesh, arguments: &cli::Explain) -> Result<ExitCode, Failure> {
    require_root()?;
    let names = Published::read(&mesh.run_dir()).map_err(|error| absent(mesh, &error))?;
    let dns: Option<Names> =
        fs::read(mesh.names_file()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let tables = Pinned::open(&mesh.bpf_dir()).map_err(Failure::environment)?;

    let from = caller(&names, &arguments.from, arguments.replica)?;
    let namespace = names.workloads[&from].name.split('/').next().unwrap_or_default();
    let asked = target::Asked { text: &arguments.to, namespace, ipv6: arguments.ipv6, udp: arguments.udp };
    let (destination, port) = target::resolve(&asked, &names, dns.as_ref())?;
    if let Some(text) = &arguments.http {
        let sent = request::Sent { from, destination, port, dialled: &arguments.to };
        return request::run(mesh, &tables, &sent, text, arguments);
    }
    let protocol = if arguments.udp { UDP } else { TCP };
    let question = Question { from, protocol, destination, port };
    let explanation = explain(&tables, &names, &question).ok_or_else(|| {
        Failure::refused(format!("{} is not in the kernel's tables (any more)", arguments.from))
    })?;
    match arguments.plain.output {
        Output::Json => json(&explanation)?,
        Output::Text | Output::Yaml => print(&explanation)?,
    }
    Ok(match explanation.verdict {
        Verdict::Allowed | Verdict::Depends => ExitCode::SUCCESS,
        Verdict::Refused => ExitCode::FAILURE,
    })
}

fn absent(mesh: &Mesh, error: &io::Error) -> Failure {
    match Client::connect(mesh) {
        Err(why) => why.into(),
        Ok(_) => Failure::environment(format!("the agent's last snapshot can't be read: {error}")),
    }
}

/// The replica of a workload that is asked about: the one with this number, else the first that is ready.
fn caller(names: &Published, text: &str, replica: Option<u32>) -> Result<u32, Failure> {
    let full = Word::new(text).only("workload", names.workloads.values().map(|it| &*it.name))?;
    let fitting =
        names.workloads.iter().filter(|(_, it)| *it.name == *full && replica.is_none_or(|n| n == it.replica));
    let first = fitting.min_by_key(|(_, it)| (!it.ready, it.replica));
    let none = || Failure::refused(format!("{full} has no replica {}", replica.unwrap_or_default()));
    first.map(|(id, _)| *id).ok_or_else(none)
}

fn print(it: &Explanation) -> Result<(), Failure> {
    let (word, colour) = match it.verdict {
        Verdict::Allowed => ("allowed", Colour::Green),
        Verdict::Refused => ("refused", Colour::Red),
        Verdict::Depends => ("depends on the endpoint", Colour::Yellow),
    };
    let mut head = format!(
        "{}-{} -> {}: {}",
        it.from,
        it.replica,
        target::show(it.dialled, it.port),
        paint(word, colour)
    );
    if let Some(rule) = &it.rule {
        head += &format!(" by {rule}");
    }
    line(&head)?;
    if let (Some(reason), Some(errno)) = (it.reason, it.errno) {
        let error = io::Error::from_raw_os_error(errno);
        line(&format!("  reason {reason}; the caller sees: {error}"))?;
    }
    line(&format!("  lane {}, generation {}", it.lane.unwrap_or("-"), it.generation))?;
    line("")?;
    let mut steps = Table::new(["HOOK", "WHAT IT DOES"]);
    it.steps.iter().for_each(|step| steps.row([step.hook.to_owned(), step.text.clone()]));
    line(&steps.text())?;
    if !it.candidates.is_empty() {
        line("")?;
        line(&candidates(&it.candidates))?;
    }
    Ok(())
}

fn candidates(all: &[Candidate]) -> String {
    let mut table = Table::new(["ENDPOINT", "ADDRESS", "LIVE", "WEIGHT", "SCORE", "SHARE", "VERDICT"]);
    for it in all {
        let name =
            it.replica.map_or_else(|| it.workload.clone(), |replica| format!("{}-{replica}", it.workload));
        table.row([
            name,
            target::show(it.address, it.port),
            it.live.to_string(),
            if it.weight == 0 { "-".into() } else { it.weight.to_string() },
            format!("{:.3}", it.score),
            format!("{:.1} %", it.share * 100.0),
            verdict(it),
        ]);
    }
    table.text()
}

fn verdict(it: &Candidate) -> String {
    let mut text = match it.reason {
        None => paint("allowed", Colour::Green),
        Some(reason) => paint(&format!("refused, {reason}"), Colour::Red),
    };
    if let Some(rule) = &it.rule {
        text += &format!(" by {rule}");
    }
    if it.by_request {
        text += "; the proxy judges each request";
    }
    if let Some(rule) = &it.audit {
        text += &format!("; audited by {rule}");
    }
    if let Some(dry) = it.dry_run {
        text += &format!("; dry run would {dry}");
    }
    text
}
