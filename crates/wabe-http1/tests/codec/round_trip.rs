//! What is written is read as what it was.

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header, request,
    response,
};
use proptest::prelude::*;
use wabe_http1::{
    BodyDecoder, BodyEncoder, EncodeError, Framing, Limits, Piece, request, response, write_request_head,
    write_response_head,
};

use crate::support::{inputs, read_all, written};

fn headers() -> impl Strategy<Value = HeaderMap> {
    let field = ("x-[!#$%&'*+.^_`|~0-9a-z-]{1,20}", "([!-~\u{e9}]([ -~\t]{0,30}[!-~])?)?");
    prop::collection::vec(field, 0..10).prop_map(|fields| {
        let field = |(name, value): (String, String)| {
            (HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.into_iter().map(field) {
            headers.append(name, value);
        }
        headers
    })
}

fn request_head(method: &str, target: &str, fields: HeaderMap) -> request::Parts {
    let request = Request::builder().method(method).uri(target);
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    head.headers = fields;
    head.headers.insert("host", HeaderValue::from_static("a"));
    head
}

fn body() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)
}

fn encode(pieces: &[Vec<u8>], trailers: &HeaderMap, framing: Framing, out: &mut BytesMut) {
    let mut encoder = BodyEncoder::new(framing);
    for piece in pieces {
        encoder.whole(piece, out).unwrap();
    }
    encoder.end(Some(trailers), out).unwrap();
}

fn decode(framing: Framing, buffer: &mut BytesMut) -> (Vec<u8>, HeaderMap) {
    let (mut decoder, mut read) = (BodyDecoder::new(framing, &Limits::default()), Vec::new());
    let mut trailers = HeaderMap::new();
    loop {
        match decoder.next(buffer).unwrap() {
            Some(Piece::Data(data)) => read.extend_from_slice(&data),
            Some(Piece::Trailers(fields)) => trailers = fields,
            Some(Piece::End) => return (read, trailers),
            None => decoder.at_end_of_input().unwrap(),
        }
    }
}

