//! Requests: no octets panic; cut into pieces anywhere they are read the same; httparse reads accepted heads the same; what
//! is read can be written, and that is read as the same, in one form.
//!
//! An input is where to cut in two octets, and then what a client sends.

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, header::CONNECTION, request};
use wabe_http1::{
    BodyDecoder, BodyEncoder, Framing, Limits, Piece, Refusal, is_persistent, malformed, plain_request,
    request, write_request_head,
};

use crate::Seed;

/// Reads the requests.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first_chunk() else { return };
    let (first, second) = bytes.split_at(usize::from(u16::from_be_bytes(*cut)).min(bytes.len()));
    let (requests, refusal) = read(&[bytes]);
    assert_eq!(format!("{:?}", read(&[first, second])), format!("{:?}", (&requests, refusal)));
    for it in requests {
        if it.complete {
            survives_writing(&it);
        }
    }
    passed_on_is_the_same(bytes);
}

/// What need not be taken apart says the same if it is.
fn passed_on_is_the_same(bytes: &[u8]) {
    let (mut left, mut apart) = (BytesMut::from(bytes), BytesMut::from(bytes));
    let Some(plain) = plain_request(&mut left, &Limits::default(), |_, _| false) else {
        return assert_eq!(left, bytes, "taken, and not given");
    };
    let (head, framing) = request(&mut apart, &Limits::default()).expect("plain").expect("whole");
    let persistent = is_persistent(head.version, &head.headers);
    assert_eq!((&left, plain.framing, plain.persistent), (&apart, framing, persistent));
    assert_eq!((&plain.method, &plain.target), (&head.method, &head.uri));
    let mut lines = plain.lines;
    lines.extend_from_slice(b"\r\n");
    let (again, _) = request(&mut lines, &Limits::default()).expect("plain").expect("whole");
    let mut headers = head.headers;
    headers.remove(CONNECTION);
    assert_eq!((again.method, again.uri, again.headers), (head.method, head.uri, headers));
}

#[derive(Debug)]
struct Read {
    head: request::Parts,
    framing: Framing,
    body: Vec<u8>,
    trailers: HeaderMap,
    complete: bool,
}

fn read(pieces: &[&[u8]]) -> (Vec<Read>, Option<Refusal>) {
    let (mut buffer, mut requests, mut body) = (BytesMut::new(), Vec::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        match advance(&mut buffer, &mut requests, &mut body) {
            Ok(()) => {}
            Err(refusal) => return (requests, Some(refusal)),
        }
    }
    (requests, None)
}

fn advance(
    buffer: &mut BytesMut,
    requests: &mut Vec<Read>,
    body: &mut Option<BodyDecoder>,
) -> Result<(), Refusal> {
    let limits = Limits::default();
    loop {
        let (Some(decoder), Some(read)) = (body.as_mut(), requests.last_mut()) else {
            let before = buffer.clone();
            let Some((head, framing)) = request(buffer, &limits)? else {
                assert_eq!(before, *buffer, "something was taken from an unfinished head");
                return Ok(());
            };
            as_httparse(&before, &head);
            *body = Some(BodyDecoder::new(framing, &limits));
            let (body, trailers) = (Vec::new(), HeaderMap::new());
            requests.push(Read { head, framing, body, trailers, complete: false });
            continue;
        };
        match decoder.next(buffer)? {
            None => return Ok(()),
            Some(Piece::Data(data)) => read.body.extend_from_slice(&data),
            Some(Piece::Trailers(trailers)) => read.trailers = trailers,
            Some(Piece::End) => {
                read.complete = true;
                *body = None;
            }
        }
    }
}

fn as_httparse(bytes: &[u8], head: &request::Parts) {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut theirs = httparse::Request::new(&mut fields);
    let complete = theirs.parse(bytes).expect("httparse refuses it");
    assert!(complete.is_complete(), "httparse wants more");
    assert_eq!(theirs.method, Some(head.method.as_str()));
    assert_eq!(theirs.headers.len(), head.headers.len());
    for name in head.headers.keys() {
        let named = |it: &&httparse::Header<'_>| it.name.eq_ignore_ascii_case(name.as_str());
        let theirs = theirs.headers.iter().filter(named).map(|it| it.value);
        assert!(theirs.eq(head.headers.get_all(name).iter().map(HeaderValue::as_bytes)), "{name}");
    }
}

fn survives_writing(first: &Read) {
    let wire = written(first);
    let (requests, refusal) = read(&[&wire]);
    let [again] = &requests[..] else { panic!("{} requests, {refusal:?}", requests.len()) };
    assert!(refusal.is_none() && again.complete, "{refusal:?}");
    assert_eq!(again.head.method, first.head.method);
    assert_eq!(again.framing, first.framing);
    assert_eq!((&again.body, &again.trailers), (&first.body, &first.trailers));
    assert_eq!(written(again), wire, "two forms");
}

fn written(read: &Read) -> Vec<u8> {
    let (mut out, mut body) = (BytesMut::new(), BodyEncoder::new(read.framing));
    let mut head = read.head.clone();
    // HTTP/1.0 may say none.
    if head.uri.authority().is_none() {
        head.headers.entry("host").or_insert(HeaderValue::from_static("a"));
    }
    let written = write_request_head(&mut out, &head, read.framing)
        .and_then(|()| body.whole(&read.body, &mut out))
        .and_then(|()| body.end(Some(&read.trailers), &mut out));
    written.expect("what was read can't be written");
    out.to_vec()
}

/// Right requests of each form, and all that are known to be refused.
pub fn seeds() -> Vec<Seed> {
    let right = [
        ("get", "GET /a?b=c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"),
        ("get-http10", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        ("absolute", "\r\nGET http://a:80/b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "options",
            "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\nOPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        (
            "length",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "chunks",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\";c=d\r\nabc\r\n0a\r\n0123456789\r\n0\r\nA: b\r\n\r\n",
        ),
    ];
    let right = right.map(|(name, text)| (name, text.as_bytes().to_vec()));
    let wrong = malformed::requests("a").into_iter().map(|it| (it.name, it.bytes));
    let seed = |(name, bytes): (&str, Vec<u8>)| (name.to_owned(), [&[0, 20][..], &bytes].concat());
    // Long ones are mutated to no effect.
    right.into_iter().chain(wrong).filter(|(_, bytes)| bytes.len() < 1000).map(seed).collect()
}
