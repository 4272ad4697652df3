//! Callers who take their time, and callers who are too many. Nothing here looks at a clock: what has to end ends, whenever.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use wabe_proxy::Bounds;

use crate::{
    frames::{
        CONTINUATION, END_HEADERS, END_STREAM, Frames, GOAWAY, Got, HEADERS, PREFACE, SETTINGS, field, frame,
    },
    http1::{OK, answering, read_request},
    http2::{caller, grpc_echo, run},
    retries::add_rule,
    revoked::{CHUNK, asked, read_to, saying},
    scene::{Heard, PATIENCE, Scene, server},
};

/// Less than anybody here is silent for.
const SHORT: Duration = Duration::from_millis(150);

pub fn http1(snapshot: &mut Value) {
    snapshot["ports"][0]["protocol"] = "http".into();
    snapshot["backends"][0]["speaks"] = "Http1".into();
}

#[track_caller]
fn assert_refused(answer: &str, reason: &str) {
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains(&format!("x-wabe-reason: {reason}\r\n")), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

/// All that comes until the proxy closes.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(&answer)),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_head_that_stops_is_refused() {
    let heard = Heard::default();
    let bounds = Bounds { head: SHORT, ..Bounds::default() };
    let scene = Scene::bounded(&[answering(&heard, OK)], bounds, http1);
    for part in ["GET", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: web\r\n"] {
        assert_refused(&scene.say(part.as_bytes()), "slow-head");
    }
    assert_eq!(heard.all(), [""; 0]);
}

