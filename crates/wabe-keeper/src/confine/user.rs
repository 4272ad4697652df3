//! Users by name or number.

use std::{fs, os::fd::BorrowedFd};

use rustix::{
    fs::{Gid, Uid, fchown},
    thread::{set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

const PASSWD: &str = "/etc/passwd";

/// Whom a process runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    uid: u32,
    gid: u32,
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
