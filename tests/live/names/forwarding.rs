//! Names that are not the mesh's: forwarded to the host's nameserver, here a fake one.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::json;
use wabe_tests::testkit::{Machine, TestMesh};

use super::{ask, manifests};

/// Answers every name with 192.0.2.77, on a machine that has the host's nameserver's address as its own.
struct Nameserver {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Nameserver {
    /// On threads that end with the test program.
    fn start(machine: &Machine) -> Self {
        let address = host_nameserver();
        if !address.is_loopback() {
            let mut ip = Command::new("ip");
            let length = if address.is_ipv4() { 32 } else { 128 };
            ip.args(["addr", "add", &format!("{address}/{length}"), "dev", "lo"]);
            let _ = machine.run(ip).success();
        }
        let at = SocketAddr::new(address, 53);
        let (udp, tcp) = machine.namespace().run(|| (UdpSocket::bind(at), TcpListener::bind(at)));
        let (udp, tcp) = (udp.expect("nobody else is there"), tcp.expect("nobody else is there"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                udp.send_to(&answer(&buffer[..length], &log), from).ok();
            }
        });
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let mut length = [0; 2];
                let mut query = Vec::new();
                if stream.read_exact(&mut length).is_ok() {
                    query.resize(usize::from(u16::from_be_bytes(length)), 0);
                }
                if !query.is_empty() && stream.read_exact(&mut query).is_ok() {
                    let reply = answer(&query, &log);
                    let length = u16::try_from(reply.len()).expect("a short message");
                    stream.write_all(&[&length.to_be_bytes()[..], &reply].concat()).ok();
                }
            }
        });
        Self { asked }
    }

    fn was_asked(&self, name: &str) -> bool {
        self.asked.lock().expect("nothing panics while it is held").iter().any(|it| it.contains(name))
    }
}

/// The one that glibc, and so `wabe dns`, would ask.
fn host_nameserver() -> IpAddr {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let first = text.lines().find_map(|it| it.strip_prefix("nameserver")?.trim().parse().ok());
    first.unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

/// RFC 1035, 4.1: the question once more, and one address if that is what is asked for.
fn answer(query: &[u8], log: &Mutex<Vec<String>>) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while let Some(length @ 1..) = query.get(at).copied() {
        let end = at + 1 + usize::from(length);
        labels.push(String::from_utf8_lossy(query.get(at + 1..end).unwrap_or_default()).into_owned());
        at = end;
    }
    log.lock().expect("nothing panics while it is held").push(labels.join("."));
    let end = at + 5;
    let Some(question) = query.get(12..end) else { return Vec::new() };
    let is_a = question[question.len() - 4..] == [0, 1, 0, 1];
    let mut reply = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0], question].concat();
    if is_a {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77]);
    }
    reply
}

#[test]
fn other_names_are_asked_of_the_hosts_nameserver_and_the_meshs_never() {
    let machine = Machine::new();
    let nameserver = Nameserver::start(&machine);
    let mesh = TestMesh::up_on(machine, &manifests());
    for carrier in ["udp", "tcp"] {
        let said = ask(
            &mesh,
            "shop/caller",
            "default",
            carrier,
            &[
                ("www.example.", "A"),
                ("www.example.", "AAAA"),
                ("nosuch.shop.svc.cluster.local.", "A"),
                ("cart.shop.svc.cluster.local.", "A"),
            ],
        );
        assert_eq!(said[0]["answers"], json!(["192.0.2.77"]), "{carrier}: {said:?}");
        assert_eq!(
            (&said[1]["rcode"], &said[1]["answers"]),
            (&json!("NOERROR"), &json!([])),
            "{carrier}: {said:?}"
        );
        assert_eq!(said[2]["rcode"], "NXDOMAIN", "{carrier}: {said:?}");
    }
    assert!(nameserver.was_asked("www.example"));
    assert!(!nameserver.was_asked("cluster.local"), "{:?}", nameserver.asked);
    mesh.down();
}

#[test]
fn without_a_nameserver_other_names_fail_and_the_meshs_do_not() {
    let said = ask(super::mesh(), "shop/caller", "default", "udp", &[("www.example.", "A"), ("cart.", "A")]);
    assert_eq!(said[0]["rcode"], "SERVFAIL", "{said:?}");
    assert_eq!(said[1]["rcode"], "NOERROR", "{said:?}");
}