#[test]
fn a_head_that_trickles_is_refused_as_each_octet_earns_no_more_time() {
    let heard = Heard::default();
    let bounds = Bounds { head: SHORT, ..Bounds::default() };
    let scene = Scene::bounded(&[answering(&heard, OK)], bounds, http1);
    let mut stream = scene.connect();
    let mut trickling = stream.try_clone().expect("cloned");
    let writer = thread::spawn(move || {
        let head = b"GET / HTTP/1.1\r\nhost: web\r\n".iter().chain([b'a'; 1000].iter());
        for octet in head {
            if trickling.write_all(&[*octet]).is_err() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    });
    let answer = rest(&mut stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(writer.join().expect("no panic"), "the connection ended before the head did");
    assert_eq!(heard.all(), [""; 0]);
}

#[test]
fn who_says_nothing_or_not_even_which_protocol_it_speaks_is_left() {
    let heard = Heard::default();
    let bounds = Bounds { first: SHORT, ..Bounds::default() };
    let scene = Scene::bounded(&[answering(&heard, OK)], bounds, http1);
    for said in [&b""[..], b"P", &PREFACE[..23]] {
        assert_eq!(scene.say(said), "");
    }
}

/// A server that notes what it reads of each request until its connection ends.
fn reading(heard: &Heard) -> SocketAddr {
    let heard = heard.clone();
    server(move |mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        heard.add(text);
    })
}

#[test]
fn a_body_that_stops_is_refused_and_the_endpoint_is_let_go() {
    let heard = Heard::default();
    let bounds = Bounds { body: SHORT, ..Bounds::default() };
    let scene = Scene::bounded(&[reading(&heard)], bounds, http1);
    let bodies = ["content-length: 10\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\n"];
    for (number, body) in bodies.into_iter().enumerate() {
        let answer = scene.say(format!("POST / HTTP/1.1\r\nhost: web\r\n{body}").as_bytes());
        assert_refused(&answer, "slow-body");
        assert!(heard.wait(number + 1)[number].starts_with("POST / "));
    }
}

#[test]
fn a_body_that_stops_after_the_answer_has_begun_ends_both() {
    let early = server(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").expect("written");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    // In which the answer must have begun.
    let bounds = Bounds { body: Duration::from_secs(1), ..Bounds::default() };
    let scene = Scene::bounded(&[early], bounds, http1);
    let answer = scene.say(b"POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 10\r\n\r\nabc");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nabc"), "{answer}");
}

#[test]
fn a_stream_whose_body_stops_is_refused_and_its_connection_goes_on() {
    let heard = Heard::default();
    let bounds = Bounds { body: SHORT, ..Bounds::default() };
    let scene = Scene::bounded(&[answering(&heard, OK)], bounds, http1);
    run(async {
        let mut caller = caller(&scene).await;
        let request = Request::post("http://web/").body(()).expect("a request");
        let (answer, mut body) = caller.send_request(request, false).expect("sent");
        body.send_data(Bytes::from_static(b"abc"), false).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(answer.headers()["x-wabe-reason"], "slow-body");
        let mut caller = caller.ready().await.expect("the connection goes on");
        let request = Request::get("http://web/").body(()).expect("a request");
        let (answer, _) = caller.send_request(request, true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), StatusCode::OK);
    });
}

#[test]
fn a_stream_of_grpc_may_be_silent() {
    let bounds = Bounds { body: SHORT, ..Bounds::default() };
    let scene = Scene::bounded(&[grpc_echo()], bounds, |_| {});
    run(async {
        let mut caller = caller(&scene).await;
        let request = Request::post("http://web/Echo/Both").header("content-type", "application/grpc");
        let (answer, mut sender) =
            caller.send_request(request.body(()).expect("a request"), false).expect("sent");
        let mut body = answer.await.expect("an answer").into_body();
        tokio::time::sleep(3 * SHORT).await;
        sender.send_data(Bytes::from_static(b"late"), true).expect("sent");
        assert_eq!(body.data().await.expect("data").expect("data"), "late");
    });
}

#[test]
fn a_connection_without_requests_is_ended() {
    let heard = Heard::default();
    let bounds = Bounds { idle: SHORT, ..Bounds::default() };
    let scene = Scene::bounded(&[answering(&heard, OK)], bounds, http1);
    let answer = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

/// Whether it is told that the connection ends, before it does.
fn is_told(frames: &mut Frames) -> bool {
    let mut told = false;
    loop {
        match frames.next() {
            Got::Frame(frame) => told |= frame.kind == GOAWAY,
            Got::Closed => return told,
            Got::Nothing => panic!("it goes on"),
        }
    }
}

#[test]
fn a_connection_of_streams_is_ended_if_no_request_comes_to_its_end() {
    let heard = Heard::default();
    let bounds = Bounds { idle: SHORT, ..Bounds::default() };
    let scene = Scene::bounded(&[answering(&heard, OK)], bounds, http1);
    let settings = frame(SETTINGS, 0, 0, &[0; 6]);
    let block = [field(":method", "GET"), field(":scheme", "http")].concat();
    let head =
        [frame(HEADERS, END_STREAM, 1, &block), frame(CONTINUATION, 0, 1, &field(":path", "/"))].concat();
    for sent in [&[][..], &[&settings[..12]], &[&settings], &[&settings, &head[..20]], &[&settings, &head]] {
        let mut stream = scene.connect();
        stream.write_all(&[PREFACE, &sent.concat()].concat()).expect("written");
        assert!(is_told(&mut Frames::new(stream)), "{} bytes", sent.concat().len());
    }
    assert_eq!(heard.all(), [""; 0]);
}

#[test]
fn a_head_on_a_connection_of_streams_that_stops_or_trickles_ends_it() {
    let heard = Heard::default();
    let bounds = Bounds { head: SHORT, ..Bounds::default() };
    let scene = Scene::bounded(&[answering(&heard, OK)], bounds, http1);
    let block = [field(":method", "GET"), field(":scheme", "http"), field(":path", "/")].concat();
    let begun = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let parts = [frame(HEADERS, END_STREAM, 1, &block), frame(CONTINUATION, 0, 1, &[])].concat();
    for sent in [&parts[..10], &parts[..20], &parts] {
        let mut stream = scene.connect();
        stream.write_all(&[&begun[..], sent].concat()).expect("written");
        assert!(is_told(&mut Frames::new(stream)), "{} bytes", sent.len());
    }
    let mut trickling = scene.connect();
    trickling.write_all(&begun).expect("written");
    let mut frames = Frames::new(trickling.try_clone().expect("another"));
    let writing = thread::spawn(move || {
        // Far longer than it may take, unless the connection ends.
        parts.iter().cycle().take(500).all(|it| {
            thread::sleep(SHORT / 10);
            trickling.write_all(&[*it]).is_ok()
        })
    });
    assert!(is_told(&mut frames));
    drop(frames);
    assert!(!writing.join().expect("no panic"), "each octet earns no more time");
    assert_eq!(heard.all(), [""; 0]);
}

#[test]
fn a_connection_of_streams_with_a_request_under_way_is_not_idle() {
    let late = server(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        if read_request(&mut stream).is_some() {
            thread::sleep(4 * SHORT);
            let _ = stream.write_all(OK.as_bytes());
        }
    });
    let bounds = Bounds { idle: SHORT, ..Bounds::default() };
    let scene = Scene::bounded(&[late], bounds, http1);
    let block =
        [field(":method", "GET"), field(":scheme", "http"), field(":path", "/"), field(":authority", "web")];
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block.concat());
    let mut stream = scene.connect();
    // At once, as time begins with the preface.
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &request].concat()).expect("written");
    let mut frames = Frames::new(stream);
    loop {
        match frames.next() {
            Got::Frame(frame) if frame.kind == HEADERS => break,
            Got::Frame(frame) => assert_ne!(frame.kind, GOAWAY, "it is not idle"),
            end @ (Got::Closed | Got::Nothing) => panic!("{end:?}"),
        }
    }
}

