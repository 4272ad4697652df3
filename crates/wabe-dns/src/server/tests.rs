//! The server on loopback, with scripted nameservers behind it.

mod fake;

use hickory_proto::{
    op::{Edns, Message},
    rr::RecordType,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::forward::framed;
use fake::{Lab, Nameserver, data, local, outside, question};

const NAMED: &str = "catalogue.";

#[test]
fn answers_over_udp_and_tcp() {
    local(async {
        let lab = Lab::start(&[]).await;
        assert_eq!(data(&lab.ask(NAMED).await), ["10.96.0.1"]);
        assert_eq!(data(&lab.ask_tcp(&question(NAMED)).await), ["10.96.0.1"]);
    });
}

#[test]
fn knows_clients_behind_mapped_addresses() {
    local(async {
        let lab = Lab::start_at("[::ffff:127.0.0.1]:0", &[], |_| {}).await;
        assert_eq!(data(&lab.ask(NAMED).await), ["10.96.0.1"]);
        assert_eq!(data(&lab.ask_tcp(&question(NAMED)).await), ["10.96.0.1"]);
    });
}

#[test]
fn follows_names_and_resolv_conf_when_they_change() {
    local(async {
        let lab = Lab::start(&[]).await;
        let mut names = lab.names();
        names.services[0].addresses = vec![[10, 96, 0, 99].into()];
        lab.replace("names.json", &serde_json::to_string(&names).expect("json"));
        assert_eq!(data(&lab.ask(NAMED).await), ["10.96.0.99"]);
        lab.replace("names.json", "{ broken");
        assert_eq!(data(&lab.ask(NAMED).await), ["10.96.0.99"]);
        assert_eq!(lab.ask("catalogue.new.example.").await.metadata.response_code, ResponseCode::ServFail);
        lab.replace("resolv.conf", "search new.example\n");
        assert_eq!(data(&lab.ask("catalogue.new.example.").await), ["10.96.0.99"]);
    });
}

#[test]
fn forwards_the_very_octets_under_another_id() {
    local(async {
        let mut upstream = Nameserver::start(2, None, |packet, _| vec![outside(packet)]).await;
        let lab = Lab::start(&[&upstream]).await;
        let mut asked = Message::from_vec(&question("www.example.")).expect("message");
        asked.set_edns(Edns::new());
        let packet = asked.to_vec().expect("message");
        let (mut ids, mut ports) = (Vec::new(), Vec::new());
        for _ in 0..8 {
            let reply = lab.send(&packet).await;
            assert_eq!((reply.metadata.id, data(&reply)), (asked.metadata.id, vec!["192.0.2.1".to_owned()]));
            let (peer, seen) = upstream.received.recv().await.expect("forwarded");
            assert_eq!(seen[2..], packet[2..]);
            ids.push(request::id_of(&seen));
            ports.push(peer.port());
        }
        ids.dedup();
        ports.dedup();
        assert!(ids.len() > 1 && ports.len() > 1, "{ids:?} {ports:?}");
    });
}

#[test]
fn waits_for_the_reply_that_was_asked_for() {
    local(async {
        let upstream = Nameserver::start(2, None, |packet, _| {
            let mut wrong_id = outside(packet);
            wrong_id[0] ^= 0xff;
            let mut other = Message::from_vec(&outside(packet)).expect("message");
            other.queries[0].name = "www2.example.".parse().expect("name");
            vec![wrong_id, other.to_vec().expect("message"), vec![1, 2, 3], outside(packet)]
        })
        .await;
        let lab = Lab::start(&[&upstream]).await;
        assert_eq!(data(&lab.ask("www.example.").await), ["192.0.2.1"]);
    });
}

#[test]
fn asks_the_next_nameserver_when_one_is_silent_or_fails() {
    local(async {
        let silent = Nameserver::start(2, None, |_, _| vec![]).await;
        let failing = Nameserver::start(3, Some(silent.port()), |packet, _| {
            vec![crate::reply::header_only(request::id_of(packet).expect("id"), 0, ResponseCode::Refused)]
        })
        .await;
        let good = Nameserver::start(4, Some(silent.port()), |packet, _| vec![outside(packet)]).await;
        let lab = Lab::start(&[&silent, &failing, &good]).await;
        assert_eq!(data(&lab.ask("www.example.").await), ["192.0.2.1"]);
        assert_eq!(data(&lab.ask_tcp(&question("www.example.")).await), ["192.0.2.1"]);
        // Nobody knows better: the failure is passed on.
        let lab = Lab::start(&[&failing, &silent]).await;
        assert_eq!(lab.ask("www.example.").await.metadata.response_code, ResponseCode::Refused);
    });
}

#[test]
fn says_so_when_no_nameserver_can_be_reached() {
    local(async {
        let closed = Nameserver::start(2, None, |_, _| vec![]).await;
        let lab = Lab::start(&[&closed]).await;
        closed.stop().await;
        for reply in [lab.ask("www.example.").await, lab.ask_tcp(&question("www.example.")).await] {
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
            assert_eq!(reply.queries.len(), 1);
        }
    });
}

#[test]
fn passes_truncation_on_and_forwards_the_retry_over_tcp() {
    local(async {
        let upstream = Nameserver::start(2, None, |packet, carrier| {
            let mut reply = outside(packet);
            if carrier == Carrier::Udp {
                reply[2] |= 0x02;
            }
            vec![reply]
        })
        .await;
        let lab = Lab::start(&[&upstream]).await;
        assert!(lab.ask("www.example.").await.metadata.truncation);
        let whole = lab.ask_tcp(&question("www.example.")).await;
        assert!(!whole.metadata.truncation);
        assert_eq!(data(&whole), ["192.0.2.1"]);
    });
}

#[test]
fn answers_what_it_knows_while_a_pipelined_question_is_forwarded() {
    local(async {
        let upstream = Nameserver::start(2, None, |packet, _| vec![outside(packet)]).await;
        let gate = upstream.close_gate().await;
        let lab = Lab::start(&[&upstream]).await;
        let mut stream = TcpStream::connect(lab.address).await.expect("connection");
        let questions = [framed(&question("www.example.")), framed(&[]), framed(&question(NAMED))].concat();
        // In pieces that respect no message.
        for piece in questions.chunks(7) {
            stream.write_all(piece).await.expect("write");
        }
        stream.shutdown().await.expect("half close");
        assert_eq!(data(&fake::receive(&mut stream).await), ["10.96.0.1"]);
        drop(gate);
        assert_eq!(data(&fake::receive(&mut stream).await), ["192.0.2.1"]);
        assert_eq!(stream.read(&mut [0]).await.expect("end"), 0);
    });
}

#[test]
fn answers_hundreds_of_pipelined_questions() {
    local(async {
        let upstream = Nameserver::start(2, None, |packet, _| vec![outside(packet)]).await;
        let lab = Lab::start(&[&upstream]).await;
        let stream = TcpStream::connect(lab.address).await.expect("connection");
        let (mut from, mut to) = stream.into_split();
        let questions: Vec<u8> = (0..300)
            .flat_map(|n| framed(&question(if n % 10 == 0 { "www.example." } else { NAMED })))
            .collect();
        spawn_local(async move { to.write_all(&questions).await.expect("write") });
        let mut answers = [0, 0];
        for _ in 0..300 {
            let inside = data(&fake::receive(&mut from).await) == ["10.96.0.1"];
            answers[usize::from(inside)] += 1;
        }
        assert_eq!(answers, [30, 270]);
    });
}

#[test]
fn closes_connections_whose_question_does_not_come() {
    local(async {
        let lab = Lab::start_at("127.0.0.1:0", &[], |it| it.idle = Duration::from_millis(30)).await;
        let mut stream = TcpStream::connect(lab.address).await.expect("connection");
        stream.write_all(&framed(&question(NAMED))[..5]).await.expect("write");
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    });
}

#[test]
fn takes_no_more_connections_than_it_may() {
    local(async {
        let lab = Lab::start_at("127.0.0.1:0", &[], |it| it.connections = (8, 1)).await;
        let mut first = TcpStream::connect(lab.address).await.expect("connection");
        first.write_all(&framed(&question(NAMED))).await.expect("write");
        assert_eq!(data(&fake::receive(&mut first).await), ["10.96.0.1"]);
        let mut second = TcpStream::connect(lab.address).await.expect("connection");
        assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0);
        first.write_all(&framed(&question(NAMED))).await.expect("write");
        assert_eq!(data(&fake::receive(&mut first).await), ["10.96.0.1"]);
    });
}

