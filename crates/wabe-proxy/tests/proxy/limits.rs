//! Callers who want more than is fair: of a head, of a connection, of memory. They get an end, and nobody else notices.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use http::{Request, StatusCode};
use wabe_proxy::Bounds;

use crate::{
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, GOAWAY, Got, HEADERS,
        INITIAL_WINDOW_SIZE, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, field, frame, settings,
        window_update,
    },
    http1::{OK, answering, read_request},
    http2::{caller, run},
    patience::http1,
    scene::{Heard, PATIENCE, Scene, server},
};

/// GET of `/` from `web`, in HPACK: fields of the static table, and one literal.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 3, b'w', b'e', b'b'];
/// More than all buffers of two connections on this machine hold.
const MUCH: usize = 96 << 20;

/// A caller of HTTP/2 that has begun, in bytes.
pub fn begun(scene: &Scene) -> TcpStream {
    let mut stream = scene.connect();
    stream.write_all(PREFACE).expect("written");
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).expect("written");
    stream
}

/// A proxy before a server of HTTP/1.
pub fn scene(heard: &Heard) -> Scene {
    Scene::with(&[answering(heard, OK)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["speaks"] = "Http1".into();
    })
}

/// All frames until the connection ends: their kinds and payloads.
fn frames(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}: it goes on"),
    }
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    while let [a, b, c, kind, _flags, _, _, _, _, more @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, after)) = more.split_at_checked(length) else { break };
        frames.push((*kind, payload.to_vec()));
        rest = after;
    }
    frames
}

/// Why the connection ended, if it was told.
fn told(frames: &[(u8, Vec<u8>)]) -> Option<u32> {
    let (_, payload) = frames.iter().find(|it| it.0 == GOAWAY)?;
    Some(u32::from_be_bytes(payload[4..8].try_into().expect("four bytes")))
}

/// Writes this again and again as long as it is taken; how much was. (What is not taken within a while is not taken while nobody
/// reads.)
fn flood(stream: &mut TcpStream, bytes: &[u8], most: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a time");
    let mut written = 0;
    while written < most {
        match stream.write(&bytes[written % bytes.len()..]) {
            Ok(0) | Err(_) => break,
            Ok(got) => written += got,
        }
    }
    written
}

#[track_caller]
fn assert_others_are_served(scene: &Scene) {
    let answer = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    run(async {
        let mut caller = caller(scene).await;
        let request = Request::get("http://web/").body(()).expect("a request");
        let (answer, _) = caller.send_request(request, true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), StatusCode::OK);
    });
}

#[test]
fn a_head_without_end_is_refused_when_it_is_too_large() {
    let heard = Heard::default();
    let scene = scene(&heard);
    let endless = [
        format!("GET / HTTP/1.1\r\nhost: web\r\n{}", "a: b\r\n".repeat(20_000)),
        format!("GET / HTTP/1.1\r\nhost: web\r\na: {}", "b".repeat(100_000)),
        // Short, but of too many lines.
        format!("GET / HTTP/1.1\r\nhost: web\r\n{}", "a: b\r\n".repeat(100)),
    ];
    for head in endless {
        let answer = scene.say(head.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert_eq!(heard.all(), [""; 0]);
    assert_others_are_served(&scene);
}

#[test]
fn too_many_headers_of_a_stream_are_refused_and_its_connection_goes_on() {
    let heard = Heard::default();
    let scene = scene(&heard);
    run(async {
        let mut caller = caller(&scene).await;
        let get = || Request::get("http://web/");
        let large = get().header("a", "b".repeat(100_000)).body(()).expect("a request");
        let (answer, _) = caller.send_request(large, true).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let mut caller = caller.ready().await.expect("the connection goes on");
        let (answer, _) = caller.send_request(get().body(()).expect("a request"), true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), StatusCode::OK);
    });
    assert_eq!(heard.all().len(), 1);
}

#[test]
fn streams_that_are_reset_at_once_end_their_connection_and_no_other() {
    let heard = Heard::default();
    let scene = scene(&heard);
    let mut rapid = begun(&scene);
    let mut bytes = Vec::new();
    for stream in (1..4000).step_by(2) {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, GET));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // It may end within.
    let _ = rapid.write_all(&bytes);
    assert_eq!(told(&frames(&mut rapid)), Some(ENHANCE_YOUR_CALM));
    assert!(heard.all().len() < 1000, "{} of 2000 requests reached the server", heard.all().len());
    assert_others_are_served(&scene);
}

