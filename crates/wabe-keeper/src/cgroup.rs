//! Cgroups (version 2): a folder each, in which processes are counted, signalled and killed together.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

/// A cgroup that the mesh made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// Makes it, and those above it; no error if it exists.
    ///
    /// # Errors
    /// Without root, or if cgroup v2 is mounted read-only.
    pub fn create(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// The one of this folder, whether it exists or not.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Its number: what `bpf_get_current_cgroup_id` returns inside, until the machine restarts.
    ///
    /// # Errors
    /// It was removed.
    pub fn id(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.folder)?.ino())
    }

    /// Moves the calling process into it, with all its threads.
    ///
    /// # Errors
    /// It was removed, or has controllers enabled for its children.
    pub fn join(&self) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), "0")
    }

    /// Whether a process lives in it or below. Processes that ended and were not waited for don't count.
    ///
    /// # Errors
    /// It was removed.
    pub fn is_populated(&self) -> io::Result<bool> {
        let events = fs::read_to_string(self.folder.join("cgroup.events"))?;
        Ok(events.lines().any(|line| line == "populated 1"))
    }

    /// The processes in it, not those below.
    ///
    /// # Errors
    /// It was removed.
    pub fn processes(&self) -> io::Result<Vec<Pid>> {
        let list = fs::read_to_string(self.folder.join("cgroup.procs"))?;
        Ok(list.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect())
    }

    /// Sends a signal to every process in it. Processes that are born meanwhile may be missed.
    ///
    /// # Errors
    /// It was removed.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        for pid in self.processes()? {
            // It may have ended in between.
            let _ = kill_process(pid, signal);
        }
        Ok(())
    }

    /// SIGKILL to everything in it and below; nothing can be missed.
    ///
    /// # Errors
    /// It was removed, or the kernel is older than 5.14.
    pub fn kill(&self) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.kill"), "1")
    }

    /// Removes it, and those below it.
    ///
    /// # Errors
    /// `EBUSY` while a process lives in it. No error if it is gone already.
    pub fn remove(&self) -> io::Result<()> {
        remove_folder(&self.folder)
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_folder(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