#[test]
fn forwards_no_more_than_it_may_and_still_answers() {
    local(async {
        let mut upstream = Nameserver::start(2, None, |packet, _| vec![outside(packet)]).await;
        let gate = upstream.close_gate().await;
        let lab =
            Rc::new(Lab::start_at("127.0.0.1:0", &[upstream.ip()], |it| it.patient(&upstream, (8, 1))).await);
        let other = Rc::clone(&lab);
        let first = spawn_local(async move { other.ask("www.example.").await });
        upstream.received.recv().await.expect("forwarded");
        assert_eq!(lab.ask("www.example.").await.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(data(&lab.ask(NAMED).await), ["10.96.0.1"]);
        drop(gate);
        assert_eq!(data(&first.await.expect("task")), ["192.0.2.1"]);
    });
}

#[test]
fn never_asks_itself() {
    local(async {
        let lab = Lab::start(&[]).await;
        let mut names = lab.names();
        names.resolver = vec!["127.0.0.2".parse().expect("address")];
        lab.replace("names.json", &serde_json::to_string(&names).expect("json"));
        // The socket's own address, the one that the snapshot says workloads use, and another.
        lab.replace("resolv.conf", "nameserver 127.0.0.1\nnameserver 127.0.0.2\nnameserver 127.0.0.3\n");
        let servers_with_port = |nameserver_port| {
            let server = Server::new(Settings { nameserver_port, ..lab.settings() }, lab.address);
            match server.decide(fake::client(), Carrier::Udp, &question("www.example.")) {
                Step::Forward(forward) => forward.servers,
                Step::Ignore | Step::Reply(_) => panic!("to be forwarded"),
            }
        };
        assert_eq!(
            servers_with_port(lab.address.port()),
            [SocketAddr::from(([127, 0, 0, 3], lab.address.port()))]
        );
        assert_eq!(servers_with_port(1).len(), 3, "another port is another server");
    });
}

#[test]
fn breaks_loops_through_others() {
    local(async {
        let mut upstream = Nameserver::start(2, None, |packet, _| vec![outside(packet)]).await;
        let gate = upstream.close_gate().await;
        let lab = Lab::start(&[&upstream]).await;
        let server = Rc::new(Server::new(lab.settings(), lab.address));
        let Step::Forward(forward) = server.decide(fake::client(), Carrier::Udp, &question("www.example."))
        else {
            panic!("to be forwarded")
        };
        let other = Rc::clone(&server);
        let forwarded = spawn_local(async move { other.forward(forward).await });
        // The nameserver hands the question on to us, unchanged.
        let (peer, packet) = upstream.received.recv().await.expect("forwarded");
        let Step::Reply(bytes) = server.decide(peer, Carrier::Udp, &packet) else { panic!("to be refused") };
        assert_eq!(Message::from_vec(&bytes).expect("reply").metadata.response_code, ResponseCode::ServFail);
        drop(gate);
        forwarded.await.expect("task");
        assert!(
            matches!(server.decide(peer, Carrier::Udp, &packet), Step::Forward(_)),
            "forgotten when answered"
        );
    });
}

#[test]
fn rejects_and_goes_on() {
    local(async {
        let lab = Lab::start(&[]).await;
        assert_eq!(lab.send(&question(NAMED)[..15]).await.metadata.response_code, ResponseCode::FormErr);
        let mut notify = question(NAMED);
        notify[2] |= 0x20;
        assert_eq!(lab.send(&notify).await.metadata.response_code, ResponseCode::NotImp);
        assert_eq!(data(&lab.ask(NAMED).await), ["10.96.0.1"]);
        let typed = lab.send(&fake::question_of("nope.svc.cluster.local.", RecordType::AAAA)).await;
        assert_eq!(typed.metadata.response_code, ResponseCode::NXDomain);
    });
}