#[test]
fn streams_that_the_caller_has_reset_by_mistakes_end_their_connection_and_no_other() {
    let heard = Heard::default();
    let scene = scene(&heard);
    let mut wrong = begun(&scene);
    let block = [GET, &field("connection", "close")].concat();
    let bytes: Vec<u8> =
        (1..2000).step_by(2).flat_map(|it| frame(HEADERS, END_STREAM | END_HEADERS, it, &block)).collect();
    // It may end within.
    let _ = wrong.write_all(&bytes);
    let frames = frames(&mut wrong);
    let resets = frames.iter().filter(|it| it.0 == RST_STREAM).count();
    assert!(resets <= 256, "{resets}");
    assert_eq!(told(&frames), Some(ENHANCE_YOUR_CALM));
    assert_eq!(heard.all(), [""; 0]);
    assert_others_are_served(&scene);
}

#[test]
fn headers_that_never_end_end_their_connection_and_no_other() {
    let heard = Heard::default();
    let scene = scene(&heard);
    for piece in [&b""[..], &[0x82], &[b'a'; 1024]] {
        let mut endless = begun(&scene);
        endless.write_all(&frame(HEADERS, END_STREAM, 1, GET)).expect("written");
        let written = flood(&mut endless, &frame(CONTINUATION, 0, 1, piece), MUCH);
        assert!(written < MUCH, "{written} bytes in pieces of {}", piece.len());
        eprintln!("{:?}", told(&frames(&mut endless)));
    }
    assert_eq!(heard.all(), [""; 0]);
    assert_others_are_served(&scene);
}

#[test]
fn who_asks_for_signs_of_life_and_does_not_read_them_is_not_listened_to_for_ever() {
    let heard = Heard::default();
    let scene = scene(&heard);
    for frame in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut flooding = begun(&scene);
        // Little room for what comes back.
        socket2::SockRef::from(&flooding).set_recv_buffer_size(4 << 10).expect("set");
        let many = frame.repeat(1000);
        let written = flood(&mut flooding, &many, MUCH);
        assert!(written < MUCH, "{written} bytes of frames of {}", frame.len());
        assert_others_are_served(&scene);
    }
}

#[test]
fn who_asks_for_nothing_but_signs_of_life_is_left_though_he_reads_them() {
    let heard = Heard::default();
    let scene = scene(&heard);
    for frame in [
        frame(PING, 0, 0, &[7; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]),
        window_update(0, 1),
    ] {
        let mut flooding = begun(&scene);
        let mut writing = flooding.try_clone().expect("cloned");
        let writer = thread::spawn(move || flood(&mut writing, &frame.repeat(1000), MUCH));
        let frames = frames(&mut flooding);
        let written = writer.join().expect("no panic");
        assert!(written < MUCH, "{written} bytes");
        assert_eq!(told(&frames), Some(ENHANCE_YOUR_CALM));
        assert_others_are_served(&scene);
    }
}

/// A server that answers without end, and notes how much was taken when no more is.
fn endless(heard: &Heard) -> SocketAddr {
    let heard = heard.clone();
    server(move |mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        if read_request(&mut stream).is_some() {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 16 * MUCH);
            stream.write_all(head.as_bytes()).expect("written");
            heard.add(flood(&mut stream, &[0; 64 << 10], MUCH).to_string());
        }
    })
}

#[track_caller]
fn assert_bounded(heard: &Heard) {
    assert_all_bounded(heard, 1);
}

/// The same for so many answers.
#[track_caller]
fn assert_all_bounded(heard: &Heard, count: usize) {
    for taken in heard.wait(count) {
        let taken: usize = taken.parse().expect("a number");
        assert!(taken < MUCH, "{taken} bytes were taken though nobody reads");
    }
}

#[test]
fn what_a_caller_does_not_read_is_not_taken_from_the_endpoint() {
    let heard = Heard::default();
    let scene = Scene::new(&[endless(&heard)]);
    let mut idle = scene.connect();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
    assert_bounded(&heard);
}

