//! How things are, as far as they can be read. Nothing is judged here, and nothing changed.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use wabe_agent::{
    api::{Client, Reply, Request, Status},
    figures,
};
use wabe_datapath::{Attachment, Feature, Guarded, KernelFeature, MapUse, Pinned};
use wabe_keeper::{
    cgroup::Cgroup,
    client,
    layout::{Mesh, MeshFile},
    net::inspect::{self, Lack, Wanted},
    protocol::{ChildState, InstanceSpec, InstanceState, KeeperState, Phase},
    sweep::{Leftover, inventory},
};

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a proxy may take to go by a new snapshot, and to say so.
const CATCH_UP: Duration = Duration::from_secs(4);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// The machine's.
pub(crate) struct MachineFacts {
    /// What no mesh can do without.
    pub(crate) needed: Vec<Feature>,
    /// What the kernel lacks and a mesh does without.
    pub(crate) lacking: Vec<&'static KernelFeature>,
    /// Bytes; `None` if the kernel does not tell.
    pub(crate) memory_left: Option<u64>,
}

/// A mesh's.
pub(crate) struct MeshFacts {
    pub(crate) mesh: Mesh,
    pub(crate) leftovers: Result<Vec<Leftover>, String>,
    /// `None` if no keeper answers.
    pub(crate) living: Option<Living>,
}

/// A mesh's whose keeper answers.
pub(crate) struct Living {
    pub(crate) keeper: KeeperState,
    /// The keeper's host is this network namespace.
    pub(crate) is_here: bool,
    pub(crate) has_egress: bool,
    pub(crate) agent: Result<Box<Status>, String>,
    pub(crate) attachments: Result<Vec<Attachment>, String>,
    /// The generation in the kernel, and how full each map is.
    pub(crate) tables: Result<(u64, Vec<MapUse>), String>,
    /// Workloads and what they lack at the node; an error if nobody is there to be asked.
    pub(crate) lacks: Result<Vec<(String, Lack)>, String>,
    pub(crate) foreign: Vec<String>,
    /// Why nothing can be written into the mesh's folder.
    pub(crate) unwritable: Option<String>,
    /// How far the mesh's start is in the future.
    pub(crate) clock_behind: Duration,
    /// Bytes that are left there.
    pub(crate) room: Option<u64>,
    /// What proxies go by that do not go by the snapshot that there is, and did not for [`CATCH_UP`]. `None`: they don't tell.
    pub(crate) behind: Vec<Option<u64>>,
    /// Of keeper, agent and dns: name, descriptors in use, most it may have.
    pub(crate) descriptors: Vec<(String, u64, u64)>,
}

pub(crate) fn machine() -> MachineFacts {
    MachineFacts {
        needed: wabe_datapath::probe(),
        lacking: wabe_datapath::lacking(),
        memory_left: memory_left(),
    }
}

pub(crate) fn mesh(mesh: &Mesh) -> MeshFacts {
    MeshFacts {
        mesh: mesh.clone(),
        leftovers: inventory(mesh).map_err(|error| error.to_string()),
        living: living(mesh),
    }
}

fn living(mesh: &Mesh) -> Option<Living> {
    let mut client = client::Client::connect(mesh).ok()?;
    client.set_patience(Some(PATIENCE)).ok()?;
    let keeper = client.hello().ok()?;
    let instances = client.list().unwrap_or_default();
    let runs = |phase: &Phase| matches!(phase, Phase::Starting { .. } | Phase::Running { .. });
    let running = || instances.iter().filter(|it| runs(&it.phase));
    let guarded: Vec<Guarded> = running().map(guarded).collect();
    let pids = std::iter::once(("keeper".to_owned(), Some(keeper.pid)));
    let pids = pids.chain(keeper.children.iter().map(|it: &ChildState| (it.name.clone(), it.pid)));
    let cgroup = MeshFile::load(mesh).ok().flatten().map(|file| file.workloads_cgroup());
    let number = cgroup.as_ref().and_then(|it| Cgroup::at(it).id().ok());
    Some(Living {
        is_here: namespace("self") == namespace(&keeper.pid.to_string()),
        has_egress: running().any(|it| it.spec.egress_masquerade),
        agent: agent(mesh),
        attachments: wabe_datapath::attachments(&mesh.bpf_dir(), number, &guarded)
            .map_err(|error| error.to_string()),
        tables: tables(mesh),
        lacks: lacks(&keeper, running()),
        foreign: cgroup.and_then(|it| wabe_datapath::foreign(&it).ok()).unwrap_or_default(),
        unwritable: unwritable(&mesh.run_dir()),
        clock_behind: clock_behind(mesh),
        behind: behind(mesh),
        room: rustix::fs::statvfs(mesh.run_dir()).ok().map(|it| it.f_bavail * it.f_frsize),
        descriptors: pids
            .filter_map(|(name, pid)| descriptors(pid?).map(|(used, most)| (name, used, most)))
            .collect(),
        keeper,
    })
}

