//! Cgroups of the lab: who sits where decides which programs see its sockets, and nobody gets away.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Killed processes need none of it, unless the kernel is stuck in one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cgroup that the lab made.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes it with its parents.
    pub(crate) fn make(path: &str) -> Result<Self> {
        let path = root()?.join(path);
        fs::create_dir_all(&path).with_context(|| format!("creating the cgroup {}", path.display()))?;
        Ok(Self(path))
    }

    /// One inside.
    pub(crate) fn child(&self, name: &str) -> Result<Self> {
        let path = self.0.join(name);
        fs::create_dir_all(&path).with_context(|| format!("creating the cgroup {}", path.display()))?;
        Ok(Self(path))
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The file to which a process writes to move in.
    pub(crate) fn door(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// Who sits in it, not in those inside.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes(&self.0)
    }

    /// Kills everyone in it and inside, and removes it.
    pub(crate) fn clear(&self) -> Result<()> {
        clear(&self.0)
    }
}

/// Kills everyone in the lab's cgroup of that name, and removes it, if it is there.
pub(crate) fn remove(name: &str) -> Result<()> {
    let path = root()?.join(name);
    if path.exists() { clear(&path) } else { Ok(()) }
}

/// Where cgroup v2 is mounted; hybrid machines have it beside the old ones.
pub(crate) fn root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    let found = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    });
    found.context("cgroup v2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup")
}

fn processes(path: &Path) -> Vec<u32> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn clear(path: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // With everyone inside, also those who are just being forked (Linux 5.14).
        fs::write(path.join("cgroup.kill"), "1")
            .with_context(|| format!("killing those in {}", path.display()))?;
        match remove_tree(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => bail!("removing the cgroup {}: {error}", path.display()),
            Ok(()) => return Ok(()),
        }
    }
}

/// `remove_dir_all` would try to remove the files, too.
fn remove_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
