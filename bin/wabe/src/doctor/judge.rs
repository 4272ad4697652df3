//! From facts to findings. Pure.

use wabe_datapath::{Attachment, AttachmentState, LANES, Otherwise};
use wabe_keeper::sweep::Leftover;

use super::{
    facts::{Living, MachineFacts, MeshFacts},
    finding::{CODES, Finding, Lane, Repair, Severity},
};

/// Share of anything limited from which on it is told, in percent.
const MOST: u64 = 90;
/// Bytes of memory below which new tables may find no room.
const LEAST_MEMORY: u64 = 64 << 20;
/// Bytes in the mesh's folder below which a snapshot may find no room.
const LEAST_ROOM: u64 = 4 << 20;

/// What the machine is short of.
pub(crate) fn machine(facts: &MachineFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |code, severity, what: String, remedy: String| {
        findings.push(Finding { code, severity, mesh: None, what, remedy, repair: None });
    };
    for feature in facts.needed.iter().filter(|it| !it.present) {
        let lanes = if feature.lanes.is_empty() { "no lane".into() } else { feature.lanes.join(", ") };
        let what = format!(
            "this kernel lacks {}, needed for: {lanes}; a mesh starts with all lanes or not at all",
            feature.name
        );
        add("kernel_lacks", Severity::Error, what, feature.remedy.to_owned());
    }
    for feature in &facts.lacking {
        let (severity, remedy) = match feature.otherwise {
            Otherwise::Instead(_) => (Severity::Info, "nothing needs to be done".to_owned()),
            Otherwise::Weaker(_) | Otherwise::Refuses(_) => {
                (Severity::Warning, format!("run Linux {} or newer", feature.since))
            }
        };
        add("kernel_lacks", severity, format!("{} (all lanes remain)", feature.lack()), remedy);
    }
    if let Some(left) = facts.memory_left.filter(|left| *left < LEAST_MEMORY) {
        let what = format!("{} MiB of memory are left", left >> 20);
        let remedy = "free some: tables that grow may find none, and changes are refused then".to_owned();
        add("memory_short", Severity::Warning, what, remedy);
    }
    findings
}

/// Each lane with what of its needs the kernel lacks.
pub(crate) fn lanes(facts: &MachineFacts) -> Vec<Lane> {
    let lacks = |lane: &'static str| {
        let lacking = facts.needed.iter().filter(move |it| !it.present && it.lanes.contains(&lane));
        lacking.map(|it| it.name).collect()
    };
    LANES.into_iter().map(|name| Lane { name, lacks: lacks(name) }).collect()
}

/// What is wrong with a mesh.
pub(crate) fn mesh(facts: &MeshFacts) -> Vec<Finding> {
    let name = facts.mesh.name();
    let mut found = Found { mesh: name, findings: Vec::new() };
    match (&facts.living, &facts.leftovers) {
        (Some(living), _) => judge(&mut found, facts, living),
        (None, Ok(leftovers)) if leftovers.is_empty() => {}
        (None, Ok(leftovers)) if leftovers.iter().any(|it| matches!(it, Leftover::Process { .. })) => {
            let what = "its keeper does not answer, and processes of it run: nothing of it can be changed"
                .to_owned();
            let remedy = format!("`wabe --name {name} down` ends it with all that runs in it");
            found.add("keeper_away", Severity::Error, what, remedy);
        }
        (None, Ok(leftovers)) => {
            let list: Vec<String> = leftovers.iter().map(ToString::to_string).collect();
            let what = format!("nothing of it runs, and this is left: {}", list.join(", "));
            let remedy = format!("`wabe --name {name} down` or `wabe doctor --fix` removes it");
            found.add("leftovers", Severity::Error, what, remedy);
            found.repair_by(Repair::Sweep(name.to_owned()));
        }
        (None, Err(error)) => {
            found.add(
                "unreadable",
                Severity::Error,
                error.clone(),
                "run it as root, outside of any mesh".into(),
            );
        }
    }
    found.findings
}

struct Found<'a> {
    mesh: &'a str,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, code: &'static str, severity: Severity, what: String, remedy: String) {
        debug_assert!(CODES.contains(&code), "{code} is in no list");
        let mesh = Some(self.mesh.to_owned());
        self.findings.push(Finding { code, severity, mesh, what, remedy, repair: None });
    }

    /// Of what was found last.
    fn repair_by(&mut self, repair: Repair) {
        if let Some(last) = self.findings.last_mut() {
            last.repair = Some(repair);
        }
    }
}

