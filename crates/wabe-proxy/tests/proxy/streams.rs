//! Connections whose bytes are carried on as they are, and those of which nobody said what they are.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::{Value, json};

use crate::{
    http1::{OK, answering},
    scene::{Heard, PATIENCE, Scene, nobody, server},
};

/// Before these servers, on a port that speaks this.
fn speaking(protocol: &str, servers: &[SocketAddr]) -> Scene {
    Scene::with(servers, |snapshot| snapshot["ports"][0]["protocol"] = protocol.into())
}

/// A server that greets, listens to the end, notes what it heard, and says a last word.
fn listening(heard: &Heard, greeting: &'static str, last: &'static str) -> SocketAddr {
    let heard = heard.clone();
    server(move |mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.write_all(greeting.as_bytes()).expect("written");
        let mut bytes = Vec::new();
        if stream.read_to_end(&mut bytes).is_ok() {
            heard.add(latin1(&bytes));
            // Who has gone does not hear it.
            let _ = stream.write_all(last.as_bytes());
        }
    })
}

/// Bytes as text in which each can be seen.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Says this, ends its side, and listens to the end.
fn exchange(scene: &Scene, bytes: &[u8]) -> String {
    let mut caller = scene.connect();
    caller.write_all(bytes).expect("written");
    caller.shutdown(Shutdown::Write).expect("ended");
    let mut answer = Vec::new();
    caller.read_to_end(&mut answer).expect("an end");
    latin1(&answer)
}

#[track_caller]
fn assert_reset(caller: &mut TcpStream) {
    match caller.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("it is reset, not {other:?}"),
    }
}

/// Some bytes of every value, and much of it.
fn many() -> Vec<u8> {
    (0..4 << 20).map(|place: u32| (place % 251) as u8).collect()
}

