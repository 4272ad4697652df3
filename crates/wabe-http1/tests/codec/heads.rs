//! What heads are read as.

use bytes::BytesMut;
use http::{Method, StatusCode, Version};
use wabe_http1::{
    Framing, Limits, Reason, Refusal, check_host, expects_continue, is_persistent, request, response,
};

use crate::support::read_all;

#[test]
fn a_request_is_read() {
    let mut buffer = BytesMut::from(
        "POST /a/b?c=d HTTP/1.1\r\nHost: shop.example:8080\r\nA:  b \t\r\na: c\r\nEmpty:\r\nContent-Length: 3\r\n\r\nabcGET",
    );
    let (head, framing) = request(&mut buffer, &Limits::default()).unwrap().unwrap();
    assert_eq!(head.method, Method::POST);
    assert_eq!(head.uri, "/a/b?c=d");
    assert_eq!(head.version, Version::HTTP_11);
    let values: Vec<_> = head.headers.get_all("a").iter().collect();
    assert_eq!(values, ["b", "c"]);
    assert_eq!(head.headers["empty"], "");
    assert_eq!(head.headers["host"], "shop.example:8080");
    assert_eq!(framing, Framing::Length(3));
    assert_eq!(buffer[..], b"abcGET"[..], "what follows the head");
}

#[test]
fn many_lines_are_read_as_few_are() {
    let lines: String = (0..40).map(|it| format!("A{it}: {}\r\n", "b".repeat(it))).collect();
    let (read, refusal) = read_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes());
    assert_eq!(refusal, None);
    for number in 0..40 {
        assert_eq!(read[0].head.headers[format!("a{number}")].len(), number);
    }
}

