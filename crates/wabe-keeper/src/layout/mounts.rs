//! The file systems that a mesh needs: cgroup v2, which it finds, and a bpffs, which it mounts.

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use rustix::mount::MountFlags;

use super::{LayoutError, Mesh};

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Where cgroup v2 is mounted, from the mount table.
///
/// # Errors
/// [`LayoutError::NoCgroup2`] if it isn't.
pub fn find_cgroup2() -> Result<PathBuf, LayoutError> {
    cgroup2_and_level().map(|(path, _)| path)
}

/// Where cgroup v2 is mounted, and how deep in the tree of cgroups that is: 0 unless a part of it is mounted.
pub(super) fn cgroup2_and_level() -> Result<(PathBuf, u32), LayoutError> {
    let mount = read_mounts()?
        .into_iter()
        .filter(|mount| mount.kind == "cgroup2")
        .min_by_key(Mount::depth)
        .ok_or(LayoutError::NoCgroup2)?;
    let level = mount.depth();
    Ok((mount.target, level))
}

/// Everything that is mounted on or below a folder, the innermost and latest first: the order to unmount in.
///
/// # Errors
/// If the mount table can't be read.
pub fn mounts_below(folder: &Path) -> Result<Vec<PathBuf>, LayoutError> {
    let mounts = read_mounts()?.into_iter().rev();
    Ok(mounts.map(|mount| mount.target).filter(|target| target.starts_with(folder)).collect())
}

/// Whether a bpffs is mounted here.
pub fn bpffs_at(path: &Path) -> bool {
    // The type of `f_type` differs between architectures.
    #[expect(clippy::useless_conversion, reason = "not on every architecture")]
    rustix::fs::statfs(path).is_ok_and(|it| i64::try_from(it.f_type).is_ok_and(|it| it == BPF_FS_MAGIC))
}

/// Mounts the mesh's own bpffs, for root only. No error if it is mounted already.
///
/// # Errors
/// If the folder can't be made or the kernel refuses the mount.
pub fn mount_bpffs(mesh: &Mesh) -> Result<(), LayoutError> {
    let path = mesh.bpf_dir();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .map_err(LayoutError::file("make", &path))?;
    if bpffs_at(&path) {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("bpf", &path, "bpf", flags, c"mode=0700")
        .map_err(|error| LayoutError::file("mount a bpffs on", &path)(error.into()))
}

/// A line of the mount table.
pub(crate) struct Mount {
    /// The folder of the file system that is mounted.
    root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) kind: String,
}

impl Mount {
    fn depth(&self) -> u32 {
        self.root.components().count().saturating_sub(1).try_into().unwrap_or(u32::MAX)
    }
}

/// All mounts of this thread, oldest first.
pub(crate) fn read_mounts() -> Result<Vec<Mount>, LayoutError> {
    let path = Path::new("/proc/thread-self/mountinfo");
    let table = fs::read(path).map_err(LayoutError::file("read", path))?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(parse_mount).collect())
}

/// `36 35 98:0 /root /target options optional... - kind source options`, see proc_pid_mountinfo(5).
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (root, target) = (fields.nth(3)?, fields.next()?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let path = |field| PathBuf::from(OsString::from_vec(unescape(field)));
    Some(Mount { root: path(root), target: path(target), kind: String::from_utf8_lossy(kind).into_owned() })
}

/// Space, tab, newline and backslash are written as `\` and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.first_chunk::<3>().filter(|_| *first == b'\\');
        let number = escaped.and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 8).ok());
        match number {
            Some(byte) => {
                text.push(byte);
                rest = &after[3..];
            }
            None => {
                text.push(*first);
                rest = after;
            }
        }
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_mount_table_is_understood() {
        let line = br"41 31 0:38 / /sys/fs/a\040b rw,relatime shared:5 master:1 - cgroup2 none rw";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.target, Path::new("/sys/fs/a b"));
        assert_eq!((mount.kind.as_str(), mount.depth()), ("cgroup2", 0));
        let part = parse_mount(b"41 31 0:38 /a/b /c rw - cgroup2 none rw").unwrap();
        assert_eq!(part.depth(), 2);
        assert!(parse_mount(b"").is_none());
    }

    #[test]
    fn a_backslash_that_escapes_nothing_stays() {
        assert_eq!(unescape(br"a\b\134c\09"), br"a\b\c\09");
    }

    #[test]
    fn proc_is_no_bpffs_and_has_mounts() {
        assert!(!bpffs_at(Path::new("/proc")));
        let mounts = mounts_below(Path::new("/proc")).unwrap();
        assert!(mounts.iter().any(|it| it == Path::new("/proc")), "{mounts:?}");
    }
}