fn judge(found: &mut Found<'_>, facts: &MeshFacts, living: &Living) {
    processes(found, living);
    attachments(found, living);
    tables(found, living);
    workloads(found, living);
    host(found, facts, living);
    for program in &living.foreign {
        let what = format!("somebody else's program `{program}` is attached to the workloads' cgroup, too");
        found.add("foreign_program", Severity::Info, what, "nothing: both run".into());
    }
    if let Some(why) = &living.unwritable {
        let what = format!("nothing can be written into {}: {why}", facts.mesh.run_dir().display());
        let remedy = "make room there, or mount it for writing; until then the last state stays in force";
        found.add("folder_unfit", Severity::Error, what, remedy.into());
    } else if let Some(room) = living.room.filter(|room| *room < LEAST_ROOM) {
        let what = format!("{} KiB are left in {}", room >> 10, facts.mesh.run_dir().display());
        found.add("folder_unfit", Severity::Warning, what, "make room there: logs are below it".into());
    }
    if !living.clock_behind.is_zero() {
        let what = format!("the clock is {} s before the mesh's start", living.clock_behind.as_secs());
        found.add(
            "clock_behind",
            Severity::Warning,
            what,
            "set it: times in flows and logs are wrong".into(),
        );
    }
    for (name, used, most) in &living.descriptors {
        if used.saturating_mul(100) >= most.saturating_mul(MOST) {
            let what = format!("the {name} uses {used} of {most} descriptors");
            let remedy = "run fewer replicas, or start the mesh with a higher `ulimit -n`";
            found.add("descriptors_short", Severity::Warning, what, remedy.into());
        }
    }
}

fn processes(found: &mut Found<'_>, living: &Living) {
    let child = |name: &str| living.keeper.children.iter().find(|it| it.name == name);
    let why =
        |name: &str| child(name).and_then(|it| it.problem.clone()).unwrap_or_else(|| "see its log".into());
    match &living.agent {
        Err(error) => {
            let what = format!("the agent does not answer ({error}): connections go on, changes wait");
            let remedy = format!("`wabe --name {} logs agent` tells why; {}", found.mesh, why("agent"));
            found.add("agent_away", Severity::Error, what, remedy);
        }
        Ok(status) => {
            // The kernel's lacks are told once, for the machine.
            for warning in status.warnings.iter().filter(|it| !it.starts_with("this kernel lacks")) {
                let remedy = "`wabe status` shows the whole".to_owned();
                found.add("agent_warns", Severity::Warning, warning.clone(), remedy);
            }
        }
    }
    if child("dns").is_none_or(|it| it.pid.is_none()) {
        let what = "dns does not run: names are not answered".to_owned();
        let remedy = format!("`wabe --name {} logs dns` tells why; {}", found.mesh, why("dns"));
        found.add("dns_away", Severity::Error, what, remedy);
    }
    if child("proxy").is_none_or(|it| it.pid.is_none()) {
        let what = "the proxy does not run: connections to services with rules of layer 7 wait".to_owned();
        let remedy = format!("`wabe --name {} logs proxy` tells why; {}", found.mesh, why("proxy"));
        found.add("proxy_away", Severity::Error, what, remedy);
    }
    for generation in &living.behind {
        let (severity, what) = match generation {
            Some(it) => (
                Severity::Error,
                format!("a proxy goes by generation {it}, and does not take up the snapshot that is newer"),
            ),
            None => (
                Severity::Warning,
                "a proxy does not tell by which snapshot it goes: it understood none, or is of an earlier version"
                    .to_owned(),
            ),
        };
        let name = found.mesh;
        let remedy = format!(
            "`wabe --name {name} logs proxy` tells why; `wabe --name {name} upgrade proxy` starts another"
        );
        found.add("proxy_behind", severity, what, remedy);
    }
}