fn framing_of(kind: u8, pieces: &[Vec<u8>]) -> Framing {
    match kind {
        0 => Framing::Chunked,
        1 => Framing::UntilClose,
        _ => Framing::Length(pieces.concat().len() as u64),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn requests(
        method in "[A-Z!-]{1,5}x", target in "/[!$-;=@-Z_a-z~]{0,30}(\\?[!$-;=?-~]{0,30})?",
        fields in headers(), pieces in body(), trailers in headers(), kind in prop::sample::select(vec![0_u8, 2]),
    ) {
        let framing = framing_of(kind, &pieces);
        let head = request_head(&method, &target, fields);
        let mut wire = BytesMut::new();
        write_request_head(&mut wire, &head, framing).unwrap();
        encode(&pieces, &trailers, framing, &mut wire);
        let (mut read, read_framing) = request(&mut wire, &Limits::default()).unwrap().unwrap();
        prop_assert_eq!(read_framing, framing);
        read.headers.remove("content-length");
        read.headers.remove("transfer-encoding");
        prop_assert_eq!((&read.method, &read.uri, &read.headers), (&head.method, &head.uri, &head.headers));
        let (body, read_trailers) = decode(framing, &mut wire);
        prop_assert_eq!(body, pieces.concat());
        prop_assert_eq!(read_trailers, if kind == 0 { trailers } else { HeaderMap::new() });
        prop_assert!(wire.is_empty());
    }

    #[test]
    fn answers(
        status in 200_u16..600, fields in headers(), pieces in body(), trailers in headers(), kind in 0_u8..3,
    ) {
        prop_assume!(![204, 304].contains(&status));
        let framing = framing_of(kind, &pieces);
        let (mut head, ()) = Response::builder().status(status).body(()).unwrap().into_parts();
        head.headers = fields;
        let mut wire = BytesMut::new();
        write_response_head(&mut wire, &head, framing);
        encode(&pieces, &trailers, framing, &mut wire);
        let (mut read, read_framing) = response(&mut wire, &Limits::default(), &Method::GET).unwrap().unwrap();
        prop_assert_eq!(read_framing, framing);
        read.headers.remove("content-length");
        read.headers.remove("transfer-encoding");
        prop_assert_eq!((read.status, &read.headers), (head.status, &head.headers));
        let (body, read_trailers) = decode(framing, &mut wire);
        prop_assert_eq!(body, pieces.concat());
        prop_assert_eq!(read_trailers, if kind == 0 { trailers } else { HeaderMap::new() });
        prop_assert!(wire.is_empty());
    }

    #[test]
    fn whatever_is_read_can_be_written_and_means_the_same(input in inputs()) {
        for first in read_all(&input).0.iter().filter(|it| it.complete) {
            let wire = written(first);
            let (again, refusal) = read_all(&wire);
            prop_assert_eq!(refusal, None);
            prop_assert_eq!(again.len(), 1);
            let again = &again[0];
            prop_assert_eq!(&again.head.method, &first.head.method);
            prop_assert_eq!(again.head.uri.path_and_query(), first.head.uri.path_and_query());
            prop_assert_eq!((&again.body, &again.trailers), (&first.body, &first.trailers));
            prop_assert_eq!(written(again), wire, "one form");
        }
    }
}

fn told(head: &response::Parts, framing: Framing) -> String {
    let mut out = BytesMut::new();
    write_response_head(&mut out, head, framing);
    String::from_utf8(out.to_vec()).unwrap()
}

fn answer(status: u16) -> response::Parts {
    let answer = Response::builder().status(status).header("content-length", "7");
    answer.header("transfer-encoding", "chunked").body(()).unwrap().into_parts().0
}

#[test]
fn an_answer_without_body_says_how_long_it_would_be() {
    let line = |status| format!("HTTP/1.1 {}\r\n", StatusCode::from_u16(status).unwrap());
    let as_it_was = |status| format!("{}content-length: 7\r\n\r\n", line(status));
    for status in [200, 304, 404] {
        assert_eq!(told(&answer(status), Framing::None), as_it_was(status));
    }
    for framing in [Framing::None, Framing::Length(0), Framing::Chunked, Framing::UntilClose] {
        assert_eq!(told(&answer(304), framing), as_it_was(304), "{framing:?}");
        for status in [100, 101, 204] {
            assert_eq!(told(&answer(status), framing), format!("{}\r\n", line(status)), "{framing:?}");
        }
    }
    assert_eq!(told(&answer(200), Framing::Length(0)), format!("{}content-length: 0\r\n\r\n", line(200)));
    assert_eq!(told(&answer(200), Framing::UntilClose), format!("{}\r\n", line(200)));
    let chunked = format!("{}transfer-encoding: chunked\r\n\r\n", line(200));
    assert_eq!(told(&answer(200), Framing::Chunked), chunked);
}

#[test]
fn reason_phrases_come_through() {
    for line in ["200 OK", "200 Fine", "200 ", "299 "] {
        let mut wire = BytesMut::from(format!("HTTP/1.1 {line}\r\n\r\n").as_bytes());
        let (head, framing) = response(&mut wire, &Limits::default(), &Method::GET).unwrap().unwrap();
        assert_eq!(told(&head, framing), format!("HTTP/1.1 {line}\r\n\r\n"));
    }
}

#[test]
fn targets_are_written_in_the_form_that_servers_want() {
    for (method, target, line) in [
        ("GET", "http://a/b?c", "GET /b?c HTTP/1.1\r\n"),
        ("GET", "http://a", "GET / HTTP/1.1\r\n"),
        ("GET", "http://a?b", "GET /?b HTTP/1.1\r\n"),
        ("OPTIONS", "*", "OPTIONS * HTTP/1.1\r\n"),
        ("CONNECT", "a:443", "CONNECT a:443 HTTP/1.1\r\n"),
    ] {
        let mut head = request_head(method, target, HeaderMap::new());
        head.version = Version::HTTP_2;
        let mut out = BytesMut::new();
        write_request_head(&mut out, &head, Framing::None).unwrap();
        assert!(out.starts_with(line.as_bytes()), "{out:?}");
    }
}

#[test]
fn a_host_in_the_target_becomes_one_of_its_own() {
    for (target, host, line) in [
        ("http://b:81/", None, "host: b:81\r\n"),
        ("http://user@b/", None, "host: b\r\n"),
        ("http://b/", Some("a"), "host: a\r\n"),
    ] {
        let mut head = request_head("GET", target, HeaderMap::new());
        head.headers = host.iter().map(|it| (header::HOST, it.parse().unwrap())).collect();
        let mut out = BytesMut::new();
        write_request_head(&mut out, &head, Framing::None).unwrap();
        assert_eq!(out[..], *format!("GET / HTTP/1.1\r\n{line}\r\n").as_bytes());
    }
    let mut head = request_head("GET", "/", HeaderMap::new());
    head.headers.clear();
    assert_eq!(write_request_head(&mut BytesMut::new(), &head, Framing::None), Err(EncodeError::NoHost));
}

#[test]
fn what_http_1_1_cannot_carry_is_not_written() {
    let head = |method, target| request_head(method, target, HeaderMap::new());
    for (head, framing, error) in [
        (head("GET", "/"), Framing::UntilClose, EncodeError::RequestUntilClose),
        (head("CONNECT", "/"), Framing::None, EncodeError::NoAuthority),
        (head("CONNECT", "a"), Framing::None, EncodeError::NoAuthority),
        (head("GET", "/\u{e9}"), Framing::None, EncodeError::Target),
    ] {
        let mut out = BytesMut::new();
        assert_eq!(write_request_head(&mut out, &head, framing), Err(error));
        assert!(out.is_empty());
    }
}
