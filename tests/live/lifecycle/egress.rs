//! The world outside the mesh: closed unless a workload asks for it.

use std::{fs, process::Command};

use wabe_tests::{
    manifest::{Workload, all},
    testkit::{Machine, NetworkNamespace, TestMesh},
};

/// A host at 192.0.2.2 and 2001:db8::2 that answers on port 80, on a cable to a machine at 192.0.2.1 and 2001:db8::1.
struct Outside {
    machine: Machine,
    host: NetworkNamespace,
}

impl Outside {
    fn new() -> Self {
        let (machine, host) = (Machine::new(), NetworkNamespace::fresh().expect("live tests need root"));
        let ip = |line: &str| {
            let mut command = Command::new("ip");
            command.args(line.split(' '));
            let _ = machine.run(command).success();
        };
        ip("link add cable0 type veth peer name cable1");
        ip("addr add 192.0.2.1/24 dev cable0");
        ip("addr add 2001:db8::1/64 dev cable0 nodad");
        ip(&format!("link set cable1 netns {}", host.path()));
        ip("link set cable0 up");
        host.run(|| {
            for line in [
                "addr add 192.0.2.2/24 dev cable1",
                "addr add 2001:db8::2/64 dev cable1 nodad",
                "link set cable1 up",
            ] {
                let done = Command::new("ip").args(line.split(' ')).status().expect("ip is installed");
                assert!(done.success(), "ip {line}");
            }
        });
        Self { machine, host }
    }

    /// Whether this machine forwards packets. In its own namespace only.
    fn forward(&self, on: bool) {
        self.machine.namespace().run(|| {
            for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                let value = if on { "1" } else { "0" };
                fs::write(format!("/proc/sys/net/{file}"), value).expect("root may");
            }
        });
    }
}

fn workloads() -> String {
    all(&[&Workload::idle("shop/inside"), &Workload::idle("shop/out").with("egress", "masquerade".into())])
}

#[test]
fn is_refused_unless_asked_for_and_masquerades_if_it_is() {
    let Outside { machine, host } = {
        let outside = Outside::new();
        outside.forward(true);
        outside
    };
    let listeners = host.run(|| {
        ["192.0.2.2:80", "[2001:db8::2]:80"]
            .map(|it| std::net::TcpListener::bind(it).expect("nobody else is there"))
    });
    let mesh = TestMesh::up_on(machine, &workloads());
    for (listener, node) in listeners.iter().zip(["192.0.2.1", "2001:db8::1"]) {
        let address = listener.local_addr().expect("bound").to_string();
        let said = mesh.testbox("shop/inside", &["connect", &address, "--no-read"]).success().json();
        assert_eq!(said["errno"], "ENETUNREACH", "{said}");
        let said = mesh.testbox("shop/out", &["connect", &address, "--no-read"]).success().json();
        assert_eq!(said["ok"], true, "{said}");
        let (_, peer) = listener.accept().expect("somebody is waiting");
        assert_eq!(peer.ip().to_string(), node, "the world sees the machine, not the workload");
    }
    datagrams_go_and_are_answered(&mesh, &host);
    // Nobody from outside comes in by the way that is now there.
    let inside = mesh.json(&["status"])["workloads"][0]["instances"][0]["addresses"][0].clone();
    let inside = format!("{}:8080", inside.as_str().expect("an address"));
    let via = host.run(|| {
        let route = ["route", "add", "default", "via", "192.0.2.1"];
        assert!(Command::new("ip").args(route).status().expect("ip is installed").success());
        std::net::TcpStream::connect_timeout(
            &inside.parse().expect("an address"),
            std::time::Duration::from_secs(1),
        )
    });
    assert!(via.is_err(), "a stranger reached {inside}");
    mesh.down();
}

/// From unconnected sockets, too, as of QUIC and NTP.
fn datagrams_go_and_are_answered(mesh: &TestMesh, host: &NetworkNamespace) {
    for address in ["192.0.2.2:123", "[2001:db8::2]:123"] {
        let socket = host.run(|| std::net::UdpSocket::bind(address)).expect("nobody else is there");
        let answering = std::thread::spawn(move || {
            for _ in 0..2 {
                let mut buffer = [0; 64];
                let (length, from) = socket.recv_from(&mut buffer).expect("somebody asks");
                socket.send_to(&buffer[..length], from).expect("a way back");
            }
        });
        for options in [&["--connected"][..], &[]] {
            let said = mesh.testbox("shop/inside", &[&["udp", address], options].concat()).success().json();
            assert_eq!(said["errno"], "ENETUNREACH", "{options:?}: {said}");
            let said = mesh.testbox("shop/out", &[&["udp", address], options].concat()).success().json();
            assert_eq!(said["from"], address, "{options:?}: {said}");
        }
        answering.join().expect("both were answered");
    }
}

#[test]
fn needs_a_machine_that_forwards_and_says_so() {
    let outside = Outside::new();
    outside.forward(false);
    let (mesh, said) = TestMesh::try_up_on(outside.machine, &workloads());
    assert!(!said.status.success(), "{said}");
    for word in ["shop/out", "ip_forward"] {
        assert!(said.stderr.contains(word), "no {word:?}: {said}");
    }
    let left = mesh.machine().leftovers();
    assert!(left.is_empty(), "{left:#?} after {said}");
}
