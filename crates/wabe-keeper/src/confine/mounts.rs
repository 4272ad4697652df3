//! A workload's view of the file system: the host's, without what controls the mesh or the kernel.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, Stat, fstat, open, stat},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_remount,
        unmount,
    },
    process::{chdir, fchdir},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use crate::layout::read_mounts;

/// Through these the mesh is steered: they must not be reachable.
const STEERING: [&str; 3] = ["cgroup", "cgroup2", "bpf"];

/// Through these the kernel is steered by whoever is root, capabilities or not.
const READ_ONLY: [&str; 6] =
    ["/proc/sys", "/proc/sysrq-trigger", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/acpi"];

/// These tell about the whole machine.
const MASKED: [&str; 3] = ["/proc/kcore", "/proc/keys", "/proc/timer_list"];

/// Gives this process a mount namespace of its own, in which of the folder `hide` nothing but `expose` is seen.
pub(super) fn confine(hide: &Path, expose: &[PathBuf]) -> Result<(), String> {
    own_namespace().map_err(|error| format!("can't make a mount namespace: {error}"))?;
    let exposed = expose.iter().map(open_folder).collect::<Result<Vec<_>, _>>()?;
    remove_steering()?;
    fresh_sysfs().map_err(|error| format!("can't mount sysfs: {error}"))?;
    for path in READ_ONLY {
        read_only(path).map_err(|error| format!("can't make {path} read-only: {error}"))?;
    }
    for path in MASKED {
        mask(path).map_err(|error| format!("can't hide {path}: {error}"))?;
    }
    cover(hide, &exposed).map_err(|error| format!("can't hide {}: {error}", hide.display()))?;
    check()
}

#[expect(
    deprecated,
    reason = "its successor is unsafe because of CLONE_FILES alone, which is not among these flags"
)]
fn own_namespace() -> io::Result<()> {
    rustix::thread::unshare(UnshareFlags::NEWNS)?;
    Ok(mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?)
}

fn open_folder(path: &PathBuf) -> Result<(OwnedFd, &Path), String> {
    let folder = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| format!("can't open {}: {error}", path.display()))?;
    Ok((folder, path))
}

/// Takes away every mount of those kinds, and all of /sys: what is mounted below it is for the host.
fn remove_steering() -> Result<(), String> {
    let mounts = read_mounts().map_err(|error| error.to_string())?;
    // Newest first: a mount that is covered by a later one can't be named.
    for mount in mounts.iter().rev() {
        if !STEERING.contains(&mount.kind.as_str()) && !mount.target.starts_with("/sys") {
            continue;
        }
        match unmount(&mount.target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Went with the one above it.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(format!("can't unmount {}: {error}", mount.target.display())),
        }
    }
    Ok(())
}

/// A sysfs that shows the interfaces of this network namespace only.
fn fresh_sysfs() -> io::Result<()> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("sysfs", "/sys", "sysfs", flags, None)?)
}

fn read_only(path: &str) -> io::Result<()> {
    if fs::exists(path)? {
        mount_bind(path, path)?;
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        mount_remount(path, flags | MountFlags::NOEXEC, "")?;
    }
    Ok(())
}

fn mask(path: &str) -> io::Result<()> {
    if fs::exists(path)? {
        mount_bind("/dev/null", path)?;
    }
    Ok(())
}

/// Mounts an empty, read-only folder over `hide`, with the exposed folders in it.
fn cover(hide: &Path, exposed: &[(OwnedFd, &Path)]) -> io::Result<()> {
    if !fs::exists(hide)? {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("wabe", hide, "tmpfs", flags, c"mode=0755,size=64k")?;
    for (folder, path) in exposed {
        fs::create_dir_all(path)?;
        mount_bind(format!("/proc/self/fd/{}", folder.as_raw_fd()), *path)?;
        mount_remount(*path, MountFlags::BIND | MountFlags::RDONLY | flags, "")?;
    }
    Ok(mount_remount(hide, MountFlags::RDONLY | flags, "")?)
}

/// Mounts an empty folder over /tmp, which is gone with the last process that sees it; or enters the mount namespace `of` a process
/// that has one. The working directory stays, also one below the host's /tmp, unless it is /tmp.
pub(super) fn private_tmp(of: Option<OwnedFd>) -> io::Result<()> {
    let here = open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let place = |stat: Stat| (stat.st_dev, stat.st_ino);
    let is_tmp = place(fstat(&here)?) == place(stat("/tmp")?);
    match of {
        Some(of) => move_into_link_name_space(of.as_fd(), Some(LinkNameSpaceType::Mount))?,
        None => {
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            // It is memory, of which workloads have no limit.
            mount("wabe", "/tmp", "tmpfs", flags, c"mode=1777,size=10%")?;
        }
    }
    let back = if is_tmp { chdir("/tmp") } else { fchdir(here) };
    Ok(back?)
}

/// Better no workload than one that can reach what it must not.
fn check() -> Result<(), String> {
    let mounts = read_mounts().map_err(|error| error.to_string())?;
    match mounts.iter().find(|mount| STEERING.contains(&mount.kind.as_str())) {
        None => Ok(()),
        Some(left) => Err(format!(
            "{} at {} could not be hidden: unmount it, or mount it under /sys",
            left.kind,
            left.target.display()
        )),
    }
}
