//! Nothing passes a gate that is closed.

use std::{io::ErrorKind, net::SocketAddr, net::UdpSocket};

use wabe_keeper::net::{Egress, NodeNetwork};

use super::world::{HANGS, Workload, dial, echo, file, mesh, on_a_host};

#[test]
fn nothing_leaves_a_workload_before_its_gate_opens() {
    on_a_host(|| {
        let file = file(&mesh());
        let network = NodeNetwork::create(&file).unwrap();
        let names = network.names_sockets().unwrap().udp;
        names.set_read_timeout(Some(HANGS)).unwrap();
        let workload = Workload::add(&network, &file, 1, Egress::None);
        let nodes: [SocketAddr; 2] = [(file.node_v4, 53).into(), (file.node_v6, 53).into()];
        let say = |what: &[u8]| {
            workload.inside(|| {
                for (own, node) in workload.addresses().into_iter().zip(nodes) {
                    // That it can't be sent is as good as that it is lost.
                    let _ = UdpSocket::bind((own, 0)).unwrap().send_to(what, node);
                }
            });
        };
        // What was sent first would be heard first.
        let hears_only = |what: &[u8]| {
            for _family in nodes {
                let mut heard = [0; 16];
                let (length, _) = names.recv_from(&mut heard).unwrap();
                assert_eq!(&heard[..length], what);
            }
        };
        say(b"too early");
        network.open(1).unwrap();
        say(b"in time");
        hears_only(b"in time");
        network.close(1).unwrap();
        say(b"too late");
        network.open(1).unwrap();
        say(b"again");
        hears_only(b"again");
    });
}

#[test]
fn the_first_packet_after_the_gate_opens_is_not_lost() {
    on_a_host(|| {
        let file = file(&mesh());
        let network = NodeNetwork::create(&file).unwrap();
        let names = network.names_sockets().unwrap().udp;
        names.set_read_timeout(Some(HANGS)).unwrap();
        let workload = Workload::add(&network, &file, 1, Egress::None);
        let socket = workload.inside(|| UdpSocket::bind((workload.v4, 0)).unwrap());
        for n in 0..100 {
            network.open(1).unwrap();
            socket.send_to(&[n], (file.node_v4, 53)).unwrap();
            let mut heard = [0];
            names.recv_from(&mut heard).unwrap_or_else(|error| panic!("packet {n}: {error}"));
            assert_eq!(heard, [n]);
            network.close(1).unwrap();
        }
    });
}

#[test]
fn nothing_enters_a_workload_before_its_gate_opens() {
    on_a_host(|| {
        let file = file(&mesh());
        let network = NodeNetwork::create(&file).unwrap();
        let workload = Workload::add(&network, &file, 1, Egress::None);
        let listeners = workload.addresses().map(|address| workload.listen(address));
        let is_closed = || {
            for listener in &listeners {
                let address = listener.local_addr().unwrap();
                let kind = std::net::TcpStream::connect_timeout(&address, HANGS).unwrap_err().kind();
                assert!(
                    matches!(kind, ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable),
                    "{address}: {kind}"
                );
            }
        };
        is_closed();
        network.open(1).unwrap();
        listeners.iter().for_each(|listener| {
            echo(listener, dial);
        });
        network.close(1).unwrap();
        is_closed();
        network.open(1).unwrap();
        listeners.iter().for_each(|listener| {
            echo(listener, dial);
        });
    });
}
