//! The load generator against small servers on loopback: what it counts, and what it says of what goes wrong.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use wabe_lab::{
    load::{Arrivals, Plan, Protocol, faults, run},
    results::Load,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A server that calls `act` with each request's connection and number; false ends the connection.
fn server(act: impl Fn(&mut TcpStream, usize) -> bool + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound");
    let (act, count) = (Arc::new(act), Arc::new(AtomicUsize::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, act, count) =
                (stream.expect("a connection"), Arc::clone(&act), Arc::clone(&count));
            thread::spawn(move || {
                let mut request = Vec::new();
                while let Some(more) = next(&mut stream, &mut request) {
                    request = more;
                    if !act(&mut stream, count.fetch_add(1, Ordering::Relaxed)) {
                        return;
                    }
                }
            });
        }
    });
    at
}

/// Waits for a whole head, and returns what is left behind it.
fn next(stream: &mut TcpStream, held: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = held.windows(4).position(|it| it == b"\r\n\r\n") {
            return Some(held.split_off(end + 4));
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).ok().filter(|it| *it > 0)?;
        held.extend_from_slice(&buffer[..count]);
    }
}

fn plan(at: SocketAddr, arrivals: Arrivals) -> Plan {
    Plan {
        url: format!("http://{at}/x").parse().expect("a URL"),
        arrivals,
        connections: 4,
        fresh: false,
        protocol: Protocol::Http1,
        warm_up: Duration::from_millis(50),
        time: Duration::from_millis(500),
        timeout: Duration::from_secs(2),
        body: 0,
        trust: None,
        seed: 1,
    }
}

fn whole(load: &Load) {
    assert!(load.failed.is_empty() && load.answered > 0 && load.answers >= load.answered, "{load:?}");
    assert_eq!(load.latency.count, load.answered);
    assert_eq!(load.bytes, load.answered * 5);
}

#[test]
fn a_schedule_is_sent_and_every_answer_counted() {
    let at = server(|stream, _| stream.write_all(ANSWER).is_ok());
    for arrivals in [Arrivals::Constant(200.0), Arrivals::Poisson(200.0)] {
        let load = run(&plan(at, arrivals)).expect("a load");
        whole(&load);
        assert_eq!(load.sent, load.answered);
        assert!((60..=140).contains(&load.sent), "100 were due, {} sent", load.sent);
        assert_eq!(load.lateness.as_ref().map(|it| it.count), Some(load.sent));
    }
}

#[test]
fn a_stall_is_felt_by_all_who_were_due_meanwhile() {
    // One connection, 100 requests a second, and one of them takes 300 ms: about thirty wait for it, not one.
    let at = server(|stream, number| {
        if number == 20 {
            thread::sleep(Duration::from_millis(300));
        }
        stream.write_all(ANSWER).is_ok()
    });
    let plan = Plan { connections: 1, ..plan(at, Arrivals::Constant(100.0)) };
    let load = run(&plan).expect("a load");
    whole(&load);
    let slow = load.latency.decode().expect("a histogram");
    let felt = slow.len() - slow.count_between(0, 30_000_000);
    assert!(felt >= 15, "only {felt} of {} felt the stall", load.answered);
}

#[test]
fn without_a_schedule_each_connection_has_one_request_at_a_time() {
    let open = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&open);
    let at = server(move |stream, _| {
        let now = seen.fetch_add(1, Ordering::Relaxed) + 1;
        let fits = now <= 4;
        thread::sleep(Duration::from_millis(1));
        seen.fetch_sub(1, Ordering::Relaxed);
        fits && stream.write_all(ANSWER).is_ok()
    });
    let load = run(&plan(at, Arrivals::Closed)).expect("a load");
    whole(&load);
    assert!(load.intended_rate.is_none() && load.lateness.is_none() && faults(&load).is_empty());
}

#[test]
fn each_request_can_have_a_connection_of_its_own() {
    let at = server(|stream, _| stream.write_all(ANSWER).is_ok());
    let load = run(&Plan { fresh: true, ..plan(at, Arrivals::Constant(100.0)) }).expect("a load");
    whole(&load);
    assert!(load.set_up.is_some_and(|it| it.count + 2 >= load.answered && it.p50 > 0));
}

#[test]
fn what_fails_is_counted_by_kind_and_the_rest_goes_on() {
    let at = server(|stream, number| match number % 4 {
        0 => stream.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").is_ok(),
        1 => false,
        2 => stream.write_all(b"HELLO\r\n\r\n").is_ok(),
        _ => stream.write_all(ANSWER).is_ok(),
    });
    let load = run(&plan(at, Arrivals::Constant(200.0))).expect("a load");
    let kinds: Vec<&str> = load.failed.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["closed early", "no HTTP/1.1 answer", "status 503"], "{load:?}");
    assert_eq!(load.sent, load.answered + load.failed.values().sum::<u64>());
}