#[test]
fn a_caller_that_reads_nothing_of_what_it_is_sent_is_left() {
    for streams in [false, true] {
        let ended = Heard::default();
        let unending = server({
            let ended = ended.clone();
            move |mut stream| {
                let _ = read_request(&mut stream);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
                while stream.write_all(&[b'a'; 1 << 16]).is_ok() {}
                ended.add("ended");
            }
        });
        let bounds = Bounds { body: Duration::from_millis(300), ..Bounds::default() };
        let scene = Scene::bounded(&[unending], bounds, http1);
        let mut idle = if streams { begun(&scene) } else { scene.connect() };
        if streams {
            let largest = u32::MAX >> 1;
            let asked = frame(HEADERS, END_STREAM | END_HEADERS, 1, GET);
            let windows = [settings(&[(INITIAL_WINDOW_SIZE, largest)]), window_update(0, largest - 65_535)];
            idle.write_all(&[windows.concat(), asked].concat()).expect("written");
        } else {
            idle.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
        }
        ended.wait(1);
    }
}

#[test]
fn what_a_stream_does_not_read_is_not_taken_from_the_endpoint() {
    let heard = Heard::default();
    let scene = Scene::with(&[endless(&heard)], |snapshot| {
        snapshot["backends"][0]["speaks"] = "Http1".into();
    });
    run(async {
        let mut caller = caller(&scene).await;
        let request = Request::get("http://web/").body(()).expect("a request");
        let (answer, _) = caller.send_request(request, true).expect("sent");
        let mut body = answer.await.expect("an answer").into_body();
        // So much that the window is full: none of it is given back.
        let mut got = 0;
        while got < 65_535 {
            got += body.data().await.expect("data").expect("data").len();
        }
        let heard = heard.clone();
        tokio::task::spawn_blocking(move || assert_bounded(&heard)).await.expect("bounded");
    });
}

#[test]
fn what_a_caller_does_not_read_is_not_taken_whatever_windows_it_grants() {
    const STREAMS: u32 = 8;
    let heard = Heard::default();
    let scene = Scene::with(&[endless(&heard)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["speaks"] = "Http1".into();
    });
    let mut idle = begun(&scene);
    let largest = u32::MAX >> 1;
    let mut bytes =
        [settings(&[(INITIAL_WINDOW_SIZE, largest)]), window_update(0, largest - 65_535)].concat();
    for stream in 0..STREAMS {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * stream, GET));
    }
    idle.write_all(&bytes).expect("written");
    assert_all_bounded(&heard, STREAMS as usize);
}

#[test]
fn what_a_caller_grants_no_window_for_is_not_taken() {
    const STREAMS: u32 = 8;
    let heard = Heard::default();
    let scene = Scene::with(&[endless(&heard)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["speaks"] = "Http1".into();
    });
    let mut stingy = begun(&scene);
    let mut bytes = settings(&[(INITIAL_WINDOW_SIZE, 0)]);
    for stream in 0..STREAMS {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * stream, GET));
    }
    stingy.write_all(&bytes).expect("written");
    assert_all_bounded(&heard, STREAMS as usize);
    // An octet at a time is no more than asked for: the next pieces are those that were granted, and no other.
    let mut frames = Frames::new(stingy);
    frames.stream.write_all(&[window_update(1, 1), window_update(3, 2)].concat()).expect("written");
    let mut lengths = BTreeMap::new();
    while lengths.len() < 2 {
        match frames.next() {
            Got::Frame(it) if it.kind == DATA => drop(lengths.insert(it.stream, it.payload.len())),
            Got::Frame(_) => {}
            end @ (Got::Closed | Got::Nothing) => panic!("{end:?}"),
        }
    }
    assert_eq!(lengths, BTreeMap::from([(1, 1), (3, 2)]));
}

#[test]
fn what_an_endpoint_does_not_read_is_not_taken_from_the_caller() {
    let (held, over) = mpsc::channel::<()>();
    let over = Mutex::new(over);
    let silent = server(move |_unread| {
        // It holds the connection until the test is over.
        let _ = over.lock().expect("no panic").recv();
    });
    let scene = Scene::new(&[silent]);
    let mut sending = scene.connect();
    let head = format!("POST / HTTP/1.1\r\nhost: web\r\ncontent-length: {}\r\n\r\n", 16 * MUCH);
    sending.write_all(head.as_bytes()).expect("written");
    let taken = flood(&mut sending, &[0; 64 << 10], MUCH);
    assert!(taken < MUCH, "{taken} bytes were taken though nobody reads");
    // The proxy ends when the endpoint has.
    drop(held);
}
