//! Where a run keeps its things, and how they go again: also those of a run that was killed.

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::{
    io::Errno,
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

use crate::{command, grpc};

/// A folder that workloads see too, and from which programs may be run.
const FOLDER: &str = "/var/lib/wabe-bench";
/// A file of [`MANY_BYTES`] zeros that takes no room, which servers answer with.
pub(crate) const MANY: &str = "/var/lib/wabe-bench/many";
/// So many that the end of an answer is rare.
const MANY_BYTES: u64 = 256 << 20;
/// What the names of network namespaces begin with. Those of meshes begin with `bench-`, so their cgroups do with this.
pub(crate) const PREFIX: &str = "wabe-bench-";
/// What the names of meshes begin with.
pub(crate) const MESH: &str = "bench-";

/// This run's place; dropped, nothing is left but the lock file: removing that would let a third run lock another one.
#[derive(Debug)]
pub(crate) struct Place {
    wabe: PathBuf,
    interrupted: Arc<AtomicBool>,
    // Held for its lock: one run at a time. Outside the folder, which goes.
    _lock: File,
}

impl Place {
    /// Takes the place, removing what an earlier run left there. `wabe` is the program to measure.
    ///
    /// # Errors
    /// Not root, another run is under way, or something left can't be removed.
    pub(crate) fn take(wabe: &Path) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("the benchmark makes network namespaces and loads eBPF programs: run it as root");
        }
        let lock = File::create("/run/wabe-bench.lock").context("creating /run/wabe-bench.lock")?;
        lock.try_lock().context("another run of the benchmark is under way (/run/wabe-bench.lock)")?;
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        sweep(wabe)?;
        fs::create_dir_all(FOLDER).with_context(|| format!("creating {FOLDER}"))?;
        let place = Self { wabe: wabe.to_path_buf(), interrupted, _lock: lock };
        let program = std::env::current_exe().context("finding the benchmark's own program")?;
        fs::copy(program, place.program()).context("copying the benchmark's program for the workloads")?;
        fs::copy(wabe, place.lab()).context("copying `wabe` for the workloads")?;
        File::create(MANY)
            .and_then(|file| file.set_len(MANY_BYTES))
            .with_context(|| format!("making {MANY}"))?;
        fs::write(place.folder().join(grpc::FILE), grpc::message()).context("writing a message of gRPC")?;
        fs::create_dir(place.scratch())
            .and_then(|()| fs::set_permissions(place.scratch(), Permissions::from_mode(0o1777)))
            .with_context(|| format!("making {}", place.scratch().display()))?;
        Ok(place)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        Path::new(FOLDER)
    }

    /// Where workloads may write, which are nobody.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder().join("scratch")
    }

    /// The load generators, where workloads find them.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder().join("wabe-bench")
    }

    /// `wabe`, where workloads find it: its lab makes load too.
    pub(crate) fn lab(&self) -> PathBuf {
        self.folder().join("wabe")
    }

    /// The program that is measured.
    pub(crate) fn wabe(&self) -> &Path {
        &self.wabe
    }

    /// Writes a file, and tells its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Fails once Ctrl-C was pressed.
    pub(crate) fn check(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Writes a process down, so that a later run finds it if this one is killed: its id with its start, as ids come
    /// again.
    pub(crate) fn record(&self, pid: u32) -> Result<()> {
        let start = start_of(pid).context("a child that ended at once")?;
        self.write(&format!("pids/{pid}"), &start).map(drop)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = sweep(&self.wabe) {
            eprintln!("cleaning up: {error:#}; the next run tries again");
        }
    }
}

