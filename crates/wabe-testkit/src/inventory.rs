//! What is on this machine that a mesh could have left behind.

use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{NetworkNamespace, system};

mod bpf;
mod netlink;

/// One thing: its kind, and what tells it from others of its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thing {
    /// `network namespace`, `cgroup`, `bpf program`, `bpf map`, `bpf link`, `interface`, `mount`, `process`, `route`,
    /// `rule` or `nft table`.
    pub kind: &'static str,
    /// A number and name as the kernel has them.
    pub what: String,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.what)
    }
}

/// All that was there at one moment. BPF objects, namespaces, cgroups, mounts and processes are the whole machine's;
/// interfaces, routes, rules and tables those of one network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    things: BTreeSet<Thing>,
}

impl Inventory {
    /// Counts, with the interfaces and so on of the network namespace that this thread is in.
    ///
    /// # Panics
    /// Without root.
    pub fn take() -> Self {
        let mut things = BTreeSet::new();
        let mut add =
            |kind, all: Vec<String>| things.extend(all.into_iter().map(|what| Thing { kind, what }));
        add("network namespace", network_namespaces());
        add("cgroup", cgroups());
        add("bpf program", bpf::programs());
        add("bpf map", bpf::maps());
        add("bpf link", bpf::links());
        add("mount", mounts());
        add("process", processes());
        add("interface", interfaces());
        add("route", netlink::routes());
        add("rule", netlink::rules());
        add("nft table", netlink::nft_tables());
        Self { things }
    }

    /// Counts, with the interfaces and so on of this network namespace.
    ///
    /// # Panics
    /// Without root.
    pub fn take_in(namespace: &NetworkNamespace) -> Self {
        namespace.run(Self::take)
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: &str) -> usize {
        self.of_kind(kind).count()
    }

    /// Those of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Thing> {
        self.things.iter().filter(move |thing| thing.kind == kind)
    }

    /// What came (`+`) and what went (`-`) between two counts; empty if all is as it was.
    pub fn diff(before: &Self, after: &Self) -> Vec<String> {
        let came = after.things.difference(&before.things).map(|thing| format!("+ {thing}"));
        let gone = before.things.difference(&after.things).map(|thing| format!("- {thing}"));
        came.chain(gone).collect()
    }

    /// What is there in `namespace` that was not there before, once the kernel has had time to free what nobody holds:
    /// it counts again until nothing is left over or `patience` ends.
    ///
    /// Other tests that run at the same time are seen too: let tests that ask for this run alone.
    pub fn left_over(&self, namespace: &NetworkNamespace, patience: Duration) -> Vec<String> {
        let deadline = Instant::now() + patience;
        loop {
            let mut left = Self::diff(self, &Self::take_in(namespace));
            left.retain(|line| line.starts_with('+'));
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Those that a process is in or has open, and those that are mounted.
fn network_namespaces() -> Vec<String> {
    let mut found = BTreeSet::new();
    for pid in system::processes() {
        let process = Path::new("/proc").join(pid.to_string());
        let descriptors =
            system::names_in(&process.join("fd")).into_iter().map(|name| process.join("fd").join(name));
        for link in descriptors.chain([process.join("ns/net")]) {
            // Gone if the process, or the descriptor, is.
            found.extend(std::fs::read_link(link).ok().and_then(|it| it.to_str().map(String::from)));
        }
    }
    found.extend(system::mounts().into_iter().filter(|it| it.kind == "nsfs").map(|it| it.root));
    found.into_iter().filter(|link| link.starts_with("net:[")).collect()
}

fn cgroups() -> Vec<String> {
    let root = system::cgroup_root();
    let of_meshes = system::folders_named(&root, &|name| name.starts_with("wabe"));
    let all = of_meshes.iter().flat_map(|it| system::innermost_first(it));
    all.map(|path| path.display().to_string()).collect()
}

fn mounts() -> Vec<String> {
    let ours = system::mounts().into_iter().filter(|it| it.point.starts_with("/run/wabe"));
    ours.map(|it| format!("{} {}", it.kind, it.point.display())).collect()
}

/// Processes of the mesh and its tests' programs.
fn processes() -> Vec<String> {
    let named = system::processes().into_iter().map(|pid| (pid, system::process_name(pid)));
    let ours = named.filter(|(_, name)| name == "wabe" || name.starts_with("wabe-"));
    ours.map(|(pid, name)| format!("{pid} {name}")).collect()
}

fn interfaces() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").expect("invariant: /proc is mounted");
    table
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}
