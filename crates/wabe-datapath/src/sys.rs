//! The few `bpf(2)` calls that aya does not offer, and what else no crate here offers.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;
const BPF_MAP_DELETE_BATCH: libc::c_long = 27;
const BPF_LINK_UPDATE: libc::c_long = 29;

/// `bpf_attr` of `BPF_OBJ_GET`.
#[repr(C)]
struct ObjectGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// `bpf_attr` of `BPF_LINK_UPDATE`.
#[repr(C)]
struct LinkUpdate {
    link: u32,
    new_program: u32,
    flags: u32,
    old_program: u32,
}

/// `bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct ObjectInfo {
    fd: u32,
    length: u32,
    info: u64,
}

/// `bpf_link_info` of links to cgroups, network namespaces and interfaces.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    /// A cgroup's id; or in the first half the inode of a network namespace, or an interface's index.
    target: [u32; 2],
    more: [u32; 8],
}

/// `bpf_attr` of `BPF_PROG_QUERY`.
#[repr(C)]
#[derive(Default)]
struct ProgramQuery {
    target: u32,
    hook: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    padding: u32,
    program_attach_flags: u64,
    links: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// `bpf_attach_type` of the hooks of a cgroup that the mesh uses: ingress is not among them.
pub(crate) const CGROUP_HOOKS: [u32; 12] = [1, 2, 3, 10, 11, 14, 15, 19, 20, 29, 30, 34];

/// The number of what a link is attached to; 0 if that is gone, or the link was detached.
pub(crate) fn link_target(link: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = LinkInfo::default();
    let attributes = ObjectInfo {
        fd: link.as_raw_fd() as u32,
        length: size_of::<LinkInfo>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: the attributes are those of this command and live through the call, as does what they point to, which is
    // as long as they say.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw const attributes, size_of::<ObjectInfo>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    /// `BPF_LINK_TYPE_CGROUP`.
    const CGROUP: u32 = 3;
    let [low, high] = info.target.map(u64::from);
    Ok(if info.kind == CGROUP { low | high << 32 } else { low })
}

/// Ids of the programs that are attached to a hook of a cgroup, at most 64.
pub(crate) fn attached_programs(cgroup: BorrowedFd<'_>, hook: u32) -> io::Result<Vec<u32>> {
    let mut programs = [0_u32; 64];
    let mut attributes = ProgramQuery {
        target: cgroup.as_raw_fd() as u32,
        hook,
        programs: programs.as_mut_ptr() as u64,
        count: programs.len() as u32,
        ..ProgramQuery::default()
    };
    // SAFETY: the attributes are those of this command and live through the call; the kernel writes at most `count`
    // ids.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut attributes, size_of::<ProgramQuery>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(programs[..(attributes.count as usize).min(programs.len())].to_vec())
}

/// Opens a pinned object. aya's `PinnedLink` gives no file descriptor away.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let attributes = ObjectGet { path: name.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the attributes live through the call and are those of this command; `name` ends with NUL.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const attributes, size_of::<ObjectGet>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; a descriptor fits an `i32`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Puts another program into a live link, without a moment in which none is attached.
pub(crate) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = LinkUpdate {
        link: link.as_raw_fd() as u32,
        new_program: program.as_raw_fd() as u32,
        flags: 0,
        old_program: 0,
    };
    // SAFETY: the attributes live through the call and are those of this command.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_UPDATE, &raw const attributes, size_of::<LinkUpdate>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `bpf_attr` of the commands for many rows at once.
#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Where a dump goes on: a place in a map, which only the kernel understands. Never longer than a key of ours.
pub(crate) type Place = [u8; 64];

/// Writes rows whose keys and values lie one behind the other. Says how many were written, also when one failed.
pub(crate) fn update_batch(
    map: BorrowedFd<'_>,
    count: u32,
    keys: &[u8],
    values: &[u8],
) -> (u32, io::Result<()>) {
    let mut attributes = Batch {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count,
        map: map.as_raw_fd() as u32,
        ..Batch::default()
    };
    let result = batch(BPF_MAP_UPDATE_BATCH, &mut attributes);
    (done(&attributes, count, &result), result)
}

/// Removes rows; stops at the first that is not there (`ENOENT`). Says how many were removed.
pub(crate) fn delete_batch(map: BorrowedFd<'_>, count: u32, keys: &[u8]) -> (u32, io::Result<()>) {
    let mut attributes =
        Batch { keys: keys.as_ptr() as u64, count, map: map.as_raw_fd() as u32, ..Batch::default() };
    let result = batch(BPF_MAP_DELETE_BATCH, &mut attributes);
    (done(&attributes, count, &result), result)
}

/// Reads up to `count` rows, from `from` or the beginning, and says how many there were and where to go on. `ENOENT`
/// comes with the last ones, `ENOSPC` if a bucket has more rows than `count`.
pub(crate) fn lookup_batch(
    map: BorrowedFd<'_>,
    from: Option<&Place>,
    next: &mut Place,
    count: u32,
    keys: &mut [u8],
    values: &mut [u8],
) -> (u32, io::Result<()>) {
    let mut attributes = Batch {
        in_batch: from.map_or(0, |place| place.as_ptr() as u64),
        out_batch: next.as_mut_ptr() as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count,
        map: map.as_raw_fd() as u32,
        ..Batch::default()
    };
    let result = batch(BPF_MAP_LOOKUP_BATCH, &mut attributes);
    let found = match &result {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => 0,
        Ok(()) | Err(_) => attributes.count.min(count),
    };
    (found, result)
}

fn batch(command: libc::c_long, attributes: &mut Batch) -> io::Result<()> {
    // SAFETY: the attributes are those of these commands and live through the call; what they point to is as long as
    // `count` rows of the map, which the callers in `batch.rs` take from the map's own sizes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<Batch>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A kernel that refuses the command as such leaves `count` as it was.
fn done(attributes: &Batch, asked: u32, result: &io::Result<()>) -> u32 {
    match result {
        Ok(()) => asked,
        Err(error) if is_unsupported(error) => 0,
        Err(_) => attributes.count.min(asked.saturating_sub(1)),
    }
}

/// Whether the kernel, or this kind of map, has no such command.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    /// `ENOTSUPP`, which is the kernel's own and has no name in libc.
    const ENOTSUPP: i32 = 524;
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}

/// The index of an interface of the current network namespace.
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: `name` ends with NUL and lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// The version of Landlock that the kernel has; negative if none.
pub(crate) fn landlock_version() -> i32 {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel takes no memory and makes nothing; it answers with a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    version as i32
}

/// The name of an interface of the current network namespace.
pub(crate) fn interface_name(index: u32) -> io::Result<String> {
    let mut buffer = [0u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the function asks for.
    let name = unsafe { libc::if_indextoname(index, buffer.as_mut_ptr().cast()) };
    if name.is_null() {
        return Err(io::Error::last_os_error());
    }
    let length = buffer.iter().position(|byte| *byte == 0).unwrap_or(buffer.len());
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
