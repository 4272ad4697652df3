//! BPF objects, by the ids that the kernel hands out. No crate and no tool: one that is asked about leaks is better
//! not in the way.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use crate::system::check;

/// `<id> <name>` of all loaded programs.
pub(super) fn programs() -> Vec<String> {
    // struct bpf_prog_info: the name is at 64.
    list(Commands { next: 11, open: 13 }, |info| name(info, 64))
}

/// `<id> <name>` of all maps.
pub(super) fn maps() -> Vec<String> {
    // struct bpf_map_info: the name is at 24.
    list(Commands { next: 12, open: 14 }, |info| name(info, 24))
}

/// `<id> of program <id>` of all links.
pub(super) fn links() -> Vec<String> {
    // struct bpf_link_info: type, id, program.
    list(Commands { next: 31, open: 30 }, |info| {
        let program = u32::from_ne_bytes([info[8], info[9], info[10], info[11]]);
        format!("of program {program}")
    })
}

/// BPF_*_GET_NEXT_ID and BPF_*_GET_FD_BY_ID.
struct Commands {
    next: libc::c_int,
    open: libc::c_int,
}

const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const INFO: usize = 256;

fn list(commands: Commands, describe: impl Fn(&[u8; INFO]) -> String) -> Vec<String> {
    let mut found = Vec::new();
    let mut id = 0;
    while let Some(next) = next_id(commands.next, id) {
        id = next;
        // Freed in between: then it is not there.
        if let Ok(info) = info(commands.open, id) {
            found.push(format!("{id} {}", describe(&info)));
        }
    }
    found
}

fn next_id(command: libc::c_int, id: u32) -> Option<u32> {
    let mut attributes = [id, 0, 0];
    match bpf(command, &mut attributes) {
        Ok(_) => Some(attributes[1]),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
        Err(error) => panic!("can't list BPF objects ({error}): run live tests as root"),
    }
}

fn info(open: libc::c_int, id: u32) -> io::Result<[u8; INFO]> {
    let descriptor = bpf(open, &mut [id, 0, 0])?;
    let descriptor = i32::try_from(descriptor).expect("invariant: descriptors are ints");
    // SAFETY: the descriptor was just made and nobody else has it.
    let object = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let mut info = [0_u8; INFO];
    let address = (&raw mut info) as u64;
    let [low, high] = split(address);
    let descriptor = object.as_raw_fd().cast_unsigned();
    bpf(OBJ_GET_INFO_BY_FD, &mut [descriptor, u32::try_from(INFO).expect("invariant: small"), low, high])?;
    Ok(info)
}

/// A 64-bit field as the two words it lies in.
fn split(value: u64) -> [u32; 2] {
    let bytes = value.to_ne_bytes();
    let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4)]
}

fn bpf<const WORDS: usize>(command: libc::c_int, attributes: &mut [u32; WORDS]) -> io::Result<libc::c_long> {
    // The kernel reads the 64-bit field at 8 by copying: no alignment is asked of the caller.
    // SAFETY: the kernel reads and writes no more than the size that it is told, and the one address in there is of a
    // buffer that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(attributes)) })
}

fn name(info: &[u8; INFO], at: usize) -> String {
    let name = CStr::from_bytes_until_nul(&info[at..at + 16]);
    name.map(|it| it.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BPF_MAP_CREATE of an array of one word, with a name.
    fn make_map() -> OwnedFd {
        let mut attributes = [2, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0];
        for (at, four) in b"testkit_leak\0\0\0\0".chunks_exact(4).enumerate() {
            attributes[7 + at] = u32::from_ne_bytes([four[0], four[1], four[2], four[3]]);
        }
        let descriptor = bpf(0, &mut attributes).expect("root may make maps");
        // SAFETY: the descriptor was just made and nobody else has it.
        unsafe { OwnedFd::from_raw_fd(i32::try_from(descriptor).expect("an int")) }
    }

    #[test]
    fn sees_a_map_by_name_while_it_is_held() {
        let ours = || maps().iter().filter(|it| it.ends_with(" testkit_leak")).count();
        let before = ours();
        let map = make_map();
        assert_eq!(ours(), before + 1);
        drop(map);
    }
}
