//! What the kernel says about mounts, cgroups and processes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The part of the file system that is mounted; for namespaces `net:[number]`.
    pub(crate) root: String,
    /// Where.
    pub(crate) point: PathBuf,
    /// `cgroup2`, `bpf`, ...
    pub(crate) kind: String,
}

/// All mounts that this process sees, in the order they were made.
pub(crate) fn mounts() -> Vec<Mount> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("invariant: /proc is mounted");
    text.lines().filter_map(parse_mount).collect()
}

/// Where cgroup v2 is mounted.
pub(crate) fn cgroup_root() -> PathBuf {
    let mount = mounts().into_iter().find(|it| it.kind == "cgroup2");
    mount.expect("cgroup v2 is not mounted; mount it: mount -t cgroup2 none /sys/fs/cgroup").point
}

/// Folders anywhere below `root` whose name fits, outermost first; nothing below a fitting one.
pub(crate) fn folders_named(root: &Path, fits: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders_in(root) {
        if folder.file_name().and_then(|it| it.to_str()).is_some_and(fits) {
            found.push(folder);
        } else {
            found.extend(folders_named(&folder, fits));
        }
    }
    found
}

/// The folder and all below it, innermost first: the order in which cgroups can be removed.
pub(crate) fn innermost_first(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = folders_in(folder).iter().flat_map(|it| innermost_first(it)).collect();
    all.push(folder.to_owned());
    all
}

/// Ids of all processes.
pub(crate) fn processes() -> Vec<u32> {
    names_in(Path::new("/proc")).iter().filter_map(|name| name.parse().ok()).collect()
}

/// The arguments of a process, empty if it is gone.
pub(crate) fn arguments(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|it| String::from_utf8_lossy(it).into_owned()).collect()
}

/// The short name of a process, empty if it is gone.
pub(crate) fn process_name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// Names in a folder; none if it can't be read, as when its process just ended.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The outcome of a system call that says -1 for failure.
pub(crate) fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// `id parent major:minor root point options [optional...] - kind source options`, see proc_pid_mountinfo(5).
fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (left.next()?, left.next()?);
    Some(Mount {
        root: unescape(root),
        point: unescape(point).into(),
        kind: right.split(' ').next()?.to_owned(),
    })
}

/// Blank, tab, line end and backslash are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split('\\');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(&part[3..]);
            }
            None => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mountinfo_with_optional_fields_and_escapes() {
        let line = r"31 23 0:27 / /mnt/a\040b\134c rw,nosuid shared:9 master:1 - cgroup2 none rw";
        let mount = parse_mount(line).expect("a mount");
        let point = PathBuf::from(r"/mnt/a b\c");
        assert_eq!(mount, Mount { root: "/".into(), point, kind: "cgroup2".into() });
    }

    #[test]
    fn lists_folders_in_an_order_that_can_be_removed() {
        let root = tempfile::tempdir().expect("a folder");
        let mesh = root.path().join("x/wabe-t-1-0");
        fs::create_dir_all(mesh.join("a/b")).expect("folders");
        assert_eq!(
            folders_named(root.path(), &|name| name.starts_with("wabe-")),
            std::slice::from_ref(&mesh)
        );
        for folder in innermost_first(&mesh) {
            fs::remove_dir(folder).expect("empty when its turn comes");
        }
        assert!(!mesh.exists());
    }
}