#[test]
fn targets_of_each_form_are_read() {
    for (line, host, target) in [
        ("GET /", "a", "/"),
        ("GET //a/../%zz?{}|^`", "a", "//a/../%zz?{}|^`"),
        ("GET http://a/b", "a", "http://a/b"),
        ("GET http://a", "a", "http://a/"),
        ("GET http://a?b", "a", "http://a/?b"),
        ("GET HTTP://a/b", "A:80", "http://a/b"),
        ("GET https://a/b", "a:443", "https://a/b"),
        ("GET http://[::1]:81/b", "[::1]:81", "http://[::1]:81/b"),
        ("OPTIONS *", "a", "*"),
        ("OPTIONS /a", "a", "/a"),
        ("OPTIONS http://a", "a", "http://a*"),
        ("CONNECT a:443", "a:443", "a:443"),
        ("M-SEARCH /", "a", "/"),
    ] {
        let (read, refusal) = read_all(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(refusal, None, "{line}");
        assert_eq!(read[0].head.uri.to_string(), target, "{line}");
    }
}

#[test]
fn targets_that_two_readers_could_understand_differently_are_refused() {
    for (line, host, refusal) in [
        ("CONNECT a:443", "a:443", None),
        ("CONNECT a:443", "b:443", Some(Refusal::HostDiffers)),
        ("CONNECT a:443", "a:80", Some(Refusal::HostDiffers)),
        ("CONNECT a:443", "a", Some(Refusal::HostDiffers)),
        ("GET /a#b", "a", Some(Refusal::TargetFragment)),
        ("GET /a##b", "a", Some(Refusal::TargetFragment)),
    ] {
        let (_, refused) = read_all(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(refused, refusal, "{line}, {host}");
    }
}

#[test]
fn versions_that_could_be_one_are_told_from_those_that_are_none() {
    for (version, refusal) in [
        ("HTTP/2.0", Refusal::VersionUnsupported),
        ("HTTP/1.2", Refusal::VersionUnsupported),
        ("HTTP/1.x", Refusal::VersionMalformed),
        ("HTTP/x.1", Refusal::VersionMalformed),
        ("HTTP/x.y", Refusal::VersionMalformed),
    ] {
        let (_, refused) = read_all(format!("GET / {version}\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(refused, Some(refusal), "{version}");
    }
}

#[test]
fn a_length_stays_among_an_answers_fields_unless_it_means_nothing() {
    for (status, to, stays) in [
        ("200 OK", Method::GET, true),
        ("200 OK", Method::HEAD, true),
        ("304 Not Modified", Method::GET, true),
        ("404 Not Found", Method::CONNECT, true),
        ("200 OK", Method::CONNECT, false),
        ("204 No Content", Method::GET, false),
    ] {
        let mut buffer = BytesMut::from(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_str());
        let (head, _) = response(&mut buffer, &Limits::default(), &to).unwrap().unwrap();
        assert_eq!(head.headers.contains_key("content-length"), stays, "{status} to {to}");
    }
}

#[test]
fn hosts_are_names_or_addresses_with_at_most_a_port() {
    for host in ["a", "A.b-c_d~e.:8080", "127.0.0.1", "[::1]", "[2001:DB8::1]:80", "a:0", "a:65535", " a\t"] {
        let (read, refusal) = read_all(format!("GET / HTTP/1.1\r\nHost:{host}\r\n\r\n").as_bytes());
        assert_eq!(refusal, None, "{host}");
        assert_eq!(read[0].head.headers["host"], host.trim());
    }
}

#[test]
fn a_host_that_is_said_twice_is_the_same() {
    for (authority, host, wanted) in [
        (None, None, Err(Refusal::HostMissing)),
        (Some("a"), None, Ok(())),
        (None, Some("a"), Ok(())),
        (Some("a"), Some("A"), Ok(())),
        (Some("a:80"), Some("a"), Ok(())),
        (Some("a"), Some("a:80"), Ok(())),
        (Some("a:81"), Some("a:81"), Ok(())),
        (Some("a"), Some("b"), Err(Refusal::HostDiffers)),
        (Some("a:81"), Some("a"), Err(Refusal::HostDiffers)),
        (Some("a"), Some("a:443"), Err(Refusal::HostDiffers)),
        (Some("a b"), Some("a"), Err(Refusal::HostMalformed)),
        (Some("me@a"), Some("a"), Err(Refusal::UserInfo)),
        (None, Some("a:+1"), Err(Refusal::HostMalformed)),
        (None, Some("a:000080"), Err(Refusal::HostMalformed)),
        (Some("a"), Some("a b"), Err(Refusal::HostMalformed)),
        (None, Some("a:"), Err(Refusal::HostMalformed)),
    ] {
        let bytes = |text: Option<&'static str>| text.map(str::as_bytes);
        assert_eq!(check_host(bytes(authority), bytes(host), 80), wanted, "{authority:?} {host:?}");
    }
}

#[test]
fn one_empty_line_before_a_request_is_skipped() {
    let (read, refusal) =
        read_all(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /b HTTP/1.0\r\n\r\n\r\n\r\n");
    assert_eq!(read.len(), 2);
    assert_eq!(refusal, Some(Refusal::MethodMalformed), "the second empty line");
}

#[test]
fn answers_are_framed_by_what_was_asked() {
    let cases: &[(&str, &str, Framing)] = &[
        ("200 OK\r\nContent-Length: 5", "GET", Framing::Length(5)),
        ("200 OK\r\nContent-Length: 5", "HEAD", Framing::None),
        ("200 OK\r\nTransfer-Encoding: Chunked", "HEAD", Framing::None),
        ("200 OK\r\nTransfer-Encoding: Chunked", "GET", Framing::Chunked),
        ("200 OK\r\nA: b", "GET", Framing::UntilClose),
        ("304 Not Modified\r\nContent-Length: 5", "GET", Framing::None),
        ("204 No Content\r\nContent-Length: 0", "GET", Framing::None),
        ("100 Continue\r\nA: b", "POST", Framing::None),
        ("101 Switching Protocols\r\nUpgrade: a", "GET", Framing::None),
        ("200 OK\r\nContent-Length: 5", "CONNECT", Framing::None),
        ("403 Forbidden\r\nContent-Length: 5", "CONNECT", Framing::Length(5)),
    ];
    for (head, to, framing) in cases {
        let mut buffer = BytesMut::from(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
        let to = Method::from_bytes(to.as_bytes()).unwrap();
        let (_, read) = response(&mut buffer, &Limits::default(), &to).unwrap().unwrap();
        assert_eq!(read, *framing, "{head} to {to}");
    }
}

#[test]
fn lengths_that_mean_nothing_are_taken_out() {
    for (head, to) in [
        ("204 No Content\r\nContent-Length: 0", Method::GET),
        ("200 OK\r\nContent-Length: 5", Method::CONNECT),
        ("200 OK\r\nTransfer-Encoding: chunked", Method::CONNECT),
    ] {
        let mut buffer = BytesMut::from(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
        let (head, _) = response(&mut buffer, &Limits::default(), &to).unwrap().unwrap();
        assert!(head.headers.is_empty(), "{:?}", head.headers);
    }
}

#[test]
fn answers_that_mislead_are_refused() {
    for (answer, refusal) in [
        ("HTTP/1.1 200 OK\nA: b\r\n\r\n", Refusal::BareLineFeed),
        ("HTTP/1.1 200 OK\r\nA: b\n\r\n", Refusal::BareLineFeed),
        ("HTTP/1.1  200 OK\r\n\r\n", Refusal::StatusMalformed),
        ("HTTP/1.1\t200 OK\r\n\r\n", Refusal::StatusMalformed),
        ("HTTP/1.1 20 OK\r\n\r\n", Refusal::StatusMalformed),
        ("HTTP/1.1 2000 OK\r\n\r\n", Refusal::StatusMalformed),
        ("HTTP/1.1 099 OK\r\n\r\n", Refusal::StatusMalformed),
        ("HTTP/1.1 600 OK\r\n\r\n", Refusal::StatusMalformed),
        ("HTTP/1.1 +20 OK\r\n\r\n", Refusal::StatusMalformed),
        ("HTTP/1.1\r\n\r\n", Refusal::StatusMalformed),
        ("HTTP/1.1 200 O\0K\r\n\r\n", Refusal::ReasonMalformed),
        ("HTTP/1.1 200 O\rK\r\n\r\n", Refusal::ReasonMalformed),
        ("HTTP/2.0 200 OK\r\n\r\n", Refusal::VersionUnsupported),
        ("ICY 200 OK\r\n\r\n", Refusal::VersionMalformed),
        ("220 mail.example ESMTP", Refusal::VersionMalformed),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\n", Refusal::BodyWhereNone),
        ("HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::BodyWhereNone),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::EncodingInHttp10),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Refusal::TransferEncodingUnknown),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            Refusal::LengthAndEncoding,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Refusal::ContentLengthTwice),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", Refusal::ContentLengthMalformed),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Refusal::FoldedLine),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Refusal::SpaceBeforeColon),
    ] {
        for to in [Method::GET, Method::HEAD] {
            let mut buffer = BytesMut::from(answer);
            let read = response(&mut buffer, &Limits::default(), &to);
            assert_eq!(read.map(|_| ()), Err(refusal), "{answer:?} to {to}");
        }
    }
}

#[test]
fn unusual_reason_phrases_are_kept() {
    for (line, reason) in [
        ("200 OK", None),
        ("200 Fine \u{e9}", Some("Fine \u{e9}")),
        ("200 ", Some("")),
        ("200", Some("")),
        ("599 Odd", Some("Odd")),
    ] {
        let mut buffer = BytesMut::from(format!("HTTP/1.1 {line}\r\n\r\n").as_bytes());
        let (head, _) = response(&mut buffer, &Limits::default(), &Method::GET).unwrap().unwrap();
        let kept = head.extensions.get::<Reason>().map(Reason::as_bytes);
        assert_eq!(kept, reason.map(str::as_bytes), "{line}");
        assert_eq!(head.status, StatusCode::from_bytes(&line.as_bytes()[..3]).unwrap());
    }
}

#[test]
fn connections_stay_as_their_heads_say() {
    for (version, fields, persistent) in [
        ("1.1", "A: b", true),
        ("1.1", "Connection: a, Close", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close", false),
        ("1.1", "Connection: closed", true),
        ("1.0", "A: b", false),
        ("1.0", "Connection: Keep-Alive", true),
        ("1.0", "Connection: keep-alive, close", false),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n\r\n");
        let (read, _) = read_all(head.as_bytes());
        let head = &read[0].head;
        assert_eq!(is_persistent(head.version, &head.headers), persistent, "{version} {fields}");
    }
}

#[test]
fn only_clients_of_http_1_1_wait_for_a_100() {
    for (version, value, expects) in
        [("1.1", "100-Continue", true), ("1.0", "100-continue", false), ("1.1", "200-ok", false)]
    {
        let head = format!("POST / HTTP/{version}\r\nHost: a\r\nExpect: {value}\r\n\r\n");
        let (read, _) = read_all(head.as_bytes());
        assert_eq!(expects_continue(&read[0].head), expects, "{version} {value}");
    }
}
