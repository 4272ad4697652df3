//! What becomes of what lasts when the proxy ends: each kind is told in its own words, and none is reset.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, client};
use http::Request;
use serde_json::json;

use crate::{
    http1::{answering, read_request},
    http2::{grpc_echo, run},
    patience::http1,
    retries::{UNAVAILABLE, add_rule},
    revoked::{CHUNK, asked, read_to, rest, saying},
    scene::{Heard, PATIENCE, Scene, server},
};

/// Long enough for what a test does before the time is up.
const DRAIN: Duration = Duration::from_millis(1500);
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
/// Close frames that say "going away": to a caller, and how one begins that goes to a server.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
pub const MASKED_CLOSE: [u8; 2] = [0x88, 0x82];

/// A server whose end of each connection is the test's, once it has switched to WebSocket.
pub fn switching() -> (SocketAddr, mpsc::Receiver<TcpStream>) {
    let (give, take) = mpsc::channel();
    let give = Mutex::new(give);
    let address = server(move |mut stream| {
        if read_request(&mut stream).is_some() {
            stream.write_all(SWITCH.as_bytes()).expect("written");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time");
            give.lock().expect("no panic").send(stream).expect("awaited");
        }
    });
    (address, take)
}

/// Both ends of a WebSocket through the proxy.
pub fn websocket(scene: &Scene, servers: &mpsc::Receiver<TcpStream>) -> (TcpStream, TcpStream) {
    let mut caller = scene.connect();
    let head = "GET /chat HTTP/1.1\r\nhost: web\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\r\n";
    caller.write_all(head.as_bytes()).expect("written");
    assert!(read_request(&mut caller).is_some_and(|it| it.starts_with("HTTP/1.1 101 ")));
    (caller, servers.recv_timeout(PATIENCE).expect("connected"))
}

pub fn read<const LENGTH: usize>(stream: &mut TcpStream) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).expect("so many bytes");
    bytes
}

/// It ends in order, after these bytes.
#[track_caller]
pub fn assert_ends(stream: &mut TcpStream, wanted: &[u8]) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an end that is no reset");
    assert_eq!(bytes, wanted);
}

#[test]
fn a_websocket_ends_by_close_frames_between_two_frames() {
    let (address, servers) = switching();
    let scene = Scene::draining(&[address], DRAIN, |_| {});
    let (mut caller, mut server) = websocket(&scene, &servers);
    // Each is in the middle of a frame.
    server.write_all(b"\x82\x05hel").expect("written");
    assert_eq!(&read::<5>(&mut caller), b"\x82\x05hel");
    caller.write_all(b"\x82\x83\0\0\0").expect("written");
    assert_eq!(&read::<5>(&mut server), b"\x82\x83\0\0\0");
    scene.drain();
    // By then it is its turn.
    thread::sleep(DRAIN * 3 / 4);
    caller.set_nonblocking(true).expect("non-blocking");
    assert_eq!(caller.read(&mut [0]).expect_err("not in a frame").kind(), ErrorKind::WouldBlock);
    caller.set_nonblocking(false).expect("blocking");
    // The frame's end, and another one that goes nowhere.
    server.write_all(b"lo\x81\x00").expect("written");
    assert_eq!(&read::<2>(&mut caller), b"lo");
    assert_eq!(read(&mut caller), GOING_AWAY);
    // What the caller sent before it heard of it arrives, and its own Close frame.
    let rest = b"\0one\x81\x81\0\0\0\0a\x88\x82\0\0\0\0\x03\xe9";
    caller.write_all(rest).expect("written");
    assert_eq!(&read(&mut server), rest);
    server.write_all(&GOING_AWAY).expect("written");
    assert_ends(&mut server, b"");
    assert_ends(&mut caller, b"");
}

#[test]
fn a_websocket_whose_caller_does_not_answer_ends_all_the_same() {
    let (address, servers) = switching();
    let scene = Scene::draining(&[address], DRAIN, |_| {});
    let (mut caller, mut server) = websocket(&scene, &servers);
    scene.drain();
    assert_eq!(read(&mut caller), GOING_AWAY);
    let close: [u8; 8] = read(&mut server);
    assert_eq!(close[..2], MASKED_CLOSE);
    assert_eq!([close[6] ^ close[2], close[7] ^ close[3]], GOING_AWAY[2..]);
    assert_ends(&mut server, b"");
    assert_ends(&mut caller, b"");
}

