//! Who is who among the processes of a machine.

use std::{collections::BTreeMap, fs, ops::Range};

use super::{class::Class, crypto, look::Frame};
use crate::tools::Tool;

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A proxy on the way of requests, of the client or of the server.
    Proxy,
    /// Answers requests.
    Server,
    /// Sends requests, and is none of ours.
    Client,
    /// Our load generator.
    Generator,
}

impl Role {
    /// By the words of [`crate::results::Process::role`]; `None` for processes that are on no request's way, as `agent`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "server" => Some(Self::Server),
            "client" => Some(Self::Client),
            "generator" => Some(Self::Generator),
            _ if name.ends_with("sidecar") || name.ends_with("proxy") => Some(Self::Proxy),
            _ => None,
        }
    }

    pub(super) fn class(self) -> Class {
        match self {
            Self::Proxy => Class::Proxy,
            Self::Server => Class::Server,
            Self::Client => Class::Client,
            Self::Generator => Class::Generator,
        }
    }
}

/// Who is who.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    by_process: BTreeMap<u32, Role>,
    /// Names of the files of programs without names of functions, and where they encrypt.
    crypto: BTreeMap<String, Range<u64>>,
}

impl Roles {
    /// These processes, each with all of its threads.
    #[must_use]
    pub fn new(processes: &[(u32, Role)]) -> Self {
        Self { by_process: processes.iter().copied().collect(), crypto: BTreeMap::new() }
    }

    /// These processes and all that they have started and still have: nginx answers in a child.
    #[must_use]
    pub fn with_children(processes: &[(u32, Role)]) -> Self {
        let children = children();
        let mut roles = Self::new(processes);
        let mut open = processes.to_vec();
        while let Some((parent, role)) = open.pop() {
            for child in children.get(&parent).into_iter().flatten() {
                // Who has a role of its own keeps it.
                if !roles.by_process.contains_key(child) {
                    roles.by_process.insert(*child, role);
                    open.push((*child, role));
                }
            }
        }
        roles
    }

    /// Makes the TLS of this Envoy known. False if it is another program than that whose places are known: what such a one
    /// encrypts is told as a part of the proxy.
    pub fn know_envoy(&mut self, envoy: &Tool) -> bool {
        let Some(place) = crypto::of_program(&envoy.sha256) else { return false };
        // A workload of a mesh may have it at another path.
        let name = envoy.path.file_name().unwrap_or_default();
        self.crypto.insert(name.to_string_lossy().into_owned(), place);
        true
    }

    /// The processes that have a role.
    pub fn processes(&self) -> impl Iterator<Item = u32> + '_ {
        self.by_process.keys().copied()
    }

    pub(super) fn of(&self, process: u32) -> Option<Role> {
        self.by_process.get(&process).copied()
    }

    /// Whether a function encrypts, by its place.
    pub(super) fn is_crypto(&self, frame: &Frame) -> bool {
        let name = frame.object.as_deref().and_then(|object| object.rsplit('/').next());
        let place = name.and_then(|name| self.crypto.get(name));
        place.is_some_and(|place| place.contains(&frame.address))
    }
}

/// Which processes each has started. Those that end meanwhile are left out.
fn children() -> BTreeMap<u32, Vec<u32>> {
    let mut all: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // After the name, which may hold anything: state, parent.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|it| it.parse().ok()) {
            all.entry(parent).or_default().push(process);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_results_name_roles() {
        for (name, role) in [
            ("client-sidecar", Some(Role::Proxy)),
            ("server-sidecar", Some(Role::Proxy)),
            ("proxy", Some(Role::Proxy)),
            ("server", Some(Role::Server)),
            ("client", Some(Role::Client)),
            ("generator", Some(Role::Generator)),
            ("agent", None),
        ] {
            assert_eq!(Role::named(name), role, "{name}");
        }
    }

    #[test]
    fn a_child_has_its_parents_role_unless_it_has_its_own() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let (us, it) = (std::process::id(), child.id());
        assert_eq!(Roles::with_children(&[(us, Role::Server)]).of(it), Some(Role::Server));
        let both = Roles::with_children(&[(us, Role::Server), (it, Role::Client)]);
        assert_eq!(both.of(it), Some(Role::Client));
        assert_eq!(Roles::new(&[(us, Role::Server)]).of(it), None);
        child.kill().and_then(|()| child.wait()).expect("ended");
    }
}
