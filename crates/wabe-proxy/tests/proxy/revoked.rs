//! What was let through and goes on is judged again when policies change.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, mpsc},
};

use bytes::Bytes;
use h2::Reason;

use crate::{
    drain::{MASKED_CLOSE, assert_ends, caller, echoing, post, read, switching, websocket},
    http1::read_request,
    http2::{grpc_echo, run},
    policies::guard,
    scene::{PATIENCE, Scene, server},
};

/// Nobody gets to this path any more.
const SECRET: &str = "{action: DENY, rules: [{to: [{operation: {paths: [/secret]}}]}]}";
/// Close frames that say "policy violation": to a caller, and the two bytes that it says.
const REFUSED: [u8; 4] = [0x88, 0x02, 0x03, 0xf0];

/// A server whose end of each connection is the test's, once it has got a request and said this.
pub fn saying(answer: &'static str) -> (SocketAddr, mpsc::Receiver<TcpStream>) {
    let (give, take) = mpsc::channel();
    let give = Mutex::new(give);
    let address = server(move |mut stream| {
        if read_request(&mut stream).is_some() {
            stream.write_all(answer.as_bytes()).expect("written");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time");
            give.lock().expect("no panic").send(stream).expect("awaited");
        }
    });
    (address, take)
}

pub fn scene(address: SocketAddr) -> Scene {
    Scene::with(&[address], |snapshot| snapshot["ports"][0]["protocol"] = "http".into())
}

fn refuse(scene: &Scene, spec: &str) {
    scene.change(|snapshot| guard(snapshot, spec, 2));
}

/// Both ends of an exchange that is under way.
pub fn asked(
    scene: &Scene,
    servers: &mpsc::Receiver<TcpStream>,
    path: &str,
    version: &str,
) -> (TcpStream, TcpStream) {
    let mut caller = scene.connect();
    caller.write_all(format!("GET {path} HTTP/{version}\r\nhost: web\r\n\r\n").as_bytes()).expect("written");
    (caller, servers.recv_timeout(PATIENCE).expect("connected"))
}

/// Reads up to where this comes.
pub fn read_to(stream: &mut TcpStream, end: &[u8]) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        bytes.extend_from_slice(&read::<1>(stream));
    }
}

/// What comes up to the end, and whether that is a reset.
pub fn rest(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => (bytes, false),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            (bytes, true)
        }
    }
}

pub const CHUNK: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";

#[test]
fn answers_that_are_refused_by_now_break_off_and_others_go_on() {
    let (address, servers) = saying(CHUNK);
    let scene = scene(address);
    let mut secret = asked(&scene, &servers, "/secret", "1.1");
    let mut open = asked(&scene, &servers, "/open", "1.1");
    let mut old = asked(&scene, &servers, "/secret", "1.0");
    for (caller, end) in [(&mut secret.0, "one\r\n"), (&mut open.0, "one\r\n"), (&mut old.0, "one")] {
        read_to(caller, end.as_bytes());
    }
    refuse(&scene, SECRET);
    assert_eq!(rest(&mut secret.0).0, b"", "no last chunk");
    assert_eq!(rest(&mut secret.1).0, b"", "the server's end, too");
    assert_eq!(rest(&mut old.0), (vec![], true), "an end would look as if all had come");
    open.1.write_all(b"3\r\ntwo\r\n0\r\n\r\n").expect("written");
    read_to(&mut open.0, b"3\r\ntwo\r\n0\r\n\r\n");
}

#[test]
fn who_waits_for_an_answer_is_told() {
    let (address, servers) = saying("");
    let scene = scene(address);
    let (mut caller, mut server) = asked(&scene, &servers, "/secret", "1.1");
    refuse(&scene, SECRET);
    let answer = read_request(&mut caller).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert!(answer.contains("x-wabe-reason: policy\r\n"), "{answer}");
    assert_eq!(rest(&mut server).0, b"");
}

