//! The way out of the mesh.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::Command,
};

use rustix::thread::gettid;
use wabe_keeper::net::{Egress, NodeNetwork};

use super::world::{Workload, dial, echo, file, here, inside, ip, ip_says, mesh, on_a_host};

/// A machine outside, joined to the host by a link; neither knows anything of the mesh.
fn world() -> OwnedFd {
    let host = format!("/proc/{}/task/{}/ns/net", std::process::id(), gettid().as_raw_nonzero());
    let world = on_a_host(here);
    inside(&world, || {
        ip(&format!("link add outer type veth peer name ext0 netns {host}"));
        ip("link set outer up");
        ip("address add 198.51.100.1/24 dev outer");
        ip("address add 2001:db8::1/64 dev outer nodad");
    });
    ip("link set ext0 up");
    ip("address add 198.51.100.2/24 dev ext0");
    ip("address add 2001:db8::2/64 dev ext0 nodad");
    world
}

fn forward(v4: &str, v6: &str) {
    // This "host" is the test's own namespace.
    fs::write("/proc/sys/net/ipv4/ip_forward", v4).unwrap();
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", v6).unwrap();
}

fn tables() -> String {
    String::from_utf8(Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout).unwrap()
}

#[test]
fn a_workload_with_egress_is_seen_outside_with_the_hosts_address() {
    on_a_host(|| {
        let world = world();
        forward("1", "1");
        let file = file(&mesh());
        let network = NodeNetwork::create(&file).unwrap();
        let inner = Workload::add(&network, &file, 1, Egress::None);
        let outer = Workload::add(&network, &file, 2, Egress::Masquerade);
        let second = Workload::add(&network, &file, 3, Egress::Masquerade);
        (1..=3).for_each(|id| network.open(id).unwrap());
        for (there, host) in [("198.51.100.1", "198.51.100.2"), ("2001:db8::1", "2001:db8::2")] {
            let there: IpAddr = there.parse().unwrap();
            let host: IpAddr = host.parse().unwrap();
            let listener = inside(&world, || TcpListener::bind((there, 0)).unwrap());
            for workload in [&outer, &second] {
                assert_eq!(echo(&listener, |address| workload.inside(|| dial(address))), host);
            }
            let address = listener.local_addr().unwrap();
            let error = inner.inside(|| TcpStream::connect(address)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        }
        // Inside the mesh nothing is translated, and nothing tracked.
        assert_eq!(
            echo(&inner.listen(inner.v4.into()), |address| outer.inside(|| dial(address))),
            IpAddr::from(outer.v4)
        );
        assert_eq!(
            echo(&TcpListener::bind((file.host_v4, 0)).unwrap(), |address| outer.inside(|| dial(address))),
            IpAddr::from(outer.v4)
        );
        network.remove(2).unwrap();
        inside(network.netns(), || {
            let tables = tables();
            assert!(
                !tables.contains(&outer.v4.to_string()) && tables.contains(&second.v4.to_string()),
                "{tables}"
            );
            let rules = ip_says("rule show");
            assert!(!rules.contains("iif w2 ") && rules.contains("iif w3 "), "{rules}");
        });
        let listener = inside(&world, || TcpListener::bind("198.51.100.1:0").unwrap());
        echo(&listener, |address| second.inside(|| dial(address)));
        assert!(tables().contains("wabe_test-"), "{}", tables());
        network.remove(3).unwrap();
        assert_eq!(tables(), "");
        Workload::add(&network, &file, 4, Egress::Masquerade);
        assert!(tables().contains("wabe_test-"), "{}", tables());
        drop(network);
        assert_eq!(tables(), "");
    });
}

#[test]
fn a_workload_cant_take_a_way_out_that_it_was_not_given() {
    on_a_host(|| {
        let world = world();
        forward("1", "1");
        let file = file(&mesh());
        let network = NodeNetwork::create(&file).unwrap();
        let inner = Workload::add(&network, &file, 1, Egress::None);
        let _outer = Workload::add(&network, &file, 2, Egress::Masquerade);
        (1..=2).for_each(|id| network.open(id).unwrap());
        let listener = inside(&world, || TcpListener::bind("198.51.100.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        inner.inside(|| {
            ip(&format!("route add default via {} dev eth0 onlink", file.node_v4));
            let kind = TcpStream::connect(address).unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable), "{kind}");
        });
    });
}

#[test]
fn without_ipv6_forwarding_egress_is_ipv4_only_and_says_so_at_once() {
    on_a_host(|| {
        let world = world();
        forward("1", "0");
        let file = file(&mesh());
        let network = NodeNetwork::create(&file).unwrap();
        let outer = Workload::add(&network, &file, 1, Egress::Masquerade);
        network.open(1).unwrap();
        let listener = inside(&world, || TcpListener::bind("198.51.100.1:0").unwrap());
        echo(&listener, |address| outer.inside(|| dial(address)));
        let error = outer.inside(|| TcpStream::connect("[2001:db8::1]:80")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    });
}

#[test]
fn a_host_that_does_not_forward_is_told_which_setting_to_change() {
    on_a_host(|| {
        forward("0", "0");
        let file = file(&mesh());
        let network = NodeNetwork::create(&file).unwrap();
        let (v4, v6) = file.addresses(1).unwrap();
        let error = network.add_workload(1, v4, v6, Egress::Masquerade).unwrap_err().to_string();
        assert!(error.contains("net.ipv4.ip_forward=1"), "{error}");
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "0\n");
        assert_eq!(tables(), "");
        // It left nothing: the number is free.
        network.add_workload(1, v4, v6, Egress::None).unwrap();
    });
}