#[test]
fn callers_beyond_their_share_of_the_descriptors_are_turned_away() {
    for (descriptors, connections) in [(4, 0), (20, 12), (40, 24), (44, 24)] {
        let heard = Heard::default();
        let bounds = Bounds { descriptors: Some(descriptors), ..Bounds::default() };
        let scene = Scene::bounded(&[answering(&heard, OK)], bounds, http1);
        let get = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n";
        let mut answer = [0; 15];
        let mut served: Vec<TcpStream> = (0..connections)
            .map(|_| {
                let mut stream = scene.connect();
                stream.write_all(get).expect("written");
                stream.read_exact(&mut answer).expect("an answer");
                stream
            })
            .collect();
        assert_eq!(scene.say(get), "", "{descriptors}: one more has no answer");
        // Who stays is served on, and who leaves makes room.
        if let Some(first) = served.first_mut() {
            first.write_all(get).expect("written");
            first.read_exact(&mut answer).expect("an answer");
        }
        if served.pop().is_some() {
            let again = std::iter::repeat_with(|| {
                scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n")
            });
            assert!(again.take(1000).any(|it| it.starts_with("HTTP/1.1 200 OK\r\n")), "{descriptors}");
        }
    }
}

#[test]
fn who_leaves_is_not_worked_for() {
    let (silent, servers) = saying("");
    let scene = Scene::with(&[silent], http1);
    let (caller, mut server) = asked(&scene, &servers, "/", "1.1");
    drop(caller);
    assert_eq!(server.read(&mut [0]).expect("an end"), 0);
    // One that only says that it is done is no different.
    let (mut caller, mut server) = asked(&scene, &servers, "/", "1.1");
    caller.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(server.read(&mut [0]).expect("an end"), 0);
    assert_eq!(rest(&mut caller), "");
    let (slow, servers) = saying(CHUNK);
    let scene = Scene::with(&[slow], http1);
    let (mut caller, mut server) = asked(&scene, &servers, "/", "1.1");
    read_to(&mut caller, b"one\r\n");
    drop(caller);
    assert_eq!(server.read(&mut [0]).unwrap_or(0), 0);
}

/// Its body has come while nobody could read it.
#[test]
fn who_leaves_after_a_body_that_waited_is_not_worked_for() {
    let (silent, servers) = saying("");
    let scene = Scene::with(&[silent], |snapshot| {
        add_rule(snapshot, |rule| {
            rule["guards"] = json!({ "limit": null, "missing": false, "fault": {
                "name": { "namespace": "shop", "name": "slow" },
                "delay": { "time": { "secs": 0, "nanos": 200_000_000 }, "share": { "numerator": 1, "denominator": 1 } },
            } });
        });
    });
    let mut caller = scene.connect();
    caller.write_all(b"POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2\r\n\r\n").expect("written");
    thread::sleep(SHORT / 10);
    caller.write_all(b"ab").expect("written");
    let mut server = servers.recv_timeout(PATIENCE).expect("asked");
    drop(caller);
    assert_eq!(server.read(&mut [0]).expect("an end"), 0);
}

#[test]
fn who_asks_for_more_meanwhile_has_not_left() {
    let (silent, servers) = saying("");
    let scene = Scene::with(&[silent], http1);
    let (mut caller, mut server) = asked(&scene, &servers, "/", "1.1");
    caller.write_all(b"GET /second HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").expect("written");
    thread::sleep(SHORT);
    server.write_all(OK.as_bytes()).expect("written");
    assert_eq!(read_request(&mut caller).expect("an answer"), OK);
    let second = read_request(&mut server).expect("the second");
    assert!(second.starts_with("GET /second "), "{second}");
    server.write_all(OK.as_bytes()).expect("written");
    assert!(rest(&mut caller).starts_with("HTTP/1.1 200 OK\r\n"));
}
