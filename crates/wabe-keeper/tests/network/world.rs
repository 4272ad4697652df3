//! A host for a test: a thread in a fresh network namespace, and meshes on it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use wabe_keeper::{
    layout::{Mesh, MeshFile, Ranges},
    net::{Egress, NodeNetwork, WorkloadNetwork},
};

/// So long that only something that hangs takes it.
pub(crate) const HANGS: Duration = Duration::from_secs(10);

/// Runs a test in a network namespace of its own, in which `lo` is up.
pub(crate) fn on_a_host<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    in_thread(|| {
        #[expect(deprecated, reason = "its unsafe twin is needed for CLONE_FILES only")]
        rustix::thread::unshare(UnshareFlags::NEWNET).expect("these tests need root");
        ip("link set lo up");
        test()
    })
}

/// Runs something inside a network namespace.
pub(crate) fn inside<T: Send>(netns: impl AsFd + Sync, work: impl FnOnce() -> T + Send) -> T {
    in_thread(|| {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work()
    })
}

/// The calling thread's network namespace.
pub(crate) fn here() -> OwnedFd {
    File::open("/proc/thread-self/ns/net").unwrap().into()
}

/// Runs ip(8); the test fails if it does.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("these tests need iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What ip(8) prints.
pub(crate) fn ip_says(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("these tests need iproute2");
    String::from_utf8(output.stdout).unwrap()
}

/// A mesh of a name that no other test has.
pub(crate) fn mesh() -> Mesh {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Mesh::new(format!("test-{}-{count}", std::process::id())).unwrap()
}

/// Its file. All of them have the same ranges: each is on a host of its own.
pub(crate) fn file(mesh: &Mesh) -> MeshFile {
    let ranges = Ranges {
        workloads_v4: "10.128.0.0/16".parse().unwrap(),
        services_v4: "10.129.0.0/16".parse().unwrap(),
        workloads_v6: "fd77:6162:6500::/64".parse().unwrap(),
        services_v6: "fd77:6162:6501::/64".parse().unwrap(),
    };
    MeshFile::new(mesh, ranges, "cluster.local", "istio-system").unwrap()
}

/// A node with workloads, their gates open, numbered from 1.
pub(crate) fn node_with(workloads: u32) -> (MeshFile, NodeNetwork, Vec<Workload>) {
    let file = file(&mesh());
    let network = NodeNetwork::create(&file).unwrap();
    let workloads = (1..=workloads)
        .map(|id| {
            let workload = Workload::add(&network, &file, id, Egress::None);
            network.open(id).unwrap();
            workload
        })
        .collect();
    (file, network, workloads)
}

/// A workload's network and addresses.
pub(crate) struct Workload {
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
    pub(crate) network: WorkloadNetwork,
}

impl Workload {
    /// Its gate is closed.
    pub(crate) fn add(network: &NodeNetwork, file: &MeshFile, id: u32, egress: Egress) -> Self {
        let (v4, v6) = file.addresses(id).unwrap();
        Self { v4, v6, network: network.add_workload(id, v4, v6, egress).unwrap() }
    }

    pub(crate) fn addresses(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.network.netns, work)
    }

    /// A listener at a free port of one of its addresses.
    pub(crate) fn listen(&self, address: IpAddr) -> TcpListener {
        self.inside(|| TcpListener::bind((address, 0)).unwrap())
    }
}

/// Dials, says something, and gets it back from the listener; returns the address that it saw.
pub(crate) fn echo(listener: &TcpListener, dial: impl FnOnce(SocketAddr) -> TcpStream) -> IpAddr {
    let mut here = dial(listener.local_addr().unwrap());
    let (mut there, peer) = listener.accept().unwrap();
    for stream in [&here, &there] {
        stream.set_read_timeout(Some(HANGS)).unwrap();
    }
    let mut heard = [0; 5];
    here.write_all(b"hello").unwrap();
    there.read_exact(&mut heard).unwrap();
    there.write_all(&heard).unwrap();
    here.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    peer.ip()
}

/// Connects, or fails, in a time that tells it from hanging.
pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    TcpStream::connect_timeout(&address, HANGS).unwrap_or_else(|error| panic!("{address}: {error}"))
}

fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}
