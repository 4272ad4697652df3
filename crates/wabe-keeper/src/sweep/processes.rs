//! The processes of a mesh, found and ended by its cgroups.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{Leftover, SweepError};
use crate::cgroup::Cgroup;

/// A cgroup and all below it, the innermost first: the order to remove in.
pub(super) fn cgroups(root: &Path) -> Result<Vec<PathBuf>, SweepError> {
    let mut found = Vec::new();
    for entry in present(fs::read_dir(root), "read", root)?.into_iter().flatten() {
        let entry = entry.map_err(failed("read", root))?;
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            found.extend(cgroups(&entry.path())?);
        }
    }
    found.push(root.to_owned());
    Ok(found)
}

/// The processes in these cgroups.
pub(super) fn processes(cgroups: &[PathBuf]) -> Result<Vec<Leftover>, SweepError> {
    let mut found = Vec::new();
    for cgroup in cgroups {
        let listed = present(Cgroup::at(cgroup).processes(), "list the processes of", cgroup)?;
        for pid in listed.into_iter().flatten() {
            let pid = pid.as_raw_nonzero().get().unsigned_abs();
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push(Leftover::Process { pid, name: name.trim_end().to_owned() });
        }
    }
    Ok(found)
}

/// Kills everything in a cgroup and below, and waits until it is gone.
pub(super) fn kill(cgroup: &Cgroup, deadline: Instant) -> Result<(), SweepError> {
    let path = cgroup.path();
    // Opened before, so that no change is missed.
    let events_file = path.join("cgroup.events");
    let Some(events) = present(File::open(&events_file), "open", &events_file)? else { return Ok(()) };
    present(cgroup.kill(), "kill the processes of", path)?;
    loop {
        // Looking at the state is also what arms the next notice.
        if !present(is_populated(&events), "read", &events_file)?.unwrap_or(false) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(SweepError::Unkillable(processes(&cgroups(path)?)?));
        }
        let timeout = Timespec::try_from(left).expect("invariant: patience is short");
        match poll(&mut [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed("wait for", &events_file)(error.into())),
        }
    }
}

fn is_populated(events: &File) -> io::Result<bool> {
    let mut text = [0; 256];
    let length = rustix::io::pread(events, &mut text, 0)?;
    Ok(text[..length].split(|byte| *byte == b'\n').any(|line| line == b"populated 1"))
}

/// `None` if the cgroup went away meanwhile: somebody else is removing it, which is fine.
fn present<T>(result: io::Result<T>, action: &'static str, path: &Path) -> Result<Option<T>, SweepError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
        Err(error) => Err(failed(action, path)(error)),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SweepError {
    let path = path.to_owned();
    move |source| SweepError::Cgroup { action, path, source }
}
