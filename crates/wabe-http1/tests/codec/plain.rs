//! A head that is passed on as it stands is what it would be if it were taken apart and written anew.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode, Version, header};
use proptest::prelude::*;
use wabe_http1::{
    Framing, Limits, PlainHead, PlainRequest, Reason, is_persistent, plain_request, plain_response, request,
    response, write_request_head, write_response_head,
};

/// All that a head says; fields of one name in their order.
type Said = (StatusCode, Framing, Vec<u8>, HeaderMap);

/// What whoever gets it reads.
fn said(mut head: BytesMut) -> Said {
    let (head, framing) = response(&mut head, &Limits::default(), &Method::GET).unwrap().unwrap();
    let reason = head.extensions.get::<Reason>().map(Reason::as_bytes).unwrap_or_default();
    (head.status, framing, reason.to_vec(), head.headers)
}

/// Whether it was passed on. Panics if that made a difference.
fn agrees(input: &[u8], to: &Method, limits: &Limits) -> bool {
    let (mut one, mut other) = (BytesMut::from(input), BytesMut::from(input));
    let Some(PlainHead { status, framing, persistent, mut lines }) = plain_response(&mut one, limits, to)
    else {
        assert_eq!(one, input, "what is left to others is left as it was");
        return false;
    };
    lines.extend_from_slice(b"\r\n");
    let (mut head, apart) = response(&mut other, limits, to).unwrap().unwrap();
    assert_eq!(one, other, "as much was taken");
    assert_eq!((status, framing, Version::HTTP_11), (head.status, apart, head.version));
    assert_eq!(persistent, is_persistent(head.version, &head.headers));
    head.headers.remove(header::CONNECTION);
    let mut anew = BytesMut::new();
    write_response_head(&mut anew, &head, apart);
    assert_eq!(lines.len(), anew.len(), "{lines:?} {anew:?}");
    assert_eq!(said(lines), said(anew));
    true
}

fn is_plain(input: &str) -> bool {
    agrees(input.as_bytes(), &Method::GET, &Limits::default())
}

#[test]
fn what_servers_send_is_plain() {
    for input in [
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 28 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: 64\r\nConnection: keep-alive\r\n\r\nbody",
        "HTTP/1.1 404 Not Found\r\ncontent-length:0\r\nconnection: Close\r\n\r\n",
        "HTTP/1.1 500 It burns\r\ntransfer-encoding: chunked\r\nSet-Cookie: a=1\r\nx: \t y\t\r\nset-cookie: b=2\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-Name: M\u{fc}ller\r\nX-Empty:\r\nX-Blank: \r\n\r\n1",
    ] {
        assert!(is_plain(input), "{input}");
    }
}

#[test]
fn what_is_unusual_is_left_alone() {
    for input in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r",
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive, x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nKeep-Alive: timeout=5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 01\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
    ] {
        assert!(!is_plain(input), "{input}");
    }
    let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nx: y\r\n\r\n";
    assert!(!agrees(plain, &Method::HEAD, &Limits::default()));
    assert!(!agrees(plain, &Method::CONNECT, &Limits::default()));
    assert!(!agrees(plain, &Method::GET, &Limits { headers: 1, ..Limits::default() }));
    assert!(!agrees(plain, &Method::GET, &Limits { head_bytes: plain.len() - 1, ..Limits::default() }));
    assert!(agrees(
        plain,
        &Method::GET,
        &Limits { headers: 2, head_bytes: plain.len(), ..Limits::default() }
    ));
}

/// The same of a request.
fn request_agrees(input: &[u8], limits: &Limits) -> bool {
    let (mut one, mut other) = (BytesMut::from(input), BytesMut::from(input));
    let Some(plain) = plain_request(&mut one, limits, |name, value| name == b"special" && value == b"1")
    else {
        assert_eq!(one, input, "what is left to others is left as it was");
        return false;
    };
    let PlainRequest { method, target, framing, persistent, mut lines } = plain;
    lines.extend_from_slice(b"\r\n");
    let (mut head, apart) = request(&mut other, limits).unwrap().unwrap();
    assert_eq!(one, other, "as much was taken");
    assert_eq!((&method, &target, framing, Version::HTTP_11), (&head.method, &head.uri, apart, head.version));
    assert_eq!(persistent, is_persistent(head.version, &head.headers));
    head.headers.remove(header::CONNECTION);
    let mut anew = BytesMut::new();
    write_request_head(&mut anew, &head, apart).unwrap();
    assert_eq!(lines.len(), anew.len(), "{lines:?} {anew:?}");
    let said = |mut head: BytesMut| {
        let (head, framing) = request(&mut head, &Limits::default()).unwrap().unwrap();
        (head.method, head.uri, head.headers, framing)
    };
    assert_eq!(said(lines), said(anew));
    true
}