fn attachments(found: &mut Found<'_>, living: &Living) {
    let all = match &living.attachments {
        Ok(all) => all,
        Err(error) => {
            let remedy = "`wabe down` and `wabe up` make them anew".to_owned();
            return found.add("unreadable", Severity::Error, error.clone(), remedy);
        }
    };
    let agent = living.keeper.children.iter().find(|it| it.name == "agent").and_then(|it| it.pid);
    for Attachment { pin, workload, state } in all {
        let (code, how) = match state {
            AttachmentState::Attached => continue,
            AttachmentState::Missing => ("link_missing", "is not attached"),
            AttachmentState::Detached => ("link_detached", "is attached to nothing any more"),
            AttachmentState::Elsewhere => ("link_elsewhere", "is attached to something else"),
        };
        let name = pin.file_name().unwrap_or_default().to_string_lossy();
        let of = workload.map_or_else(String::new, |id| format!(" of workload {id}"));
        let what = format!("the program `{name}`{of} {how}");
        // Another agent finds a gone interface or namespace as gone; the workload itself has to be made anew.
        let remedy = match state {
            AttachmentState::Detached | AttachmentState::Elsewhere if workload.is_some() => {
                "restart the workload"
            }
            AttachmentState::Elsewhere => "`wabe down` and `wabe up` make it anew",
            AttachmentState::Attached | AttachmentState::Missing | AttachmentState::Detached => {
                "`wabe doctor --fix` starts the agent anew, which attaches it"
            }
        };
        found.add(code, Severity::Error, what, remedy.into());
        let attaches =
            *state == AttachmentState::Missing || *state == AttachmentState::Detached && workload.is_none();
        if let Some(pid) = agent.filter(|_| attaches) {
            found.repair_by(Repair::RestartAgent { mesh: found.mesh.to_owned(), pid });
        }
    }
}

fn tables(found: &mut Found<'_>, living: &Living) {
    let (generation, maps) = match &living.tables {
        Ok(tables) => tables,
        Err(error) => {
            let what = format!("the pinned tables can't be read: {error}");
            let remedy = "they may be another version's: run its `wabe`, or `wabe upgrade`".to_owned();
            return found.add("tables_unreadable", Severity::Error, what, remedy);
        }
    };
    if let Ok(status) = &living.agent
        && status.generation != *generation
    {
        let what = format!("the kernel is at generation {generation}, the agent at {}", status.generation);
        let remedy = "look again: a change may be under way; if it stays, start the agent anew".to_owned();
        found.add("generation_differs", Severity::Warning, what, remedy);
    }
    for map in maps {
        let Some(used) = map.used.filter(|_| map.limit > 1) else { continue };
        if used.saturating_mul(100) >= map.limit.saturating_mul(MOST) {
            let what = format!("{} has {used} of {} rows", map.name, map.limit);
            let remedy = "what does not fit is refused with a reason: docs/operations.md, Limits".to_owned();
            found.add("map_nearly_full", Severity::Warning, what, remedy);
        }
    }
}

fn workloads(found: &mut Found<'_>, living: &Living) {
    match &living.lacks {
        Ok(lacks) => {
            for (workload, lack) in lacks {
                let what = format!("workload {workload} is cut off: {lack}");
                let remedy = format!("`wabe --name {} restart {workload}` makes it anew", found.mesh);
                found.add("workload_cut_off", Severity::Error, what, remedy);
            }
        }
        Err(error) => {
            let what = format!("the node's interfaces and routes can't be looked at: {error}");
            found.add("unreadable", Severity::Warning, what, "look again once the agent runs".into());
        }
    }
}

fn host(found: &mut Found<'_>, facts: &MeshFacts, living: &Living) {
    if !living.is_here {
        let what = "its host is another network namespace: what it has there is not examined".to_owned();
        return found.add("other_namespace", Severity::Info, what, "run `wabe doctor` there".into());
    }
    let Ok(there) = &facts.leftovers else { return };
    let again = || format!("`wabe --name {0} down` and `wabe --name {0} up`", facts.mesh.name());
    if !there.iter().any(|it| matches!(it, Leftover::Interface(_))) {
        let what =
            format!("the interface {} is gone: nothing goes out or comes in", facts.mesh.host_interface());
        found.add("interface_missing", Severity::Error, what, again());
    }
    if living.has_egress && !there.iter().any(|it| matches!(it, Leftover::Table(_))) {
        let what =
            format!("the nftables table inet {} is gone: egress has no way back", facts.mesh.nft_table());
        let remedy = "restart a workload with `egress: masquerade`: the keeper makes it anew".to_owned();
        found.add("table_missing", Severity::Error, what, remedy);
    }
}

#[cfg(test)]
mod tests;
