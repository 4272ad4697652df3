//! Who reaches whom.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    time::Instant,
};

use rustix::net::{bind, netlink::SocketAddrNetlink, recv};
use wabe_keeper::net::{Address, Egress, Left, NodeNetwork};

use super::world::{HANGS, Workload, dial, echo, file, inside, ip, ip_says, mesh, node_with, on_a_host};

#[test]
fn workloads_reach_each_other_with_their_own_addresses() {
    on_a_host(|| {
        let (_file, _network, workloads) = node_with(2);
        for (from, to) in workloads[0].addresses().into_iter().zip(workloads[1].addresses()) {
            let listener = workloads[1].listen(to);
            assert_eq!(echo(&listener, |address| workloads[0].inside(|| dial(address))), from);
        }
    });
}

#[test]
fn a_workload_has_two_addresses_no_other_and_asks_for_nobodys() {
    on_a_host(|| {
        let (file, network, workloads) = node_with(2);
        for address in workloads[1].addresses() {
            let listener = workloads[1].listen(address);
            echo(&listener, |address| workloads[0].inside(|| dial(address)));
        }
        workloads[0].inside(|| {
            let addresses = ip_says("-o address show dev eth0");
            assert_eq!(addresses.lines().count(), 2, "{addresses}");
            assert!(!addresses.contains("fe80"), "{addresses}");
            let neighbours = ip_says("neighbour show");
            assert_eq!(neighbours.lines().count(), 2, "{neighbours}");
            assert!(neighbours.lines().all(|it| it.contains("PERMANENT")), "{neighbours}");
        });
        inside(network.netns(), || {
            let neighbours = ip_says("neighbour show");
            assert!(neighbours.lines().all(|it| it.contains("PERMANENT")), "{neighbours}");
            let global = ip_says("-o address show scope global");
            assert_eq!(global.lines().count(), 2, "{global}");
            assert!(global.contains(&file.node_v4.to_string()), "{global}");
        });
    });
}

#[test]
fn the_host_reaches_workloads_as_a_stranger_and_is_reached() {
    on_a_host(|| {
        let (file, _network, workloads) = node_with(1);
        let strangers: [IpAddr; 2] = [file.host_v4.into(), file.host_v6.into()];
        for (host, workload) in strangers.into_iter().zip(workloads[0].addresses()) {
            assert_eq!(echo(&workloads[0].listen(workload), dial), host);
            let listener = TcpListener::bind((host, 0)).unwrap();
            assert_eq!(echo(&listener, |address| workloads[0].inside(|| dial(address))), workload);
        }
    });
}

#[test]
fn a_workload_reaches_itself() {
    on_a_host(|| {
        let (_file, _network, workloads) = node_with(1);
        for address in workloads[0].addresses() {
            let listener = workloads[0].listen(address);
            assert_eq!(echo(&listener, |address| workloads[0].inside(|| dial(address))), address);
        }
    });
}

#[test]
fn names_are_asked_at_the_nodes_addresses() {
    on_a_host(|| {
        let (file, network, workloads) = node_with(1);
        let sockets = network.names_sockets().unwrap();
        assert!(network.names_sockets().is_err());
        for node in [IpAddr::from(file.node_v4), file.node_v6.into()] {
            let node = SocketAddr::new(node, 53);
            let caller = workloads[0].inside(|| {
                let any: SocketAddr = if node.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
                let socket = UdpSocket::bind(any).unwrap();
                // Connected: answers from another address would not arrive.
                socket.connect(node).unwrap();
                socket
            });
            caller.set_read_timeout(Some(HANGS)).unwrap();
            sockets.udp.set_read_timeout(Some(HANGS)).unwrap();
            caller.send(b"name?").unwrap();
            let mut heard = [0; 5];
            let (_, from) = sockets.udp.recv_from(&mut heard).unwrap();
            assert!(workloads[0].addresses().contains(&from.ip().to_canonical()), "{from}");
            sockets.udp.send_to(&heard, from).unwrap();
            caller.recv(&mut heard).unwrap();
            assert_eq!(&heard, b"name?");

            let mut asked = workloads[0].inside(|| dial(node));
            let (mut answering, _) = sockets.tcp.accept().unwrap();
            answering.write_all(b"answer").unwrap();
            drop(answering);
            let mut answer = String::new();
            asked.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "answer");
        }
    });
}

#[test]
fn outside_is_refused_at_once() {
    on_a_host(|| {
        let (file, _network, workloads) = node_with(1);
        let outside = ["192.0.2.1:80", "[2001:db8::1]:80"].map(|it| it.parse::<SocketAddr>().unwrap());
        workloads[0].inside(|| {
            for address in outside {
                let error = TcpStream::connect(address).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "{address}");
            }
        });
        // One that gave itself a default route: the node answers.
        workloads[0].inside(|| {
            ip(&format!("route add default via {} dev eth0 onlink", file.node_v4));
            ip(&format!("-6 route add default via {} dev eth0 onlink", file.node_v6));
            for address in outside {
                assert_unreachable(address);
            }
        });
        // Nor do addresses of the mesh that nobody has leave it.
        let nobody = file.addresses(4000).unwrap();
        let service = ["10.129.0.9:80", "[fd77:6162:6501::9]:80"].map(|it| it.parse().unwrap());
        workloads[0].inside(|| {
            for address in [(IpAddr::from(nobody.0), 80).into(), (IpAddr::from(nobody.1), 80).into()] {
                assert_unreachable(address);
            }
            service.into_iter().for_each(assert_unreachable);
        });
    });
}