/// Removes processes, meshes, namespaces and files of a run.
fn sweep(wabe: &Path) -> Result<()> {
    for entry in fs::read_dir(format!("{FOLDER}/pids")).into_iter().flatten().flatten() {
        let recorded = fs::read_to_string(entry.path())?;
        let pid = entry.file_name().to_string_lossy().parse::<u32>().ok();
        let Some(pid) = pid.filter(|pid| start_of(*pid).is_some_and(|start| start == recorded)) else {
            continue;
        };
        kill(pid, rustix::process::Signal::KILL);
    }
    for name in names("/run/wabe", MESH) {
        // An agent that was stopped must run, to be stopped.
        for pid in agents(&name) {
            kill(pid, rustix::process::Signal::CONT);
        }
        command::run(Command::new(wabe).args(["--name", &name, "down"]))?;
    }
    for name in names("/run/netns", PREFIX) {
        // A server's children, where it alone was recorded: who lives in a namespace of ours is ours.
        let inside = command::run(Command::new("ip").args(["netns", "pids", &name]))?;
        for pid in inside.lines().filter_map(|line| line.trim().parse().ok()) {
            kill(pid, rustix::process::Signal::KILL);
        }
        command::run(Command::new("ip").args(["netns", "delete", &name]))?;
    }
    match fs::remove_dir_all(FOLDER) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context(FOLDER),
        _ => Ok(()),
    }
}

/// The agent's processes of a mesh.
pub(crate) fn agents(mesh: &str) -> Vec<u32> {
    processes(mesh, "agent")
}

/// Processes of a mesh, from their cgroup: `agent`, `dns`, `proxy`, and `vend`, which is the keeper's.
pub(crate) fn processes(mesh: &str, name: &str) -> Vec<u32> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let root = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then_some(point)
    });
    let Some(root) = root else { return Vec::new() };
    let file = Path::new(root).join(format!("wabe-{mesh}/{name}/cgroup.procs"));
    fs::read_to_string(file).unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect()
}

/// Binds all threads of a process to a core; those that it starts later inherit it.
///
/// # Errors
/// There is no such process or no such core.
pub(crate) fn pin(pid: u32, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    let folder = format!("/proc/{pid}/task");
    let mut done = BTreeSet::new();
    loop {
        let threads = fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?;
        let threads = threads.map(|it| Ok(it?.file_name().to_string_lossy().parse::<i32>()?));
        let threads = threads.collect::<Result<BTreeSet<_>>>()?;
        let new: Vec<i32> = threads.difference(&done).copied().collect();
        // One that a thread started while that was not bound yet is seen the next time.
        if new.is_empty() {
            return Ok(());
        }
        for thread in new {
            match sched_setaffinity(Pid::from_raw(thread), &set) {
                // It has ended since.
                Ok(()) | Err(Errno::SRCH) => done.insert(thread),
                Err(error) => {
                    return Err(error).with_context(|| format!("binding process {pid} to core {core}"));
                }
            };
        }
    }
}

/// What all threads of these processes have had of processors: the first number of schedstat, in nanoseconds.
pub(crate) fn processor_time(pids: &[u32]) -> Duration {
    let threads = pids
        .iter()
        .flat_map(|pid| names(&format!("/proc/{pid}/task"), "").into_iter().map(move |it| (pid, it)));
    let spent = threads.filter_map(|(pid, thread)| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

/// Sends a signal; a process that has ended gets none.
pub(crate) fn kill(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// A process and those that it started.
pub(crate) fn with_children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|it| it.parse().ok())).collect()
}

fn names(folder: &str, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|it| it.starts_with(prefix))
        .collect()
}

/// When a process started, in the kernel's ticks: field 22 of proc_pid_stat(5).
fn start_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::process::Child;

    use super::*;

    fn cores(child: &Child) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.expect("a list of cores").trim().to_owned()
    }

    #[test]
    fn a_process_is_bound_to_a_core_if_there_are_both() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("coreutils");
        pin(child.id(), 0).expect("core 0");
        assert_eq!(cores(&child), "0");
        assert!(pin(child.id(), 1_000).is_err());
        child.kill().expect("a child");
        child.wait().expect("a child");
        assert!(pin(child.id(), 0).is_err());
    }
}
