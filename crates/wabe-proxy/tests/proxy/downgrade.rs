//! Requests of HTTP/2 that would be two requests, or another one, once they are written as HTTP/1.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::{
    frames::{END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, frame},
    limits::{begun, scene},
    scene::{Heard, Scene},
};

/// What follows the four fields that each request has.
type Fields = &'static [(&'static str, &'static str)];

/// In place of `:method`, `:scheme`, `:path` and `:authority`.
const GOOD: [&str; 4] = ["GET", "http", "/", "web"];

/// What is wrong, with a request's own four fields and the others.
const ROWS: &[(&str, [&str; 4], Fields)] = &[
    ("transfer-encoding", GOOD, &[("transfer-encoding", "chunked")]),
    ("connection", GOOD, &[("connection", "close")]),
    ("connection-that-names-a-field", GOOD, &[("connection", "x-forwarded-for")]),
    ("keep-alive", GOOD, &[("keep-alive", "timeout=5")]),
    ("upgrade", GOOD, &[("upgrade", "websocket")]),
    ("proxy-connection", GOOD, &[("proxy-connection", "close")]),
    ("te-of-another-coding", GOOD, &[("te", "gzip")]),
    ("name-in-upper-case", GOOD, &[("Accept", "*/*")]),
    ("name-with-blank", GOOD, &[("a b", "c")]),
    ("name-with-line-end", GOOD, &[("a\r\nb", "c")]),
    ("name-with-colon", GOOD, &[("a:b", "c")]),
    ("name-empty", GOOD, &[("", "c")]),
    ("value-with-line-end", GOOD, &[("a", "b\r\ntransfer-encoding: chunked")]),
    ("value-with-line-feed", GOOD, &[("a", "b\nc: d")]),
    ("value-with-carriage-return", GOOD, &[("a", "b\rc")]),
    ("value-with-nul", GOOD, &[("a", "b\0c")]),
    ("method-with-line-end", ["GET / HTTP/1.1\r\na: b", "http", "/", "web"], &[]),
    ("method-with-blank", ["GET /a", "http", "/", "web"], &[]),
    ("method-in-lower-case", ["delete", "http", "/", "web"], &[]),
    ("method-in-mixed-case", ["Head", "http", "/", "web"], &[]),
    ("method-of-33-octets", ["ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", "http", "/", "web"], &[]),
    ("method-empty", ["", "http", "/", "web"], &[]),
    ("path-with-line-end", ["GET", "http", "/ HTTP/1.1\r\na: b", "web"], &[]),
    ("path-with-blank", ["GET", "http", "/a b", "web"], &[]),
    ("path-with-nul", ["GET", "http", "/a\0b", "web"], &[]),
    ("path-empty", ["GET", "http", "", "web"], &[]),
    ("path-relative", ["GET", "http", "a", "web"], &[]),
    ("authority-with-line-end", ["GET", "http", "/", "web\r\na: b"], &[]),
    ("authority-with-path", ["GET", "http", "/", "web/a"], &[]),
    ("authority-with-blank", ["GET", "http", "/", "web x"], &[]),
    ("authority-with-user", ["GET", "http", "/", "user@web"], &[]),
    ("scheme-with-line-end", ["GET", "http\r\na: b", "/", "web"], &[]),
    ("path-twice", GOOD, &[(":path", "/b")]),
    ("method-twice", GOOD, &[(":method", "POST")]),
    ("authority-twice", GOOD, &[(":authority", "elsewhere.example")]),
    ("pseudo-field-unknown", GOOD, &[(":a", "b")]),
    ("pseudo-field-of-answers", GOOD, &[(":status", "200")]),
    ("host-of-another", GOOD, &[("host", "elsewhere.example")]),
    ("length-without-body", GOOD, &[("content-length", "5")]),
    ("length-twice", GOOD, &[("content-length", "0"), ("content-length", "5")]),
    ("length-twice-equal", GOOD, &[("content-length", "0"), ("content-length", "0")]),
    ("length-with-plus", GOOD, &[("content-length", "+0")]),
    ("length-listed", GOOD, &[("content-length", "0, 5")]),
    ("length-of-65-bits", GOOD, &[("content-length", "18446744073709551616")]),
];

/// A field in HPACK, as a literal that is not indexed (RFC 7541, section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|it| *it < 127).expect("short");
        [&[length], text.as_bytes()].concat()
    };
    [vec![0], text(name), text(value)].concat()
}

fn block(own: [&str; 4], others: Fields) -> Vec<u8> {
    let own = [":method", ":scheme", ":path", ":authority"].into_iter().zip(own);
    own.chain(others.iter().copied()).flat_map(|(name, value)| literal(name, value)).collect()
}

/// What became of stream 1.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It was answered; the first byte says the status, of those in HPACK's table.
    Answered(u8),
    /// It or its connection was ended.
    Ended,
}

fn fate(stream: &mut TcpStream) -> Fate {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Fate::Ended;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if stream.read_exact(&mut payload).is_err() {
            return Fate::Ended;
        }
        match head[3] {
            HEADERS => return Fate::Answered(payload[0]),
            RST_STREAM | GOAWAY => return Fate::Ended,
            _ => {}
        }
    }
}

fn asked(scene: &Scene, own: [&str; 4], others: Fields) -> Fate {
    let mut stream = begun(scene);
    let headers = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(own, others));
    stream.write_all(&headers).expect("written");
    fate(&mut stream)
}

/// 200 in HPACK's table.
const ANSWERED_WELL: Fate = Fate::Answered(0x88);

#[test]
fn what_http1_would_understand_otherwise_does_not_reach_its_server() {
    let heard = Heard::default();
    let scene = scene(&heard);
    assert_eq!(asked(&scene, GOOD, &[("a", "b")]), ANSWERED_WELL);
    assert_eq!(heard.all().len(), 1, "what is good does");
    for (name, own, others) in ROWS {
        assert_ne!(asked(&scene, *own, others), ANSWERED_WELL, "{name}");
        assert_eq!(heard.all().len(), 1, "{name}: {:?}", heard.all().last());
    }
}

#[test]
fn a_request_without_a_host_does_not_reach_its_server() {
    let heard = Heard::default();
    let scene = scene(&heard);
    let own = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    for (host, answered) in [("web", true), ("web/a", false), ("user@web", false), ("", false)] {
        let mut block: Vec<u8> = own.iter().flat_map(|(name, value)| literal(name, value)).collect();
        if !host.is_empty() {
            block.extend(literal("host", host));
        }
        let mut stream = begun(&scene);
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).expect("written");
        assert_eq!(fate(&mut stream) == ANSWERED_WELL, answered, "{host:?}");
    }
    assert_eq!(heard.all().len(), 1);
}
