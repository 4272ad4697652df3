//! Two pods on a bridge, with a cgroup for each group of processes.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use wabe_lab_datapath::{Limits, Pods, Redirection, listener_of};

use crate::role::Running;

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 123, 0, 1);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 123, 0, 2);
/// Nobody has it; what is sent there from outside the application's cgroup is lost.
pub const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 123, 9, 9);
pub const PORT: u16 = 8080;
pub const OUTBOUND: u16 = 15001;
pub const INBOUND: u16 = 15006;
const PREFIX: &str = "wabe-lab-test-";
const NAMESPACES: [&str; 3] = ["wabe-lab-test-node", "wabe-lab-test-client", "wabe-lab-test-server"];
const GROUPS: [&str; 5] = ["client-app", "client-proxy", "server-app", "server-proxy", "outside"];

static TURN: Mutex<()> = Mutex::new(());

/// Gone when dropped, with all processes in it.
pub struct Scene {
    pub cgroup: PathBuf,
    _lock: File,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    pub fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = File::create("/run/wabe-lab-test.lock").expect("live tests need root");
        lock.lock().expect("a lock");
        let cgroup = cgroup2().join("wabe-lab-test-arm");
        remove(&cgroup);
        fs::create_dir(&cgroup).expect("cgroup");
        for group in GROUPS {
            fs::create_dir(cgroup.join(group)).expect("cgroup");
        }
        for namespace in NAMESPACES {
            ip(&format!("netns add {namespace}"));
            ip(&format!("-n {namespace} link set lo up"));
        }
        ip("-n wabe-lab-test-node link add br0 type bridge forward_delay 0");
        ip("-n wabe-lab-test-node link set br0 up");
        for (namespace, address) in [("wabe-lab-test-client", CLIENT), ("wabe-lab-test-server", SERVER)] {
            let port = &namespace[PREFIX.len()..];
            ip(&format!("-n wabe-lab-test-node link add {port} type veth peer name eth0 netns {namespace}"));
            ip(&format!("-n wabe-lab-test-node link set {port} up master br0"));
            ip(&format!("-n {namespace} link set eth0 up"));
            ip(&format!("-n {namespace} addr add {address}/16 dev eth0"));
        }
        Self { cgroup, _lock: lock, _turn: turn }
    }

    pub fn group(&self, name: &str) -> PathBuf {
        self.cgroup.join(name)
    }

    pub fn server_netns(&self) -> File {
        File::open("/run/netns/wabe-lab-test-server").expect("namespace")
    }

    /// A program of ours in a group, in the client's or the server's namespace by its name.
    pub fn start(&self, group: &str, arguments: &str) -> Running {
        let namespace = if group.starts_with("server") { NAMESPACES[2] } else { NAMESPACES[1] };
        Running::start(&self.group(group), namespace, arguments)
    }

    /// Both relays and the workload, listening.
    pub fn sidecars(&self) -> Sidecars {
        let app = self.start("server-app", &format!("echo {PORT}"));
        let outbound = self.start("client-proxy", &format!("relay 127.0.0.1:{OUTBOUND} {SERVER}:{PORT}"));
        let inbound = self.start("server-proxy", &format!("relay 0.0.0.0:{INBOUND} 127.0.0.1:{PORT}"));
        for (running, what) in [(&app, "echo"), (&outbound, "relay"), (&inbound, "relay")] {
            assert_eq!(running.line(), format!("{what} listens"));
        }
        Sidecars { app, outbound, inbound }
    }

    pub fn redirect(&self, sidecars: &Sidecars, sockmap: bool, limits: Limits) -> Redirection {
        let netns = self.server_netns();
        let inbound_listener = listener_of(sidecars.inbound.pid(), INBOUND).expect("the relay listens");
        let pods = Pods {
            client_app: &self.group("client-app"),
            client_proxy: &self.group("client-proxy"),
            server_app: &self.group("server-app"),
            server_proxy: &self.group("server-proxy"),
            server_netns: std::os::fd::AsFd::as_fd(&netns),
            server_address: SERVER,
            server_port: PORT,
            inbound_listener,
            sockmap,
            limits,
        };
        Redirection::attach(&pods).unwrap_or_else(|error| panic!("{error:?}"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        remove(&self.cgroup);
    }
}

pub struct Sidecars {
    pub app: Running,
    pub outbound: Running,
    pub inbound: Running,
}

/// Ids of programs and links of ours that the kernel has.
pub fn attached() -> Vec<String> {
    let listed = |what| {
        let output = Command::new("bpftool").args([what, "list"]).output().expect("bpftool runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let programs = listed("prog");
    let ours: Vec<String> = programs.lines().filter(|line| is_ours(line)).map(String::from).collect();
    let ids: Vec<&str> = ours.iter().filter_map(|line| line.split(':').next()).collect();
    let links = listed("link");
    let of_ours = |line: &&str| ids.iter().any(|id| line.ends_with(&format!("prog {id}")));
    let links: Vec<String> = links.lines().filter(of_ours).map(|it| it.trim().to_owned()).collect();
    ours.into_iter().chain(links).collect()
}

/// Others may have programs of similar names.
fn is_ours(line: &str) -> bool {
    const NAMES: [&str; 8] =
        ["connect", "peername", "origin", "outbound", "inbound", "steer", "pair", "forward"];
    NAMES.iter().any(|name| line.contains(&format!(" name lab_{name} ")))
}

/// Waits until the kernel has let go of all programs and links of ours.
pub fn nothing_attached() -> bool {
    (0..100).any(|_| {
        thread::sleep(Duration::from_millis(20));
        attached().is_empty()
    })
}

pub fn cgroup2() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mount table");
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup v2 is mounted");
    Path::new(line.split(' ').nth(4).expect("mount point")).to_path_buf()
}

/// Everything of this name, whoever left it.
fn remove(cgroup: &Path) {
    // Ends what is in these groups, which is nobody's but a test's.
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    for namespace in NAMESPACES.into_iter().filter(|name| Path::new("/run/netns").join(name).exists()) {
        ip(&format!("netns del {namespace}"));
    }
    for _ in 0..100 {
        for group in GROUPS {
            let _ = fs::remove_dir(cgroup.join(group));
        }
        let _ = fs::remove_dir(cgroup);
        if !cgroup.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{} can't be removed", cgroup.display());
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
