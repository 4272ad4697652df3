//! The whole process, from its sockets to SIGTERM. In a file of its own, because the signal is the process's.

use std::{
    net::{TcpListener, UdpSocket},
    thread,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::RecordType,
};
use rustix::process::{Signal, getpid, kill_process};
use wabe_dns::{Names, Options, run};

#[test]
fn ends_on_sigterm_and_leaves_its_sockets_to_a_successor() {
    let folder = tempfile::tempdir().expect("folder");
    let options =
        Options { names: folder.path().join("names.json"), resolv_conf: folder.path().join("resolv.conf") };
    let names = Names {
        domain: "cluster.local".into(),
        generation: 1,
        resolver: vec![],
        services: vec![],
        clients: Default::default(),
    };
    std::fs::write(&options.names, serde_json::to_string(&names).expect("json")).expect("write");
    // The keeper holds the sockets; each process gets a copy.
    let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
    let (udp, tcp) = (udp.expect("socket"), tcp.expect("socket"));
    for _ in 0..2 {
        let (udp, tcp, options) =
            (udp.try_clone().expect("copy"), tcp.try_clone().expect("copy"), options.clone());
        let address = udp.local_addr().expect("address");
        let server = thread::spawn(move || run(udp, tcp, options));

        let mut question = Message::new(7, MessageType::Query, OpCode::Query);
        question.add_query(Query::query("nope.cluster.local.".parse().expect("name"), RecordType::A));
        let client = UdpSocket::bind("127.0.0.1:0").expect("socket");
        client.send_to(&question.to_vec().expect("message"), address).expect("send");
        let mut reply = [0; 512];
        let length = client.recv(&mut reply).expect("reply");
        assert_eq!(Message::from_vec(&reply[..length]).expect("reply").metadata.id, 7);

        // It has answered, so its handler is in place.
        kill_process(getpid(), Signal::TERM).expect("signal");
        server.join().expect("no panic").expect("no error");
    }
}
