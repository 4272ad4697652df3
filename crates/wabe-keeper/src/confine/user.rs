//! Users by name or number.

use std::{fs, os::fd::BorrowedFd};

use rustix::{
    fs::{Gid, Uid, fchown},
    thread::{set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

const PASSWD: &str = "/etc/passwd";

/// The first of the numbers that are kept for processes of meshes: "Wb" and 16 bits. No workload may be one of these users.
const RESERVED: u32 = 0x5762_0000;
/// How many there are.
const COUNT: u32 = 1 << 16;

/// Whom a process runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

/// The user that a process of a mesh has for itself, so that nobody can signal it, or look into it, who merely runs as the same
/// user as others do. Derived from the mesh's name; should the machine know that user, the next one.
pub(crate) fn of_role(mesh: &str, role: &str) -> String {
    let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
    of_role_beside(mesh, role, &passwd).to_string()
}

fn of_role_beside(mesh: &str, role: &str, passwd: &str) -> u32 {
    let taken: Vec<u32> = passwd.lines().filter_map(parse).map(|(_, user)| user.uid).collect();
    let first = fnv(&[mesh, "/", role]) % COUNT;
    let candidates = (0..COUNT).map(|step| RESERVED + (first + step) % COUNT);
    candidates.into_iter().find(|uid| !taken.contains(uid)).unwrap_or(RESERVED + first)
}

/// Whether a user, by name or number, is kept for processes of meshes.
pub(crate) fn is_reserved(user: &str) -> bool {
    let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
    find(user, &passwd).is_ok_and(|user| (RESERVED..RESERVED + COUNT).contains(&user.uid))
}

/// FNV-1a: the same in every version.
fn fnv(words: &[&str]) -> u32 {
    let bytes = words.iter().flat_map(|word| word.bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The user of this name or number, with its primary group.
pub(super) fn resolve(user: &str) -> Result<User, String> {
    let passwd = fs::read_to_string(PASSWD).map_err(|error| format!("can't read {PASSWD}: {error}"));
    match passwd {
        Ok(passwd) => find(user, &passwd),
        // A number needs no file.
        Err(problem) => find(user, "").map_err(|_| problem),
    }
}

fn find(user: &str, passwd: &str) -> Result<User, String> {
    let number = user.parse::<u32>().ok();
    // The kernel's "leave it as it is".
    if number == Some(u32::MAX) {
        return Err(format!("user {user} can't be: the highest number is {}", u32::MAX - 1));
    }
    let entry = passwd.lines().filter_map(parse).find(|(name, found)| match number {
        Some(uid) => found.uid == uid,
        None => *name == user,
    });
    match (entry, number) {
        (Some((_, found)), _) => Ok(found),
        // Not group 0, which would own more than the user.
        (None, Some(uid)) => Ok(User { uid, gid: uid }),
        (None, None) => {
            Err(format!("user {user} does not exist: write one that {PASSWD} knows, or a number"))
        }
    }
}

fn parse(line: &str) -> Option<(&str, User)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some((name, User { uid, gid }))
}

impl User {
    pub(super) fn is_root(self) -> bool {
        self.uid == 0
    }

    /// Gives it what the descriptor names.
    pub(super) fn own(self, descriptor: BorrowedFd<'_>) -> Result<(), String> {
        fchown(descriptor, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
            .map_err(|error| format!("can't give it its output: {error}"))
    }

    /// Makes this process the user's. Capabilities are kept, to be reduced later. The process must have one thread:
    /// the system calls are for threads.
    pub(super) fn become_it(self) -> Result<(), String> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_keep_capabilities(true)
            .and_then(|()| set_thread_groups(&[gid]))
            .and_then(|()| set_thread_res_gid(gid, gid, gid))
            .and_then(|()| set_thread_res_uid(uid, uid, uid))
            .and_then(|()| set_keep_capabilities(false))
            .map_err(|error| format!("can't become user {}: {error}", self.uid))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    const SOME: &str = "root:x:0:0:root:/root:/bin/bash\nbroken line\nwww:x:33:34:www:/var/www:/bin/false\n\
                        1234:x:77:78::/:/bin/false\n";

    #[test]
    fn finds_names_and_numbers() {
        assert_eq!(find("www", SOME), Ok(User { uid: 33, gid: 34 }));
        assert_eq!(find("33", SOME), Ok(User { uid: 33, gid: 34 }));
        assert_eq!(find("0", SOME), Ok(User { uid: 0, gid: 0 }));
    }

    #[test]
    fn a_role_has_a_user_of_its_own_that_the_machine_does_not_know() {
        let proxy = of_role_beside("default", "proxy", SOME);
        assert!((0x5762_0000..0x5763_0000).contains(&proxy));
        assert_eq!(of_role_beside("default", "proxy", SOME), proxy);
        assert_ne!(of_role_beside("other", "proxy", SOME), proxy);
        let known = format!("{SOME}somebody:x:{proxy}:{proxy}::/:/bin/sh\n");
        assert_eq!(
            of_role_beside("default", "proxy", &known),
            0x5762_0000 + (proxy - 0x5762_0000 + 1) % 65_536
        );
        assert!(is_reserved(&proxy.to_string()) && is_reserved("1466040320") && is_reserved("1466105855"));
        assert!(!is_reserved("1466040319") && !is_reserved("1466105856") && !is_reserved("nobody"));
    }

    #[test]
    fn an_unknown_number_is_a_user_with_a_group_of_its_own() {
        assert_eq!(find("4711", SOME), Ok(User { uid: 4711, gid: 4711 }));
    }

    #[test]
    fn digits_are_a_number_even_if_somebody_is_called_so() {
        assert_eq!(find("1234", SOME), Ok(User { uid: 1234, gid: 1234 }));
    }

    #[test]
    fn refuses_unknown_names_and_the_number_that_means_none() {
        assert!(find("nosuch", SOME).unwrap_err().contains("does not exist"));
        assert!(find("", SOME).is_err());
        assert!(find("-1", SOME).is_err());
        assert!(find("4294967295", SOME).unwrap_err().contains("can't be"));
    }
}