/// What a real client begins TLS with; without a name if it dials an address.
fn hello(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = name.to_owned().try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

/// A route's outlets: one backend of this name, at port 80.
fn outlets(kind: &str, backend: &str) -> Value {
    let service = json!({ "namespace": "shop", "name": backend });
    json!({
        "kind": kind, "route": { "namespace": "shop", "name": "web" }, "name": null,
        "backends": [{ "service": service, "port": 80, "weight": 1, "invalid": null }],
    })
}

/// Makes the servers backends of their own, at port 80, in this order.
fn split(snapshot: &mut Value, names: &[&str]) {
    let endpoints = snapshot["backends"][0]["endpoints"].take();
    let apart = names.iter().zip(endpoints.as_array().expect("a list")).map(|(name, endpoint)| {
        json!({ "service": { "namespace": "shop", "name": name }, "port": 80, "endpoints": [endpoint] })
    });
    snapshot["backends"] = apart.collect();
}

#[test]
fn bytes_of_tcp_go_there_and_back_and_each_side_ends_when_it_will() {
    let heard = Heard::default();
    let scene = speaking("tcp", &[listening(&heard, "welcome\n", "bye\n")]);
    // Nothing of it is read, least of all as HTTP.
    let said = b"GET / HTTP/1.1\nhost: a\nhost: b\n\n\0\xff";
    assert_eq!(exchange(&scene, said), "welcome\nbye\n");
    assert_eq!(heard.all(), [latin1(said)]);
}

#[test]
fn much_goes_both_ways_at_once() {
    let scene = speaking(
        "tcp",
        &[server(|mut stream| {
            let mut out = stream.try_clone().expect("a handle");
            let sender = thread::spawn(move || {
                out.write_all(&many()).expect("written");
                out.shutdown(Shutdown::Write).expect("ended");
            });
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("an end");
            assert!(bytes == many());
            sender.join().expect("no panic");
        })],
    );
    let mut caller = scene.connect();
    let mut out = caller.try_clone().expect("a handle");
    let sender = thread::spawn(move || {
        out.write_all(&many()).expect("written");
        out.shutdown(Shutdown::Write).expect("ended");
    });
    let mut bytes = Vec::new();
    caller.read_to_end(&mut bytes).expect("an end");
    sender.join().expect("no panic");
    assert!(bytes == many(), "{} bytes", bytes.len());
}

#[test]
fn an_end_that_is_reset_resets_the_other() {
    let reset = |stream: TcpStream| {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set");
    };
    // The server, once the caller has its first word.
    let scene = speaking(
        "tcp",
        &[server(move |mut stream| {
            stream.write_all(b"half of").expect("written");
            stream.read_exact(&mut [0]).expect("said");
            reset(stream);
        })],
    );
    let mut caller = scene.connect();
    caller.read_exact(&mut [0; 7]).expect("half of it");
    caller.write_all(b"x").expect("written");
    assert_reset(&mut caller);
    // The caller, once the server has its first word.
    let (ended, end) = mpsc::channel();
    let ended = Mutex::new(ended);
    let scene = speaking(
        "tcp",
        &[server(move |mut stream| {
            stream.write_all(b"go").expect("written");
            let error = stream.read(&mut [0]).expect_err("no end");
            ended.lock().expect("no panic").send(error.kind()).expect("the test waits");
        })],
    );
    let mut caller = scene.connect();
    caller.read_exact(&mut [0; 2]).expect("a word");
    reset(caller);
    assert_eq!(end.recv_timeout(PATIENCE), Ok(ErrorKind::ConnectionReset));
}

#[test]
fn a_connection_goes_to_an_endpoint_that_takes_it() {
    let heard = Heard::default();
    let scene = speaking("tcp", &[nobody(), listening(&heard, "", "bye")]);
    for _ in 0..8 {
        assert_eq!(exchange(&scene, b"hi"), "bye");
    }
    assert_eq!(heard.all(), ["hi"; 8]);
}

#[test]
fn a_route_of_tcp_leads_elsewhere() {
    let (one, other) = (Heard::default(), Heard::default());
    let servers = [listening(&one, "", "one"), listening(&other, "", "other")];
    let scene = Scene::with(&servers, |snapshot| {
        split(snapshot, &["one", "other"]);
        snapshot["ports"][0]["protocol"] = "tcp".into();
        snapshot["ports"][0]["tcp"] = json!({ "producer": outlets("TCPRoute", "other"), "consumers": {} });
    });
    assert_eq!(exchange(&scene, b"hi"), "other");
    assert_eq!((one.all().len(), other.all().len()), (0, 1));
}

#[test]
fn what_another_namespace_says_of_a_service_is_its_own_callers_business() {
    for (of_all, namespace, of_theirs, answer) in [
        // The caller is of `shop`.
        ("tcp", "away", "http", "welcome\nbye\n"),
        ("http", "shop", "tcp", "welcome\nbye\n"),
        ("detect", "shop", "tcp", "welcome\nbye\n"),
    ] {
        let heard = Heard::default();
        let scene = Scene::with(&[listening(&heard, "welcome\n", "bye\n")], |snapshot| {
            snapshot["ports"][0]["protocol"] = of_all.into();
            snapshot["ports"][0]["consumers"] = json!({ namespace: of_theirs });
        });
        assert_eq!(exchange(&scene, b"no HTTP"), answer, "{of_all}, {of_theirs} of {namespace}");
    }
}

#[test]
fn where_only_others_have_routes_by_name_a_server_of_tls_may_speak_first() {
    let heard = Heard::default();
    let none = json!({ "exact": {}, "below": {}, "any": null });
    let theirs = json!({ "exact": {}, "below": {}, "any": outlets("TLSRoute", "other") });
    let scene = Scene::with(&[listening(&heard, "welcome\n", "bye\n")], |snapshot| {
        snapshot["ports"][0]["protocol"] = "tls".into();
        snapshot["ports"][0]["tls"] = json!({ "producer": none, "consumers": { "away": theirs } });
    });
    let mut caller = scene.connect();
    caller.read_exact(&mut [0; 8]).expect("it is heard before anything is said");
}

#[test]
fn a_silent_connection_ends_when_the_service_that_it_leads_to_says_so() {
    let heard = Heard::default();
    let scene = Scene::with(&[listening(&heard, "hello", "")], |snapshot| {
        split(snapshot, &["other"]);
        snapshot["backends"][0]["traffic"] =
            json!({ "pool": { "streamIdle": { "secs": 0, "nanos": 100_000_000 } } });
        snapshot["ports"][0]["protocol"] = "tcp".into();
        snapshot["ports"][0]["tcp"] = json!({ "producer": outlets("TCPRoute", "other"), "consumers": {} });
    });
    let mut caller = scene.connect();
    caller.read_exact(&mut [0; 5]).expect("a greeting");
    let end = caller.read(&mut [0]);
    assert!(!end.is_err_and(|it| it.kind() == ErrorKind::WouldBlock), "nobody ended it");
}

#[test]
fn tls_goes_where_its_name_leads_and_arrives_as_it_was_sent() {
    let all = Heard::default();
    let servers = ["a", "b", "c"].map(|name| listening(&all, "", name));
    let scene = Scene::with(&servers, |snapshot| {
        split(snapshot, &["a", "b", "c"]);
        snapshot["ports"][0]["protocol"] = "tls".into();
        let names = json!({
            "exact": { "a.example.com": outlets("TLSRoute", "a") },
            "below": { "example.com": outlets("TLSRoute", "b") },
            "any": outlets("TLSRoute", "c"),
        });
        snapshot["ports"][0]["tls"] = json!({ "producer": names, "consumers": {} });
    });
    let rows = [
        ("a.example.com", "a"),
        ("A.Example.com", "a"),
        ("b.example.com", "b"),
        ("d.a.example.com", "b"),
        ("elsewhere.net", "c"),
        ("192.0.2.1", "c"),
    ];
    let mut sent = Vec::new();
    for (name, wanted) in rows {
        let hello = hello(name);
        assert_eq!(exchange(&scene, &hello), wanted, "{name}");
        sent.push(latin1(&hello));
    }
    // In pieces, of which the first says too little.
    let whole = hello("a.example.com");
    let mut caller = scene.connect();
    caller.set_nodelay(true).expect("at once");
    for piece in whole.chunks(40) {
        caller.write_all(piece).expect("written");
    }
    caller.shutdown(Shutdown::Write).expect("ended");
    let mut answer = String::new();
    caller.read_to_string(&mut answer).expect("an end");
    assert_eq!(answer, "a");
    sent.push(latin1(&whole));
    assert_eq!(all.all(), sent);
}

#[test]
fn tls_for_a_name_that_no_route_is_about_is_reset() {
    let heard = Heard::default();
    let scene = Scene::with(&[listening(&heard, "", "a")], |snapshot| {
        split(snapshot, &["a"]);
        snapshot["ports"][0]["protocol"] = "tls".into();
        let names = json!({
            "exact": { "a.example.com": outlets("TLSRoute", "a") }, "below": {}, "any": null,
        });
        snapshot["ports"][0]["tls"] = json!({ "producer": names, "consumers": {} });
    });
    for name in ["b.example.com", "192.0.2.1"] {
        let mut caller = scene.connect();
        caller.write_all(&hello(name)).expect("written");
        assert_reset(&mut caller);
    }
    assert_eq!(exchange(&scene, &hello("a.example.com")), "a");
    assert_eq!(heard.all().len(), 1);
}

#[test]
fn tls_without_a_route_goes_to_the_service_itself() {
    let heard = Heard::default();
    let scene = speaking("tls", &[listening(&heard, "", "bye")]);
    let hello = hello("anything.example.com");
    assert_eq!(exchange(&scene, &hello), "bye");
    assert_eq!(heard.all(), [latin1(&hello)]);
}

#[test]
fn a_server_that_speaks_first_is_heard_before_its_caller_has_said_anything() {
    let heard = Heard::default();
    let scene = speaking("detect", &[listening(&heard, "220 mail ESMTP\r\n", "221 bye\r\n")]);
    let mut caller = scene.connect();
    let mut greeting = [0; 16];
    caller.read_exact(&mut greeting).expect("a greeting");
    assert_eq!(&greeting, b"220 mail ESMTP\r\n");
    // What looks like a request is none here.
    caller.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
    caller.shutdown(Shutdown::Write).expect("ended");
    let mut last = String::new();
    caller.read_to_string(&mut last).expect("an end");
    assert_eq!(last, "221 bye\r\n");
    assert_eq!(heard.all(), ["GET / HTTP/1.1\r\n\r\n"]);
}

#[test]
fn who_says_nothing_and_ends_its_side_still_hears_the_server() {
    let heard = Heard::default();
    // It speaks only when it knows that nothing comes.
    let scene = speaking("detect", &[listening(&heard, "", "the time is now\n")]);
    assert_eq!(exchange(&scene, b""), "the time is now\n");
    assert_eq!(heard.all(), [""]);
}

#[test]
fn requests_are_found_out_and_read() {
    let heard = Heard::default();
    let scene = speaking("detect", &[answering(&heard, OK)]);
    let answer = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(heard.all()[0].contains("x-forwarded-for: 127.0.0.1\r\n"), "{:?}", heard.all());
}

#[test]
fn what_is_no_request_is_passed_on_as_it_is() {
    let heard = Heard::default();
    let scene = speaking("detect", &[listening(&heard, "", "bye")]);
    let hello = hello("web.example.com");
    let rows: [&[u8]; 6] = [
        b"\0\x01\x02\xff",
        b"PING\r\n",
        b"GET key\r\n",
        b"CONNECT {\"verbose\":false}\r\n",
        b"EHLO host\r\n",
        &hello,
    ];
    for said in rows {
        assert_eq!(exchange(&scene, said), "bye", "{said:?}");
    }
    assert_eq!(heard.all(), rows.map(latin1));
}

#[test]
fn what_only_begins_like_a_request_is_passed_on_when_nothing_follows() {
    let heard = Heard::default();
    let scene = speaking(
        "detect",
        &[server({
            let heard = heard.clone();
            move |mut stream| {
                let mut bytes = [0; 5];
                stream.read_exact(&mut bytes).expect("said");
                heard.add(latin1(&bytes));
                stream.write_all(b"heard").expect("written");
            }
        })],
    );
    let mut caller = scene.connect();
    // The caller waits for an answer now.
    caller.write_all(b"GET /").expect("written");
    let mut answer = String::new();
    caller.read_to_string(&mut answer).expect("an end");
    assert_eq!((answer.as_str(), heard.all()), ("heard", vec!["GET /".to_owned()]));
}

#[test]
fn without_an_endpoint_connections_are_reset_and_requests_are_told() {
    for protocol in ["tcp", "tls", "detect"] {
        let scene = speaking(protocol, &[nobody()]);
        let mut silent = scene.connect();
        assert_reset(&mut silent);
        let mut speaks = scene.connect();
        match speaks.write_all(b"\0\x01\x02") {
            Ok(()) => assert_reset(&mut speaks),
            // Already.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    let scene = speaking("detect", &[nobody()]);
    let answer = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("x-wabe-reason: connect-failed\r\n"), "{answer}");
}

#[test]
fn a_caller_of_bytes_stays_where_its_address_leads() {
    let heard = Heard::default();
    let servers = ["a", "b", "c"].map(|name| listening(&heard, name, ""));
    let scene = Scene::with(&servers, |snapshot| {
        snapshot["ports"][0]["protocol"] = "tcp".into();
        snapshot["backends"][0]["traffic"] = json!({ "hash": "source" });
    });
    let first = exchange(&scene, b"hi");
    for _ in 0..20 {
        assert_eq!(exchange(&scene, b"hi"), first);
    }
}

#[test]
fn an_endpoint_that_takes_connections_and_resets_them_at_once_gets_no_more() {
    let (bad, good) = (Heard::default(), Heard::default());
    let resetting = server({
        let bad = bad.clone();
        move |mut stream| {
            stream.read_exact(&mut [0; 2]).expect("said");
            bad.add("reset");
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set");
        }
    });
    let hour = json!({ "secs": 3600, "nanos": 0 });
    let outliers = json!({
        "failures": 2, "serverErrors": 2, "interval": hour, "baseEjection": hour,
        "maxPercent": 100, "minHealthPercent": 0,
    });
    let answering = server({
        let good = good.clone();
        move |mut stream| {
            stream.read_exact(&mut [0; 2]).expect("said");
            good.add("answered");
            stream.write_all(b"bye").expect("written");
        }
    });
    let scene = Scene::with(&[resetting, answering], |snapshot| {
        snapshot["ports"][0]["protocol"] = "tcp".into();
        snapshot["backends"][0]["traffic"] = json!({ "outliers": outliers, "balance": "round-robin" });
    });
    for _ in 0..20 {
        let mut caller = scene.connect();
        caller.write_all(b"hi").expect("written");
        let _ = caller.read_to_end(&mut Vec::new());
    }
    assert_eq!((bad.all().len(), good.all().len()), (2, 18));
}

#[test]
fn routes_of_bytes_split_by_weight() {
    let heard = Heard::default();
    let servers = ["a", "b"].map(|name| listening(&heard, name, ""));
    for (kind, table) in [("TCPRoute", "tcp"), ("TLSRoute", "tls")] {
        let scene = Scene::with(&servers, |snapshot| {
            split(snapshot, &["a", "b"]);
            let mut both = outlets(kind, "a");
            both["backends"][0]["weight"] = 3.into();
            let other = outlets(kind, "b")["backends"][0].clone();
            both["backends"].as_array_mut().expect("a list").push(other);
            snapshot["ports"][0]["protocol"] = table.into();
            snapshot["ports"][0][table] = match kind {
                "TCPRoute" => json!({ "producer": both, "consumers": {} }),
                _ => json!({ "producer": { "exact": {}, "below": {}, "any": both }, "consumers": {} }),
            };
        });
        let said = hello("web.example.com");
        let to_a = (0..200).filter(|_| exchange(&scene, &said) == "a").count();
        // 150, give or take five standard deviations.
        assert!((120..180).contains(&to_a), "{kind}: {to_a} of 200");
    }
}
