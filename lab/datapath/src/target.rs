//! What programs may be attached to: nothing that was there before the lab.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use crate::Error;

/// A cgroup that is not the root.
pub(crate) fn cgroup(path: &Path) -> Result<File, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let canonical = path.canonicalize().map_err(io)?;
    // Only cgroups below the root have that file.
    if !canonical.join("cgroup.type").exists() {
        return Err(Error::NotOurs(path.to_owned()));
    }
    File::open(canonical).map_err(io)
}

/// A network namespace that is neither this process' own nor the one in which the machine's first process lives.
pub(crate) fn namespace(path: &Path) -> Result<File, Error> {
    let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let id = |it: &fs::Metadata| (it.dev(), it.ino());
    let ours = file.metadata().map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let own = "/proc/self/ns/net";
    let own = fs::metadata(own).map_err(|source| Error::Io { path: own.into(), source })?;
    // Not everyone may look at the first process.
    let first = fs::metadata("/proc/1/ns/net").ok();
    if [Some(own), first].into_iter().flatten().any(|theirs| id(&ours) == id(&theirs)) {
        return Err(Error::NotOurs(path.to_owned()));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_cgroup_and_namespace_are_refused() {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let root = mounts.lines().find(|it| it.contains(" cgroup2 ")).and_then(|it| it.split(' ').nth(1));
        let root = root.expect("cgroup v2 is mounted");
        assert!(matches!(cgroup(Path::new(root)), Err(Error::NotOurs(_))));
        assert!(matches!(cgroup(Path::new("/tmp")), Err(Error::NotOurs(_))));
        assert!(matches!(namespace(Path::new("/proc/self/ns/net")), Err(Error::NotOurs(_))));
        assert!(matches!(namespace(Path::new("/nowhere")), Err(Error::Io { .. })));
    }
}