#[test]
fn websockets_do_not_all_end_at_once() {
    let (address, servers) = switching();
    let scene = Scene::draining(&[address], DRAIN, |_| {});
    let ends: Vec<_> = (0..20).map(|_| websocket(&scene, &servers)).collect();
    let began = Instant::now();
    scene.drain();
    let told = ends.into_iter().map(|(mut caller, server)| {
        thread::spawn(move || {
            assert_eq!(read(&mut caller), GOING_AWAY);
            let told = began.elapsed();
            drop((caller, server));
            told
        })
    });
    let mut told: Vec<Duration> =
        told.collect::<Vec<_>>().into_iter().map(|it| it.join().expect("told")).collect();
    told.sort();
    assert!(told[0] >= DRAIN / 30 && told[19] < DRAIN, "{told:?}");
    assert!(told[19] - told[0] > DRAIN / 6, "{told:?}");
}

#[test]
fn what_is_no_websocket_though_it_said_so_ends_without_a_frame() {
    let (address, servers) = switching();
    let scene = Scene::draining(&[address], DRAIN, |_| {});
    let (mut caller, mut server) = websocket(&scene, &servers);
    caller.write_all(b"\x01\x01not masked").expect("written");
    assert_eq!(&read::<12>(&mut server), b"\x01\x01not masked");
    server.write_all(b"\x82\xffmasked as no server may").expect("written");
    assert_eq!(&read::<25>(&mut caller), b"\x82\xffmasked as no server may");
    scene.drain();
    assert_ends(&mut caller, b"");
    assert_ends(&mut server, b"");
}

#[test]
fn quiet_tcp_connections_end_in_order_when_the_time_is_up() {
    let (give, servers) = mpsc::channel();
    let give = Mutex::new(give);
    let address = server(move |stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        give.lock().expect("no panic").send(stream).expect("awaited");
    });
    let scene =
        Scene::draining(&[address], DRAIN, |snapshot| snapshot["ports"][0]["protocol"] = "tcp".into());
    let mut caller = scene.connect();
    caller.write_all(b"hi").expect("written");
    let mut server: TcpStream = servers.recv_timeout(PATIENCE).expect("connected");
    assert_eq!(&read::<2>(&mut server), b"hi");
    let began = Instant::now();
    scene.drain();
    // Until then it goes on.
    thread::sleep(DRAIN / 2);
    server.write_all(b"ho").expect("written");
    assert_eq!(&read::<2>(&mut caller), b"ho");
    assert_ends(&mut caller, b"");
    assert!(began.elapsed() >= DRAIN);
    assert_ends(&mut server, b"");
}