fn is_plain_request(input: &str) -> bool {
    request_agrees(input.as_bytes(), &Limits::default())
}

#[test]
fn what_clients_send_is_plain() {
    for input in [
        "GET / HTTP/1.1\r\nHost: web\r\n\r\n",
        "GET /a/b?c=%20&d HTTP/1.1\r\nHost: web:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nConnection: close\r\n\r\nrest",
        "POST //a HTTP/1.1\r\nhost:[::1]:80\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        "PUT /a HTTP/1.1\r\nCookie: a=1\r\nTransfer-Encoding: chunked\r\nHost: web\r\nCookie: b=2\r\n\r\n0\r\n\r\n",
        "LIST / HTTP/1.1\r\nHost: web\r\nSpecial: 2\r\n\r\n",
    ] {
        assert!(is_plain_request(input), "{input}");
    }
}

#[test]
fn requests_that_are_unusual_are_left_alone() {
    for input in [
        "",
        "\r\nGET / HTTP/1.1\r\nHost: web\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\r\n",
        "GET / HTTP/1.0\r\nHost: web\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\r\nHost: web\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET http://web/ HTTP/1.1\r\nHost: web\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: web\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nHost: web\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n",
        "CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n",
        "get / HTTP/1.1\r\nHost: web\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\r\nTE: trailers\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\r\n a: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\r\nSpecial: 1\r\n\r\n",
    ] {
        assert!(!is_plain_request(input), "{input}");
    }
    let plain = b"GET / HTTP/1.1\r\nHost: web\r\nx: y\r\n\r\n";
    for (headers, head_bytes, is) in
        [(2, plain.len(), true), (1, plain.len(), false), (2, plain.len() - 1, false)]
    {
        assert_eq!(request_agrees(plain, &Limits { headers, head_bytes, ..Limits::default() }), is);
    }
}

/// Lines as servers send them, and as nobody should.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "X",
        "Set-Cookie",
        "Proxy-Connection",
        "Date",
        "Host",
        "Special",
        "",
        "x y",
        "x\r",
        "\u{e9}",
    ]);
    let colon = prop::sample::select(vec![": ", ":", ":  ", " :", ":\t", ""]);
    let value = prop::sample::select(vec![
        "1",
        "0",
        "00",
        "18",
        "chunked",
        "Chunked",
        "close",
        "keep-alive",
        "Keep-Alive, x",
        "a b",
        "a ",
        "",
        "\r",
        "\n",
        "a\rb",
        "a\nb",
        "\t",
        "\u{7f}",
        "\u{e9}",
        "\u{1}",
    ]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"]);
    (name, colon, value, end)
        .prop_map(|(name, colon, value, end)| [name, colon, value, end].concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn nothing_makes_a_difference(
        status in prop::sample::select(vec!["HTTP/1.1 200 OK\r\n", "HTTP/1.1 404 x\r\n", "HTTP/1.1 304 x\r\n", "HTTP/1.1 200 a\rb\r\n"]),
        lines in prop::collection::vec(line(), 0..4), end in prop::sample::select(vec!["\r\n", "\r\n", "\n", "a\n", ""]),
        long in prop::option::weighted(0.02, 3_900_usize..4_200),
    ) {
        let mut input = [status.as_bytes(), &lines.concat(), end.as_bytes(), b"rest"].concat();
        agrees(&input, &Method::GET, &Limits::default());
        let usual = [b"Content-Length: 1\r\nA: ", &vec![b'a'; long.unwrap_or(1)][..], b"\r\n"].concat();
        input.splice(status.len()..status.len(), usual);
        agrees(&input, &Method::GET, &Limits::default());
    }

    #[test]
    fn nor_does_it_of_requests(
        first in prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "GET /a?b=/c HTTP/1.1\r\n", "POST /%2f/../ HTTP/1.1\r\n", "GET  / HTTP/1.1\r\n",
            "GET /\u{1} HTTP/1.1\r\n", "GET ?a HTTP/1.1\r\n", "X /a\\b|{} HTTP/1.1\r\n", "GET / HTTP/1.1\n",
        ]),
        lines in prop::collection::vec(line(), 0..4), end in prop::sample::select(vec!["\r\n", "\r\n", "\n", "a\n", ""]),
        long in prop::option::weighted(0.02, 3_900_usize..4_200),
    ) {
        let mut input = [first.as_bytes(), &lines.concat(), end.as_bytes(), b"rest"].concat();
        request_agrees(&input, &Limits::default());
        let usual = [b"host: a-b\r\nA: ", &vec![b'a'; long.unwrap_or(1)][..], b"\r\n"].concat();
        input.splice(first.len()..first.len(), usual);
        request_agrees(&input, &Limits::default());
    }
}
