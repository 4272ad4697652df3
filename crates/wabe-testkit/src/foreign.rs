//! Somebody else's eBPF program on a cgroup.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use crate::system::check;

const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
/// `BPF_PROG_TYPE_CGROUP_SOCK`, and its `BPF_CGROUP_INET_SOCK_CREATE`.
const CGROUP_SOCK: u32 = 9;
const SOCK_CREATE: u32 = 2;
/// `r0 = 1; exit`: sockets may be made.
const ALLOW: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];

/// A program that lets all sockets be made; detached when dropped.
#[derive(Debug)]
pub struct ForeignProgram {
    _link: OwnedFd,
}

/// The beginning of `bpf_attr` of `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

/// The beginning of `bpf_attr` of `BPF_LINK_CREATE`.
#[repr(C)]
struct Link {
    program: u32,
    target: u32,
    attach: u32,
    flags: u32,
}

impl ForeignProgram {
    /// Attaches one of this name (at most 15 letters) to a cgroup.
    ///
    /// # Errors
    /// Without root, or if the cgroup is not there.
    pub fn attach(name: &str, cgroup: &Path) -> io::Result<Self> {
        let mut load = Load {
            kind: CGROUP_SOCK,
            instructions: ALLOW.len() as u32,
            code: ALLOW.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel: 0,
            flags: 0,
            name: [0; 16],
            interface: 0,
            attach: SOCK_CREATE,
        };
        load.name[..name.len()].copy_from_slice(name.as_bytes());
        let program = bpf(PROG_LOAD, &load)?;
        let folder = File::open(cgroup)?;
        let link = Link {
            program: program.as_raw_fd() as u32,
            target: folder.as_raw_fd() as u32,
            attach: SOCK_CREATE,
            flags: 0,
        };
        Ok(Self { _link: bpf(LINK_CREATE, &link)? })
    }
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are those of the command, and live through the call, as does what they point to.
    let made = check(unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    })?;
    // SAFETY: the kernel has just made this descriptor for us; a descriptor fits an `i32`.
    Ok(unsafe { OwnedFd::from_raw_fd(made as i32) })
}
