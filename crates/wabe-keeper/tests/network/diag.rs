//! Ending connections.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    time::Instant,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wabe_keeper::diag::{connections, destroy, destroy_this};

use super::world::{HANGS, Workload, dial, node_with, on_a_host};

/// How a client connects.
type Dial = fn(SocketAddr) -> TcpStream;

/// A listener for both families, and what reaches it: IPv4, IPv6, and IPv4 by an IPv6 socket.
fn listener(workload: &Workload) -> (TcpListener, [SocketAddr; 2]) {
    let listener = workload.inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    (listener, workload.addresses().map(|address| (address, port).into()))
}

/// By an IPv6 socket, as Java does.
fn dial_mapped(address: SocketAddr) -> TcpStream {
    let SocketAddr::V4(v4) = address else { panic!("{address} is not IPv4") };
    dial((v4.ip().to_ipv6_mapped(), v4.port()).into())
}

fn ends(stream: &TcpStream) -> (SocketAddr, SocketAddr) {
    let canonical = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
    (canonical(stream.local_addr().unwrap()), canonical(stream.peer_addr().unwrap()))
}

#[test]
fn a_named_connection_ends_at_both_sides_and_its_neighbour_lives() {
    on_a_host(|| {
        let (_file, _network, workloads) = node_with(2);
        let (listener, [v4, v6]) = listener(&workloads[1]);
        let diag = workloads[1].network.diag.as_fd();
        let dials: [(SocketAddr, Dial); 3] = [(v4, dial), (v6, dial), (v4, dial_mapped)];
        for (address, dial) in dials {
            let (mut ended, mut spared) = workloads[0].inside(|| (dial(address), dial(address)));
            let accepted = [listener.accept().unwrap().0, listener.accept().unwrap().0];
            let (client, server) = ends(&ended);
            assert_eq!(connections(diag).unwrap().len(), 2);
            assert!(destroy(diag, client, server).unwrap());
            let [mut gone, mut other] = accepted;
            let kind = gone.read(&mut [0]).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::ConnectionAborted);
            ended.set_read_timeout(Some(HANGS)).unwrap();
            assert_eq!(ended.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            spared.write_all(b"x").unwrap();
            other.read_exact(&mut [0]).unwrap();
        }
    });
}

#[test]
fn the_listener_survives_the_end_of_a_connection_that_is_gone() {
    on_a_host(|| {
        let (_file, _network, workloads) = node_with(1);
        let (listener, addresses) = listener(&workloads[0]);
        let diag = workloads[0].network.diag.as_fd();
        for server in addresses {
            let client = SocketAddr::new(server.ip(), 1);
            assert!(!destroy(diag, client, server).unwrap());
            // Nor does one that only waits for late packets count.
            let stream = workloads[0].inside(|| dial(server));
            let accepted = listener.accept().unwrap().0;
            let (client, server) = ends(&stream);
            let seen = connections(diag).unwrap();
            let seen = seen.into_iter().find(|it| (it.local, it.remote) == (client, server)).unwrap();
            drop(stream);
            let mut rest = Vec::new();
            (&accepted).read_to_end(&mut rest).unwrap();
            drop(accepted);
            while connections(diag).unwrap().iter().any(|it| it.cookie == seen.cookie) {
                std::thread::yield_now();
            }
            assert!(!destroy(diag, client, server).unwrap());
            // By its number even that can be ended; then there is only the listener to be found.
            destroy_this(diag, &seen).unwrap();
            assert!(!destroy_this(diag, &seen).unwrap());
            assert!(!destroy(diag, client, server).unwrap());
            workloads[0].inside(|| dial(server));
            listener.accept().unwrap();
        }
    });
}

#[test]
fn of_ten_thousand_connections_only_the_named_ones_end() {
    const MANY: usize = 10_000;
    on_a_host(|| {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
        let (_file, _network, workloads) = node_with(1);
        // They wait to be accepted, so that each takes one descriptor and not two.
        workloads[0].inside(|| std::fs::write("/proc/sys/net/core/somaxconn", "20000").unwrap());
        let (server, [v4, v6]) = listener(&workloads[0]);
        rustix::net::listen(&server, 20_000).unwrap();
        let streams: Vec<TcpStream> = workloads[0].inside(|| {
            let one = |n| match n % 3 {
                0 => dial(v4),
                1 => dial(v6),
                _ => dial_mapped(v4),
            };
            (0..MANY).map(one).collect()
        });
        let diag = workloads[0].network.diag.as_fd();
        let clients = |port: u16| -> BTreeSet<SocketAddr> {
            let all = connections(diag).unwrap();
            all.into_iter()
                .filter(|it| it.remote.port() == port && it.state == 1)
                .map(|it| it.local)
                .collect()
        };
        assert_eq!(clients(v4.port()).len(), MANY);
        let begin = Instant::now();
        let ends: Vec<_> = streams.iter().map(ends).collect();
        for &(local, remote) in ends.iter().step_by(10) {
            assert!(destroy(diag, remote, local).unwrap());
        }
        println!("{} of {MANY} connections ended in {:?}", MANY / 10, begin.elapsed());
        let left = clients(v4.port());
        for (n, stream) in streams.iter().enumerate() {
            let ended = n % 10 == 0;
            assert_eq!(left.contains(&ends[n].0), !ended, "connection {n}");
            let error = stream.take_error().unwrap().map(|error| error.kind());
            assert_eq!(error, ended.then_some(ErrorKind::ConnectionAborted), "connection {n}");
        }
        assert_eq!(left.len(), MANY - MANY / 10);
    });
}
