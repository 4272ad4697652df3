//! Requests that can't be understood, or that can be in two ways: all that [`wabe_http1::malformed`] has.

use std::{
    io::{ErrorKind, Read as _},
    net::TcpListener,
};

use bytes::BytesMut;
use http::StatusCode;
use wabe_http1::{
    BodyDecoder, Limits, Piece, Refusal,
    malformed::{Malformed, requests},
    request,
};

use crate::scene::{PATIENCE, Scene};

/// Begins HTTP/2, which this proxy speaks on the same port.
const HTTP2: &str = "http2-preface";

/// All rows but [`HTTP2`].
fn rows() -> Vec<Malformed> {
    let (http2, rows): (Vec<_>, Vec<_>) = requests("web").into_iter().partition(|it| it.name == HTTP2);
    assert_eq!(http2.len(), 1, "{HTTP2} is there");
    rows
}

/// A backend that takes no connection by itself: they queue, and the test looks. Its proxy reads requests of HTTP.
fn queue() -> (TcpListener, Scene) {
    let queue = TcpListener::bind("127.0.0.1:0").expect("a port");
    queue.set_nonblocking(true).expect("non-blocking");
    let scene = Scene::with(&[queue.local_addr().expect("bound")], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
    });
    (queue, scene)
}

/// All bytes of the next connection that queues, once the proxy has closed it; `None` if none queues.
fn arrived(queue: &TcpListener) -> Option<Vec<u8>> {
    match queue.accept() {
        Ok((mut stream, _)) => {
            stream.set_nonblocking(false).expect("blocking");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time");
            let mut bytes = Vec::new();
            match stream.read_to_end(&mut bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                Err(error) => panic!("{error}: the proxy has not closed its connection"),
            }
            Some(bytes)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// The proxy's own answer, one and no more; the caller has seen the connection's end already.
fn assert_refused(row: &Malformed, answer: &str) {
    let status = row.refusal.status();
    let name = row.name;
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {} ", status.as_str())),
        "{name}: {status}, not {answer:?}"
    );
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}: {answer:?}");
    let reason = format!("x-wabe-reason: {}", row.refusal.reason());
    for line in [reason.as_str(), "x-wabe-blame: caller", "connection: close"] {
        assert!(answer.contains(&format!("{line}\r\n")), "{name}: {line} in {answer:?}");
    }
}

/// Whether a server that got these bytes would work on a request.
fn is_whole(bytes: &[u8]) -> bool {
    let (mut bytes, limits) = (BytesMut::from(bytes), Limits::default());
    let Some((_, framing)) = request(&mut bytes, &limits).expect("the proxy writes good heads") else {
        return false;
    };
    let mut decoder = BodyDecoder::new(framing, &limits);
    loop {
        match decoder.next(&mut bytes).expect("the proxy writes good bodies") {
            Some(Piece::End | Piece::Trailers(_)) => return true,
            Some(Piece::Data(_)) if decoder.is_done() => return true,
            Some(Piece::Data(_)) => {}
            None => return decoder.is_done(),
        }
    }
}

#[test]
fn a_malformed_head_is_refused_and_nothing_reaches_the_backend() {
    let (queue, mut scene) = queue();
    let rows: Vec<_> = rows().into_iter().filter(|it| !it.in_body).collect();
    assert!(rows.len() > 100, "only {}", rows.len());
    for row in &rows {
        assert_refused(row, &scene.say(&row.bytes));
        assert_eq!(arrived(&queue), None, "{}", row.name);
    }
    scene.end();
    assert_eq!(arrived(&queue), None, "later");
}

#[test]
fn a_malformed_body_is_refused_and_no_whole_request_reaches_the_backend() {
    let (queue, mut scene) = queue();
    let rows: Vec<_> = rows().into_iter().filter(|it| it.in_body).collect();
    assert!(rows.len() > 30, "only {}", rows.len());
    let mut begun = 0;
    for row in &rows {
        assert_refused(row, &scene.say(&row.bytes));
        if let Some(bytes) = arrived(&queue) {
            assert!(!is_whole(&bytes), "{}: {:?}", row.name, String::from_utf8_lossy(&bytes));
            begun += 1;
        }
        assert_eq!(arrived(&queue), None, "{}: a second time", row.name);
    }
    assert!(begun > 0, "the backend is reached at all, or this tests nothing");
    scene.end();
    assert_eq!(arrived(&queue), None, "later");
}

#[test]
fn what_follows_a_malformed_request_is_not_read() {
    let (queue, mut scene) = queue();
    for row in rows().iter().filter(|it| !it.in_body) {
        let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n";
        // Ends of lines first, so that what is cut off in a line is no excuse.
        let bytes = [&row.bytes[..], b"\r\n\r\n", smuggled].concat();
        let answer = scene.say(&bytes);
        // Who still sends may lose the answer to a reset, but never gets a second one.
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{}: {answer:?}", row.name);
        assert_eq!(arrived(&queue), None, "{}", row.name);
    }
    scene.end();
    assert_eq!(arrived(&queue), None, "later");
}

#[test]
fn an_answer_that_is_malformed_is_the_backends_fault() {
    for (name, answer) in [
        (
            "length-and-encoding",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("length-twice", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok"),
        ("bare-line-feed", "HTTP/1.1 200 OK\ncontent-length: 2\r\n\r\nok"),
        ("folded-line", "HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 2\r\n\r\nok"),
        ("status-malformed", "HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok"),
        ("no-http", "220 mail.example ESMTP\r\n"),
    ] {
        let heard = crate::scene::Heard::default();
        let scene = Scene::new(&[crate::http1::answering(&heard, answer)]);
        let got = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
        let status = StatusCode::BAD_GATEWAY;
        assert!(got.starts_with(&format!("HTTP/1.1 {} ", status.as_str())), "{name}: {got}");
        assert!(got.contains("x-wabe-blame: upstream\r\n"), "{name}: {got}");
        assert_eq!(heard.all().len(), 1, "{name}: a request that was answered is not repeated");
    }
}

#[test]
fn every_way_to_refuse_a_request_is_tried() {
    let tried: Vec<Refusal> = rows().iter().map(|it| it.refusal).collect();
    // Those of answers, and of connections that end, have no row.
    let others =
        [Refusal::StatusMalformed, Refusal::ReasonMalformed, Refusal::BodyWhereNone, Refusal::CutOff];
    for refusal in Refusal::ALL.iter().filter(|it| !others.contains(it)) {
        assert!(tried.contains(refusal), "{refusal:?}");
    }
}
