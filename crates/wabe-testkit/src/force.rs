//! What a mesh of a test left behind: how to find it, and how to remove it by force.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    command::scaled,
    name::is_test,
    system::{self, check},
};

/// Where meshes keep their state, one folder each.
const STATE: &str = "/run/wabe";

/// How long killed processes may take to go.
const DEATH: Duration = Duration::from_secs(10);

/// What is there of the mesh of this name; empty is as it should be after `wabe down`.
pub(crate) fn leftovers(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(cgroups(name).iter().map(|path| format!("cgroup {}", path.display())));
    found.extend(state_mounts(name).iter().map(|path| format!("mount {}", path.display())));
    let state = Path::new(STATE).join(name);
    if state.exists() {
        found.push(format!("folder {}", state.display()));
    }
    found.extend(processes(name).iter().map(|pid| format!("process {pid} {:?}", system::arguments(*pid))));
    found
}

/// The process of a role of this mesh.
pub(crate) fn role(name: &str, role: &str) -> Option<u32> {
    // Whose cgroup is named for what is done there: sockets are made for the proxy.
    let cgroup = if role == "keeper" { "vend" } else { role };
    let procs = cgroups(name).first()?.join(cgroup).join("cgroup.procs");
    fs::read_to_string(procs).ok()?.lines().next()?.parse().ok()
}

/// Kills a process and waits for its end; false if `patience` ended first.
pub(crate) fn kill_and_wait(pid: u32, patience: Duration) -> bool {
    kill(pid);
    let deadline = Instant::now() + scaled(patience);
    // One that nobody has waited for yet has no arguments any more.
    while !system::arguments(pid).concat().is_empty() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Removes all that [`leftovers`] finds.
///
/// # Errors
/// Something can't be removed, or does not die within ten seconds.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    let cgroups = cgroups(name);
    for cgroup in &cgroups {
        fs::write(cgroup.join("cgroup.kill"), "1")?;
    }
    for pid in processes(name) {
        kill(pid);
    }
    until(|| cgroups.iter().all(|it| is_empty(it)) && processes(name).is_empty())?;
    for folder in cgroups.iter().flat_map(|it| system::innermost_first(it)) {
        ignore_missing(fs::remove_dir(folder))?;
    }
    for point in state_mounts(name).iter().rev() {
        unmount(point)?;
    }
    ignore_missing(fs::remove_dir_all(Path::new(STATE).join(name)))?;
    // Gone with the last mesh; other meshes' folders keep it.
    fs::remove_dir(STATE).ok();
    Ok(())
}

/// Names of tests' meshes that something is there of.
pub(crate) fn meshes() -> Vec<String> {
    let cgroup = |name: &str| name.strip_prefix("wabe-").is_some_and(is_test);
    let folders = system::folders_named(&system::cgroup_root(), &cgroup);
    let cgroups =
        folders.iter().filter_map(|path| path.file_name()?.to_str()?.strip_prefix("wabe-").map(String::from));
    let states = system::names_in(Path::new(STATE)).into_iter().filter(|name| is_test(name));
    let mut names: Vec<_> = cgroups.chain(states).collect();
    names.sort();
    names.dedup();
    names
}

fn cgroups(name: &str) -> Vec<PathBuf> {
    let wanted = format!("wabe-{name}");
    system::folders_named(&system::cgroup_root(), &|it| it == wanted)
}

fn state_mounts(name: &str) -> Vec<PathBuf> {
    let state = Path::new(STATE).join(name);
    system::mounts().into_iter().map(|it| it.point).filter(|point| point.starts_with(&state)).collect()
}

/// Processes of the mesh's roles, wherever they run: `wabe ROLE ... --name NAME ...`.
fn processes(name: &str) -> Vec<u32> {
    let of_mesh = |pid: &u32| {
        let arguments = system::arguments(*pid);
        let program = arguments.first().and_then(|it| it.rsplit('/').next()).unwrap_or_default();
        let named = arguments.windows(2).any(|it| it[0] == "--name" && it[1] == name)
            || arguments.iter().any(|it| it.strip_prefix("--name=") == Some(name));
        program == "wabe" && named
    };
    system::processes().into_iter().filter(of_mesh).collect()
}

fn kill(pid: u32) {
    let pid = libc::pid_t::try_from(pid).expect("invariant: the kernel's process ids are ints");
    // SAFETY: no memory is passed. It may have ended since it was found; then nothing happens.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn is_empty(cgroup: &Path) -> bool {
    match fs::read_to_string(cgroup.join("cgroup.events")) {
        Ok(events) => events.lines().any(|line| line == "populated 0"),
        Err(_) => true,
    }
}

fn unmount(point: &Path) -> io::Result<()> {
    let point = CString::new(point.as_os_str().as_bytes()).expect("invariant: paths have no zero byte");
    // SAFETY: a string that ends in zero and lives until the call returns.
    check(unsafe { libc::umount2(point.as_ptr(), libc::MNT_DETACH) }.into()).map(drop)
}

fn until(done: impl Fn() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + DEATH;
    while !done() {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "killed processes do not go away"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