#[test]
fn answers_that_never_come_time_out() {
    let at = server(|stream, number| number % 2 == 0 || stream.write_all(ANSWER).is_ok());
    let plan = Plan { timeout: Duration::from_millis(100), ..plan(at, Arrivals::Constant(50.0)) };
    let load = run(&plan).expect("a load");
    assert!(load.failed.get("timeout").is_some_and(|it| *it > 2), "{:?}", load.failed);
}

#[test]
fn a_server_that_is_not_there_is_an_error_and_no_result() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound");
    drop(listener);
    let error = run(&plan(at, Arrivals::Constant(100.0))).expect_err("nobody is there");
    assert!(error.to_string().contains("never gave a right answer: refused"), "{error}");
}

#[test]
fn a_rate_that_nobody_can_send_is_no_result() {
    let at = server(|stream, _| {
        thread::sleep(Duration::from_millis(20));
        stream.write_all(ANSWER).is_ok()
    });
    // What is due while it counts waits behind some 100 000 requests of the time before.
    let plan = Plan {
        warm_up: Duration::from_millis(500),
        timeout: Duration::from_millis(500),
        ..plan(at, Arrivals::Constant(200_000.0))
    };
    let error = run(&plan).expect_err("no result").to_string();
    assert!(error.contains("200000 requests/s are far more than can be sent"), "{error}");
}

#[test]
fn a_path_that_is_too_slow_for_the_schedule_is_told() {
    let at = server(|stream, _| {
        thread::sleep(Duration::from_millis(50));
        stream.write_all(ANSWER).is_ok()
    });
    let load = run(&Plan { connections: 1, ..plan(at, Arrivals::Constant(200.0)) }).expect("a load");
    let faults = faults(&load);
    assert!(faults.len() == 1 && faults[0].contains("the path is overloaded"), "{faults:?}");
}

#[test]
fn chunked_answers_are_read_to_their_end() {
    let at = server(|stream, _| {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        answer.chunks(7).all(|piece| stream.write_all(piece).is_ok())
    });
    whole(&run(&plan(at, Arrivals::Constant(100.0))).expect("a load"));
}

#[test]
fn datagrams_come_back() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = socket.local_addr().expect("bound");
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..count], from);
        }
    });
    let plan = Plan { url: format!("udp://{at}").parse().expect("a URL"), ..plan(at, Arrivals::Closed) };
    let load = run(&plan).expect("a load");
    assert!(load.failed.is_empty() && load.bytes == load.answered * 64, "{load:?}");
}

#[test]
fn http2_with_prior_knowledge() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let at = listener.local_addr().expect("bound");
    thread::spawn(move || {
        runtime.block_on(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        let mut body = respond.send_response(http::Response::new(()), false).expect("a head");
                        body.send_data("hello".into(), true).expect("a body");
                    }
                });
            }
        });
    });
    for arrivals in [Arrivals::Closed, Arrivals::Constant(100.0)] {
        whole(&run(&Plan { protocol: Protocol::Http2, ..plan(at, arrivals) }).expect("a load"));
    }
}

#[test]
fn tls_is_spoken_with_those_who_are_trusted_only() {
    let (at, root) = tls_server();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), root).expect("written");
    let url = format!("https://localhost:{}/", at.port()).parse().expect("a URL");
    let trusted = Plan { url, trust: Some(file.path().to_owned()), ..plan(at, Arrivals::Constant(50.0)) };
    for fresh in [false, true] {
        whole(&run(&Plan { fresh, ..trusted.clone() }).expect("a load"));
    }
    let error = run(&Plan { trust: None, ..trusted.clone() }).expect_err("whom to trust?");
    assert!(error.to_string().contains("--trust"), "{error}");
    let (_, other) = tls_server();
    std::fs::write(file.path(), other).expect("written");
    let error = run(&trusted).expect_err("another root");
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// A server for `localhost`, and the root of its certificate.
fn tls_server() -> (SocketAddr, String) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (chain, root) = (vec![certified.cert.der().clone()], certified.cert.pem());
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a configuration");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, config) = (stream.expect("a connection"), Arc::clone(&config));
            thread::spawn(move || {
                let session = rustls::ServerConnection::new(config).expect("a session");
                let mut stream = rustls::StreamOwned::new(session, stream);
                let mut buffer = [0; 4096];
                // Heads come in one piece here.
                while stream.read(&mut buffer).is_ok_and(|count| count > 0)
                    && stream.write_all(ANSWER).is_ok()
                {}
            });
        }
    });
    (at, root)
}