fn guarded(instance: &InstanceState) -> Guarded {
    // Before its command runs it may not be in its own yet.
    let pid = if let Phase::Running { pid } = instance.phase { Some(pid) } else { None };
    let namespace = pid.and_then(|pid| namespace(&pid.to_string()));
    Guarded { workload: instance.spec.id, interface: instance.node_ifindex, namespace }
}

/// The agent is in the node's network namespace.
fn lacks<'a>(
    keeper: &KeeperState,
    running: impl Iterator<Item = &'a InstanceState>,
) -> Result<Vec<(String, Lack)>, String> {
    let agent = keeper.children.iter().find(|it| it.name == "agent");
    let pid = agent.and_then(|it| it.pid).ok_or("the agent does not run")?;
    let running: Vec<_> = running.filter(|it| matches!(it.phase, Phase::Running { .. })).collect();
    let wanted = |it: &&InstanceState| {
        let InstanceSpec { id, v4, v6, .. } = it.spec;
        Wanted { id, ifindex: it.node_ifindex, v4, v6 }
    };
    let wanted: Vec<Wanted> = running.iter().map(wanted).collect();
    let lacks = inspect::lacks(pid, &wanted).map_err(|error| error.to_string())?;
    let named = |(id, lack)| {
        let instance = running.iter().find(|it| it.spec.id == id)?;
        Some((instance.spec.workload.clone(), lack))
    };
    Ok(lacks.into_iter().filter_map(named).collect())
}

fn agent(mesh: &Mesh) -> Result<Box<Status>, String> {
    let mut client =
        Client::ask(&mesh.agent_socket(), &Request::Status).map_err(|error| error.to_string())?;
    client.set_patience(PATIENCE).map_err(|error| error.to_string())?;
    match client.reply() {
        Ok(Some(Reply::Status(status))) => Ok(status),
        Ok(_) => Err("the agent answers something else: is it another version?".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn tables(mesh: &Mesh) -> Result<(u64, Vec<MapUse>), String> {
    let pinned = Pinned::open(&mesh.bpf_dir()).map_err(|error| error.to_string())?;
    Ok((pinned.generation(), pinned.usage().map_err(|error| error.to_string())?))
}

/// Waits only if there is something to wait for: each proxy is to come to the snapshot that there was at the beginning, however
/// many there are since.
fn behind(mesh: &Mesh) -> Vec<Option<u64>> {
    let Some(wanted) = figures::snapshot_generation(mesh) else { return Vec::new() };
    let deadline = Instant::now() + CATCH_UP;
    loop {
        let told = figures::live(mesh).into_iter().map(|it| it.figures.generation);
        let behind: Vec<u64> = told.filter(|it| *it < wanted).collect();
        if behind.is_empty() || Instant::now() >= deadline {
            return behind.into_iter().map(|it| Some(it).filter(|it| *it > 0)).collect();
        }
        thread::sleep(LOOK);
    }
}

/// The number of a process's network namespace.
fn namespace(process: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{process}/ns/net")).ok().map(|it| it.ino())
}

fn unwritable(folder: &Path) -> Option<String> {
    let file = folder.join("doctor.tmp");
    let outcome = fs::write(&file, [0; 4096]).and_then(|()| fs::remove_file(&file));
    if outcome.is_err() {
        let _ = fs::remove_file(&file);
    }
    outcome.err().map(|error| error.to_string())
}

fn clock_behind(mesh: &Mesh) -> Duration {
    let started = fs::metadata(mesh.mesh_file()).and_then(|it| it.modified());
    let ahead = started.ok().and_then(|started| started.duration_since(SystemTime::now()).ok());
    ahead.unwrap_or_default()
}

/// In use, and the most there may be.
fn descriptors(pid: u32) -> Option<(u64, u64)> {
    let used = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    Some((used, line.split_whitespace().next()?.parse().ok()?))
}

fn memory_left() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