#[test]
fn no_more_of_a_body_is_sent() {
    let (give, servers) = mpsc::channel();
    let give = Mutex::new(give);
    let address = server(move |mut stream| {
        read_to(&mut stream, b"3\r\none\r\n");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        give.lock().expect("no panic").send(stream).expect("awaited");
    });
    let scene = scene(address);
    let mut caller = scene.connect();
    let head = "PUT /secret HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n";
    caller.write_all(format!("{head}3\r\none\r\n").as_bytes()).expect("written");
    let mut server: TcpStream = servers.recv_timeout(PATIENCE).expect("connected");
    refuse(&scene, SECRET);
    let (answer, _) = rest(&mut caller);
    assert!(answer.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(rest(&mut server).0, b"", "no last chunk");
}

#[test]
fn streams_are_told_in_their_own_words() {
    let scene = scene(grpc_echo());
    run(async {
        let (mut caller, _end) = caller(&scene).await;
        let (_calling, mut call) = echoing(&mut caller, "application/grpc").await;
        let (_sending, mut other) = echoing(&mut caller, "application/octet-stream").await;
        let (silent, _silent) =
            caller.send_request(post("/silent", "application/grpc"), false).expect("sent");
        refuse(&scene, "{action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}");
        assert!(call.data().await.is_none());
        let trailers = call.trailers().await.expect("trailers").expect("trailers");
        assert_eq!(trailers["grpc-status"], "7", "PERMISSION_DENIED");
        assert!(trailers["grpc-message"].to_str().is_ok_and(|it| it.contains("policy")), "{trailers:?}");
        assert_eq!(silent.await.expect("an answer").headers()["grpc-status"], "7");
        let error = other.data().await.expect("an end").expect_err("it did not come to its end");
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    });
}

#[test]
fn streams_that_are_still_allowed_go_on() {
    let scene = scene(grpc_echo());
    run(async {
        let (mut caller, _end) = caller(&scene).await;
        let (mut sender, mut body) = echoing(&mut caller, "application/grpc").await;
        let (_sending, mut other) = echoing(&mut caller, "application/octet-stream").await;
        let spec = "{rules: [{when: [{key: 'request.headers[content-type]', values: [application/grpc]}]}]}";
        refuse(&scene, spec);
        let _ = other.data().await.expect("an end").expect_err("it did not come to its end");
        sender.send_data(Bytes::from_static(b"two"), true).expect("sent");
        assert_eq!(body.data().await.expect("data").expect("data"), "two");
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.expect("trailers").expect("trailers")["grpc-status"], "0");
    });
}

const CHAT: &str = "{action: DENY, rules: [{to: [{operation: {paths: [/chat]}}]}]}";

#[test]
fn both_ends_of_a_websocket_are_told() {
    let (address, servers) = switching();
    let scene = scene(address);
    let (mut caller, mut server) = websocket(&scene, &servers);
    caller.write_all(b"\x81\x81\0\0\0\0a").expect("written");
    assert_eq!(&read::<7>(&mut server), b"\x81\x81\0\0\0\0a");
    scene.change(|snapshot| guard(snapshot, SECRET, 2));
    scene.change(|snapshot| guard(snapshot, CHAT, 3));
    assert_eq!(read(&mut caller), REFUSED);
    let close: [u8; 8] = read(&mut server);
    assert_eq!(close[..2], MASKED_CLOSE);
    assert_eq!([close[6] ^ close[2], close[7] ^ close[3]], REFUSED[2..]);
    assert_ends(&mut server, b"");
    assert_ends(&mut caller, b"");
}

#[test]
fn nothing_is_said_in_the_middle_of_a_websockets_frame() {
    let (address, servers) = switching();
    let scene = scene(address);
    let (mut caller, mut server) = websocket(&scene, &servers);
    caller.write_all(b"\x81\x83\0\0\0\0a").expect("written");
    assert_eq!(&read::<7>(&mut server), b"\x81\x83\0\0\0\0a");
    refuse(&scene, CHAT);
    assert_eq!(read(&mut caller), REFUSED);
    assert_ends(&mut caller, b"");
    assert_eq!(rest(&mut server), (vec![], true));
}

#[test]
fn tunnels_are_reset() {
    let (address, servers) = saying("HTTP/1.1 200 OK\r\n\r\n");
    let scene = scene(address);
    let mut caller = scene.connect();
    caller.write_all(b"CONNECT web:80 HTTP/1.1\r\nhost: web:80\r\n\r\n").expect("written");
    read_to(&mut caller, b"\r\n\r\n");
    let mut server = servers.recv_timeout(PATIENCE).expect("connected");
    server.write_all(b"hi").expect("written");
    assert_eq!(&read::<2>(&mut caller), b"hi");
    refuse(&scene, "{action: DENY, rules: [{to: [{operation: {methods: [CONNECT]}}]}]}");
    assert_eq!(rest(&mut caller), (vec![], true));
    assert_eq!(rest(&mut server), (vec![], true));
}
