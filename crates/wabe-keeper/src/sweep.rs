//! Removing what a mesh left behind, without asking any of its processes: they may be dead, or half-born.
//!
//! Everything is found by the mesh's name, in the places that [`Mesh`] says; `mesh.json` may be missing or broken.
//! What other meshes have is not touched, and what is gone already is no error: sweeping twice is as good as once.

use std::{
    fmt, fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    cgroup::Cgroup,
    layout::{LayoutError, Mesh, find_cgroup2, mounts_below},
    net::NetError,
};

mod host;
mod processes;

/// How long killed processes may take to be gone. They need none of it, unless the kernel is stuck in one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something of a mesh that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A process in one of its cgroups.
    Process {
        /// Its number.
        pid: u32,
        /// Its program's name, empty if it ended meanwhile.
        name: String,
    },
    /// A cgroup.
    Cgroup(PathBuf),
    /// Something mounted on or below its folder.
    Mount(PathBuf),
    /// Its interface in the host's network namespace.
    Interface(String),
    /// Its nftables table in the host's network namespace.
    Table(String),
    /// Its folder.
    Folder(PathBuf),
}

impl Leftover {
    /// What such things are called, in the plural.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Process { .. } => "processes",
            Self::Cgroup(_) => "cgroups",
            Self::Mount(_) => "mounts",
            Self::Interface(_) => "host interfaces",
            Self::Table(_) => "nftables tables",
            Self::Folder(_) => "folders",
        }
    }
}

/// Why something of a mesh is still there.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The caller is a process of the mesh.
    #[error("process {0} is one of the mesh's own and can't remove it; run `wabe down` outside of the mesh")]
    Inside(u32),
    /// Killed, and still there.
    #[error("processes are still there, though killed: {}; the kernel does not let go of them", list(.0))]
    Unkillable(Vec<Leftover>),
    /// Removed, and still there.
    #[error("still there after removing it: {}; something of the mesh was started meanwhile, repeat it", list(.0))]
    Stays(Vec<Leftover>),
    /// A mesh's folder or mount.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The host's network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A cgroup.
    #[error("can't {action} {}: {source}; run as root, where cgroup v2 is mounted for writing", path.display())]
    Cgroup {
        /// What was tried.
        action: &'static str,
        /// On which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What there is of a mesh. The calling thread must be in the host's network namespace.
///
/// # Errors
/// If one of the places can't be looked at.
pub fn inventory(mesh: &Mesh) -> Result<Vec<Leftover>, SweepError> {
    let mut found = Vec::new();
    if let Some(cgroup) = cgroup(mesh)? {
        let cgroups = processes::cgroups(cgroup.path())?;
        found.extend(processes::processes(&cgroups)?);
        found.extend(cgroups.into_iter().map(Leftover::Cgroup));
    }
    found.extend(mounts_below(&mesh.run_dir())?.into_iter().map(Leftover::Mount));
    found.extend(host::interface(mesh)?.map(|_| Leftover::Interface(mesh.host_interface())));
    found.extend(host::table(mesh)?.map(Leftover::Table));
    if mesh.run_dir().exists() {
        found.push(Leftover::Folder(mesh.run_dir()));
    }
    Ok(found)
}

/// Kills and removes all there is of a mesh, and says what there was. Its network namespaces go with its processes.
/// The calling thread must be in the host's network namespace.
///
/// # Errors
/// If something stays.
pub fn sweep(mesh: &Mesh) -> Result<Vec<Leftover>, SweepError> {
    let found = inventory(mesh)?;
    let own = std::process::id();
    if found.iter().any(|it| matches!(it, Leftover::Process { pid, .. } if *pid == own)) {
        return Err(SweepError::Inside(own));
    }
    if let Some(cgroup) = cgroup(mesh)? {
        processes::kill(&cgroup, Instant::now() + PATIENCE)?;
    }
    host::remove_interface(mesh)?;
    host::remove_table(mesh)?;
    // With it go the pins, and with them the programs, which hold on to the cgroups' memory.
    for mount in mounts_below(&mesh.run_dir())? {
        rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH)
            .map_err(|error| LayoutError::file("unmount", &mount)(error.into()))?;
    }
    if let Some(cgroup) = cgroup(mesh)? {
        let path = cgroup.path().to_owned();
        cgroup.remove().map_err(|source| SweepError::Cgroup { action: "remove", path, source })?;
    }
    remove_folder(mesh)?;
    match inventory(mesh)? {
        stays if !stays.is_empty() => Err(SweepError::Stays(stays)),
        _ => Ok(found),
    }
}

/// The mesh's cgroup, if it is there.
fn cgroup(mesh: &Mesh) -> Result<Option<Cgroup>, SweepError> {
    let folder = match find_cgroup2() {
        Ok(cgroup2) => mesh.cgroup(&cgroup2),
        Err(LayoutError::NoCgroup2) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(folder.is_dir().then(|| Cgroup::at(folder)))
}

fn remove_folder(mesh: &Mesh) -> Result<(), SweepError> {
    let folder = mesh.run_dir();
    // Removing through a mount would empty what is mounted.
    let mounted = mounts_below(&folder)?;
    if !mounted.is_empty() {
        return Err(SweepError::Stays(mounted.into_iter().map(Leftover::Mount).collect()));
    }
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => Ok(other.map_err(LayoutError::file("remove", &folder))?),
    }
}

fn list(leftovers: &[Leftover]) -> String {
    leftovers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, name } => write!(f, "process {pid} ({name})"),
            Self::Cgroup(path) => write!(f, "cgroup {}", path.display()),
            Self::Mount(path) => write!(f, "mount {}", path.display()),
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Table(name) => write!(f, "nftables table inet {name}"),
            Self::Folder(path) => write!(f, "folder {}", path.display()),
        }
    }
}
