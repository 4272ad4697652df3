//! Where programs may be attached: never where that would cut the machine off.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{fstat, fstatfs};

use crate::Error;

/// `CGROUP2_SUPER_MAGIC`.
const CGROUP2: u64 = 0x6367_7270;
/// `NSFS_MAGIC`.
const NSFS: u64 = 0x6e73_6673;
/// What the root of the cgroups has for an inode.
const ROOT: u64 = 1;

/// `NET_NS_INIT_INO`: what the host's network namespace has for an inode, since Linux 6.18.
const HOST: u64 = 0xefff_fff9;

/// A cgroup that programs may be attached to.
#[derive(Debug)]
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
    pub(crate) folder: File,
}

impl Cgroup {
    /// Opens it. The root is refused, by whatever path.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let named = || format!("cgroup {}", path.display());
        let folder = File::open(path).map_err(Error::place(named()))?;
        let kind = fstatfs(&folder).map_err(|error| Error::place(named())(error.into()))?;
        let inode = folder.metadata().map_err(Error::place(named()))?.ino();
        // Only the root has no type; a container's own root has one, but shows everybody's as its own.
        let is_ours = kind.f_type as u64 == CGROUP2 && inode != ROOT && path.join("cgroup.type").exists();
        if !is_ours || mount_points()?.contains(&fs::canonicalize(path).map_err(Error::place(named()))?) {
            return Err(Error::Foreign { what: named() });
        }
        Ok(Self { path: path.to_owned(), folder })
    }
}

/// Refuses the host's network namespace, which is process 1's, and that of this process and thread.
pub(crate) fn check_namespace(namespace: BorrowedFd<'_>) -> Result<(), Error> {
    let named = || "the network namespace".to_owned();
    let kind = fstatfs(namespace).map_err(|error| Error::place(named())(error.into()))?;
    let own = fstat(namespace).map_err(|error| Error::place(named())(error.into()))?;
    let mut is_foreign = kind.f_type as u64 != NSFS || own.st_ino == HOST;
    for (foreign, may_hide) in
        [("/proc/1/ns/net", true), ("/proc/self/ns/net", false), ("/proc/thread-self/ns/net", false)]
    {
        let file = match File::open(foreign) {
            Ok(file) => file,
            // Process 1 is another user's or a container's: then `HOST` is what tells.
            Err(error) if may_hide && error.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(error) => return Err(Error::place(foreign)(error)),
        };
        let other = fstat(file.as_fd()).map_err(|error| Error::place(foreign)(error.into()))?;
        is_foreign |= (other.st_dev, other.st_ino) == (own.st_dev, own.st_ino);
    }
    if is_foreign { Err(Error::Foreign { what: named() }) } else { Ok(()) }
}

/// Where cgroup v2 is mounted.
pub(crate) fn mount_points() -> Result<Vec<PathBuf>, Error> {
    const TABLE: &str = "/proc/self/mountinfo";
    let table = fs::read_to_string(TABLE).map_err(Error::place(TABLE))?;
    let ours = table.lines().filter(|line| line.contains(" - cgroup2 "));
    Ok(ours.filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect())
}