#[test]
fn what_broke_off_in_the_middle_does_not_look_whole() {
    let address = server(|mut stream| while stream.write_all(&[7; 100]).is_ok() {});
    let mut scene =
        Scene::draining(&[address], DRAIN, |snapshot| snapshot["ports"][0]["protocol"] = "tcp".into());
    let mut caller = scene.connect();
    assert_eq!(read::<1>(&mut caller), [7], "it is in the middle");
    // What nobody reads meanwhile is under way.
    scene.end();
    let mut bytes = vec![0; 64 << 10];
    let end = loop {
        match caller.read(&mut bytes) {
            Ok(1..) => {}
            Ok(0) => break None,
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
}

pub fn post(path: &str, kind: &'static str) -> Request<()> {
    let uri = format!("http://web{path}");
    Request::post(uri).header("content-type", kind).header("te", "trailers").body(()).expect("a request")
}

/// How a caller's connection ended.
pub type End = tokio::task::JoinHandle<Result<(), h2::Error>>;

pub async fn caller(scene: &Scene) -> (client::SendRequest<Bytes>, End) {
    let stream = tokio::net::TcpStream::connect(scene.address).await.expect("connected");
    let (sender, connection) = client::handshake(stream).await.expect("HTTP/2");
    (sender.ready().await.expect("ready"), tokio::spawn(connection))
}

/// A stream that echoes, under way.
pub async fn echoing(
    caller: &mut client::SendRequest<Bytes>,
    kind: &'static str,
) -> (h2::SendStream<Bytes>, RecvStream) {
    let (answer, mut sender) = caller.send_request(post("/Echo/Both", kind), false).expect("sent");
    sender.send_data(Bytes::from_static(b"one"), false).expect("sent");
    let mut body = answer.await.expect("an answer").into_body();
    assert_eq!(body.data().await.expect("data").expect("data"), "one");
    (sender, body)
}

#[test]
fn streams_go_on_after_goaway_and_end_by_themselves() {
    let scene = Scene::draining(&[grpc_echo()], DRAIN, |_| {});
    run(async {
        let (mut caller, end) = caller(&scene).await;
        let (mut sender, mut body) = echoing(&mut caller, "application/grpc").await;
        scene.drain();
        // No further one is begun.
        let refused = loop {
            match caller.clone().ready().await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.reason(), Some(Reason::NO_ERROR), "{refused}");
        sender.send_data(Bytes::from_static(b"two"), true).expect("sent");
        assert_eq!(body.data().await.expect("data").expect("data"), "two");
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.expect("trailers").expect("trailers")["grpc-status"], "0");
        end.await.expect("no panic").expect("an end in order");
    });
}

#[test]
fn streams_that_last_too_long_are_told_and_their_connection_ends_in_order() {
    let scene = Scene::draining(&[grpc_echo()], DRAIN, |_| {});
    run(async {
        let (mut caller, end) = caller(&scene).await;
        let (_sender, mut body) = echoing(&mut caller, "application/grpc").await;
        let (_other_sender, mut other) = echoing(&mut caller, "application/octet-stream").await;
        let (silent, _silent_sender) =
            caller.send_request(post("/silent", "application/grpc"), false).expect("sent");
        let began = Instant::now();
        scene.drain();
        assert!(body.data().await.is_none());
        assert!(began.elapsed() >= DRAIN);
        let trailers = body.trailers().await.expect("trailers").expect("trailers");
        assert_eq!(trailers["grpc-status"], "14", "UNAVAILABLE");
        assert!(
            trailers["grpc-message"].to_str().is_ok_and(|it| it.contains("proxy-ending")),
            "{trailers:?}"
        );
        let silent = silent.await.expect("an answer");
        assert_eq!(
            (&silent.headers()["grpc-status"], silent.status().as_u16()),
            (&"14".parse().expect("a value"), 200)
        );
        assert_eq!(silent.headers()["x-wabe-reason"], "proxy-ending");
        let error = other.data().await.expect("an end").expect_err("it did not come to its end");
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
        end.await.expect("no panic").expect("an end in order");
    });
}

#[test]
fn requests_of_http1_that_last_too_long_are_told_and_what_has_begun_breaks_off() {
    let (address, servers) = saying("");
    let waiting = Scene::draining(&[address], DRAIN, http1);
    let (mut caller, mut server) = asked(&waiting, &servers, "/", "1.1");
    let (address, servers) = saying(CHUNK);
    let mut answered = Scene::draining(&[address], DRAIN, http1);
    let (mut hearing, _telling) = asked(&answered, &servers, "/", "1.1");
    read_to(&mut hearing, b"one\r\n");
    let long = json!({ "secs": 600, "nanos": 0 });
    let heard = Heard::default();
    let (mut repeating, mut delayed) = [
        ("retry", json!({ "codes": [503], "attempts": 1, "backoff": long })),
        (
            "guards",
            json!({ "limit": null, "missing": false, "fault": {
            "name": { "namespace": "shop", "name": "slow" },
            "delay": { "time": long, "share": { "numerator": 1, "denominator": 1 } },
        } }),
        ),
    ]
    .map(|(what, value)| {
        let scene = Scene::draining(&[answering(&heard, UNAVAILABLE)], DRAIN, |snapshot| {
            add_rule(snapshot, |rule| rule[what] = value);
            snapshot["ports"][0]["table"]["producer"][0]["condition"] =
                json!({ "path": { "prefix": "/slow" } });
        });
        let mut caller = scene.connect();
        for path in ["/", "/slow"] {
            write!(caller, "GET {path} HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
            if path == "/" {
                assert!(read_request(&mut caller).is_some_and(|it| it.starts_with("HTTP/1.1 404 ")));
            }
        }
        (scene, caller)
    })
    .into();
    heard.wait(1);
    waiting.drain();
    answered.drain();
    for (scene, _) in [&repeating, &delayed] {
        scene.drain();
    }
    for caller in [&mut caller, &mut repeating.1, &mut delayed.1] {
        let mut answer = String::new();
        caller.read_to_string(&mut answer).expect("an end in order");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        for line in ["x-wabe-reason: proxy-ending\r\n", "connection: close\r\n"] {
            assert!(answer.contains(line), "{answer}");
        }
    }
    assert_ends(&mut server, b"");
    assert_eq!(rest(&mut hearing).0, b"", "no last chunk");
    answered.end();
    let all = answered.figures().expect("it tells").requests;
    let reasons: Vec<_> =
        all.iter().flat_map(|it| &it.1.answers).map(|it| (it.code, it.reason.as_deref())).collect();
    assert_eq!(reasons, [(200, Some("proxy-ending"))]);
}

#[test]
fn streams_whose_callers_have_left_are_not_waited_for() {
    let mut scene = Scene::new(&[grpc_echo()]);
    run(async {
        let (mut leaving, end) = caller(&scene).await;
        let _stream = echoing(&mut leaving, "application/grpc").await;
        let (mut resetting, other_end) = caller(&scene).await;
        let (mut sender, _body) = echoing(&mut resetting, "application/grpc").await;
        // It has sent all, and only listens.
        let (mut listening, third_end) = caller(&scene).await;
        let request = post("/unending", "application/grpc");
        let (answer, mut listener) = listening.send_request(request, false).expect("sent");
        listener.send_data(Bytes::new(), true).expect("sent");
        let body = answer.await.expect("an answer").into_body();
        end.abort();
        sender.send_reset(Reason::CANCEL);
        drop((body, listener));
        let began = Instant::now();
        scene.drain();
        other_end.await.expect("no panic").expect("an end in order");
        third_end.await.expect("no panic").expect("an end in order");
        scene.end();
        assert!(began.elapsed() < wabe_proxy::DRAIN / 2, "{:?}", began.elapsed());
    });
}

#[test]
fn a_caller_that_does_not_confirm_goaway_is_not_waited_for() {
    let scene = Scene::draining(&[grpc_echo()], Duration::from_millis(300), |_| {});
    let mut caller = scene.connect();
    caller.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("written");
    // It is served; the ping that follows GOAWAY is never answered.
    let _: [u8; 9] = read(&mut caller);
    scene.drain();
    let mut bytes = Vec::new();
    caller.read_to_end(&mut bytes).expect("an end that is no reset");
    let goaway = [0x00, 0x00, 0x08, 0x07];
    assert!(bytes.windows(4).any(|it| it == goaway), "GOAWAY in {bytes:?}");
}

#[test]
fn who_has_said_nothing_yet_where_nobody_knows_what_is_spoken_is_still_served() {
    let heard = Heard::default();
    let scene = Scene::draining(&[answering(&heard, crate::http1::OK)], DRAIN, |snapshot| {
        snapshot["ports"][0]["protocol"] = "detect".into();
    });
    let (mut caller, mut silent) = (scene.connect(), scene.connect());
    thread::sleep(Duration::from_millis(50));
    scene.drain();
    thread::sleep(DRAIN / 3);
    caller.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
    let mut answer = String::new();
    caller.read_to_string(&mut answer).expect("an answer, and an end");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close\r\n"), "{answer}");
    assert_ends(&mut silent, b"");
}

#[test]
fn what_the_end_of_the_proxy_cut_off_is_told_as_such() {
    let (address, servers) = switching();
    let mut scene = Scene::draining(&[address], DRAIN, |_| {});
    let (mut caller, mut server) = websocket(&scene, &servers);
    scene.drain();
    assert_eq!(read(&mut caller), GOING_AWAY);
    let _: [u8; 8] = read(&mut server);
    drop((caller, server));
    scene.end();
    let figures = scene.figures().expect("told");
    let text = format!("{figures:?}");
    assert!(text.contains("proxy-ending"), "{text}");
}