/// Answered by an ICMP error. (Only TCP: a datagram socket is not told of these.)
fn assert_unreachable(address: SocketAddr) {
    let kind = TcpStream::connect_timeout(&address, HANGS).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable), "{address}: {kind}");
}

#[test]
fn a_workload_cant_speak_with_anothers_ipv4_address() {
    on_a_host(|| {
        let (file, network, workloads) = node_with(2);
        let sockets = network.names_sockets().unwrap();
        let node = SocketAddr::from((file.node_v4, 53));
        let forged = workloads[1].v4;
        workloads[0].inside(|| {
            ip(&format!("address add {forged}/32 dev eth0"));
            UdpSocket::bind((forged, 0)).unwrap().send_to(b"forged", node).unwrap();
            UdpSocket::bind((workloads[0].v4, 0)).unwrap().send_to(b"honest", node).unwrap();
        });
        sockets.udp.set_read_timeout(Some(HANGS)).unwrap();
        let mut heard = [0; 6];
        sockets.udp.recv_from(&mut heard).unwrap();
        assert_eq!(&heard, b"honest");
    });
}

#[test]
fn everything_vanishes_with_the_network() {
    on_a_host(|| {
        let (links, routes, routes_v6) =
            (ip_says("-o link"), ip_says("route show table all"), ip_says("-6 route show table all"));
        let (_file, network, workloads) = node_with(2);
        assert_ne!(ip_says("-o link"), links);
        assert_ne!(ip_says("route show table all"), routes);
        let changes = workloads[0].inside(|| {
            let socket =
                rustix::net::socket(rustix::net::AddressFamily::NETLINK, rustix::net::SocketType::RAW, None)
                    .unwrap();
            bind(&socket, &SocketAddrNetlink::new(0, 1)).unwrap();
            socket
        });
        assert!(workloads[0].inside(|| ip_says("-o link")).contains("eth0"));
        drop(network);
        assert_eq!(ip_says("-o link"), links);
        assert_eq!(ip_says("route show table all"), routes);
        assert_eq!(ip_says("-6 route show table all"), routes_v6);
        // The node namespace goes a little later: every change is told.
        while workloads[0].inside(|| ip_says("-o link")).contains("eth0") {
            recv(changes.as_fd(), &mut [0_u8; 8192][..], rustix::net::RecvFlags::empty()).unwrap();
        }
    });
}

#[test]
fn a_mesh_that_can_not_have_its_routes_leaves_nothing() {
    on_a_host(|| {
        ip("route add 10.128.0.0/16 dev lo");
        let links = ip_says("-o link");
        let error = NodeNetwork::create(&file(&mesh())).unwrap_err().to_string();
        assert!(error.contains("a route to 10.128.0.0/16") && error.contains("wabe down --name"), "{error}");
        assert_eq!(ip_says("-o link"), links);
    });
}

#[test]
fn a_second_mesh_of_a_name_leaves_the_first_alone() {
    on_a_host(|| {
        let (file, _network, workloads) = node_with(1);
        let error = NodeNetwork::create(&file).unwrap_err().to_string();
        assert!(error.contains("an interface wabe-"), "{error}");
        echo(&workloads[0].listen(workloads[0].v4.into()), dial);
    });
}

#[test]
fn removed_workloads_make_room_and_failed_ones_too() {
    on_a_host(|| {
        let (file, network, workloads) = node_with(2);
        let (v4, v6) = file.addresses(2).unwrap();
        assert!(network.add_workload(2, v4, v6, Egress::None).is_err());
        echo(&workloads[1].listen(v4.into()), dial);
        network.remove(2).unwrap();
        network.remove(2).unwrap();
        assert!(network.open(2).unwrap_err().to_string().contains("no workload 2"));
        let again = Workload::add(&network, &file, 2, Egress::None);
        assert_ne!(again.network.node_ifindex, workloads[1].network.node_ifindex);
        network.open(2).unwrap();
        network.open(2).unwrap();
        echo(&again.listen(v4.into()), dial);
    });
}

#[test]
fn a_successor_takes_over_what_is_there() {
    on_a_host(|| {
        let (file, network, workloads) = node_with(1);
        let netns = network.netns().try_clone_to_owned().unwrap();
        // As when a program is replaced: nothing of the old one is dropped.
        std::mem::forget(network);
        let address = Address { id: 1, v4: workloads[0].v4, v6: workloads[0].v6, egress: Egress::None };
        let inner = workloads[0].network.netns.try_clone().unwrap();
        let network =
            NodeNetwork::resume(&file, netns, vec![Left { address, netns: inner, proxy: None }]).unwrap();
        echo(&workloads[0].listen(workloads[0].v4.into()), dial);
        network.close(1).unwrap();
        network.open(1).unwrap();
        echo(&workloads[0].listen(workloads[0].v6.into()), dial);
        let links = ip_says("-o link");
        drop(network);
        assert_ne!(ip_says("-o link"), links);
    });
}

#[test]
fn a_hundred_workloads_are_made_and_reached() {
    on_a_host(|| {
        let begin = Instant::now();
        let (_file, network, workloads) = node_with(100);
        println!("100 workloads made and opened in {:?}", begin.elapsed());
        for workload in [&workloads[0], &workloads[99]] {
            echo(&workload.listen(workload.v6.into()), dial);
        }
        let begin = Instant::now();
        (1..=100).for_each(|id| network.remove(id).unwrap());
        println!("100 workloads removed in {:?}", begin.elapsed());
    });
}
