//! Reads whole inputs, for several tests.

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, request};
use proptest::prelude::*;
use wabe_http1::{BodyDecoder, BodyEncoder, Framing, Limits, Piece, Refusal, request, write_request_head};

/// One request as it was read.
#[derive(Debug)]
pub struct Read {
    /// Its head.
    pub head: request::Parts,
    /// How its body was delimited.
    pub framing: Framing,

    /// Its body, as far as it came.
    pub body: Vec<u8>,
    /// What came after the body.
    pub trailers: HeaderMap,
    /// Whether its end came.
    pub complete: bool,
}

/// All requests that follow each other in `input`, and why the last is refused, if it is.
pub fn read_all(input: &[u8]) -> (Vec<Read>, Option<Refusal>) {
    read_pieces([input])
}

/// The same, if the input comes piece by piece.
pub fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Read>, Option<Refusal>) {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.buffer.extend_from_slice(piece);
        if let Err(refusal) = reader.advance() {
            return (reader.read, Some(refusal));
        }
    }
    (reader.read, None)
}

#[derive(Default)]
struct Reader {
    buffer: BytesMut,
    read: Vec<Read>,
    body: Option<BodyDecoder>,
}

impl Reader {
    fn advance(&mut self) -> Result<(), Refusal> {
        let limits = Limits::default();
        loop {
            if let (Some(decoder), Some(read)) = (&mut self.body, self.read.last_mut()) {
                match decoder.next(&mut self.buffer)? {
                    None => return Ok(()),
                    Some(Piece::Data(data)) => read.body.extend_from_slice(&data),
                    Some(Piece::Trailers(trailers)) => read.trailers = trailers,
                    Some(Piece::End) => {
                        read.complete = true;
                        self.body = None;
                    }
                }
            } else {
                let Some((head, framing)) = request(&mut self.buffer, &limits)? else { return Ok(()) };
                self.body = Some(BodyDecoder::new(framing, &limits));
                self.read.push(Read {
                    head,
                    framing,
                    body: Vec::new(),
                    trailers: HeaderMap::new(),
                    complete: false,
                });
            }
        }
    }
}

/// Requests that follow each other: right ones, ones that are nearly right, and what a few other octets make of them.
pub fn inputs() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), octet()), 0..2);
    (prop::collection::vec(one_request(), 1..4), prop::option::weighted(0.3, changes)).prop_map(
        |(requests, changes)| {
            let mut bytes = requests.concat().into_bytes();
            for (place, octet) in changes.into_iter().flatten() {
                let place = place.index(bytes.len());
                bytes[place] = octet;
            }
            bytes
        },
    )
}

fn octet() -> impl Strategy<Value = u8> {
    prop_oneof![prop::sample::select(&b"\r\n \t:;,\"\0\x7f\xff0aA/#@"[..]), any::<u8>()]
}

fn one_request() -> impl Strategy<Value = String> {
    let line = (
        weighted(&["GET", "POST", "PUT", "HEAD", "OPTIONS", "M-SEARCH"], &["get", "CONNECT"]),
        weighted(
            &["/", "/a?b=c", "/%20//..", "http://a/", "http://a/b?c"],
            &["*", "a:80", "/#", "http://b/", "ftp://a/", "/\u{e9}"],
        ),
        weighted(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"], &["HTTP/1.2", "http/1.1"]),
    );
    let field = weighted(
        &[
            "A: b",
            "Accept: */*",
            "X:",
            "X-Long:  \ta value, and more \t",
            "Connection: keep-alive",
            "Cookie: a=b",
        ],
        &[
            "A : b",
            " b",
            "Host: a",
            "A: \u{1}",
            "Connection: close",
            "Transfer-Encoding: chunked",
            "Content-Length: 2",
            "A",
        ],
    );
    let body = weighted(
        &[
            "\r\n",
            "Content-Length: 0\r\n\r\n",
            "content-length: 5\r\n\r\nabcde",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00a;b=\"c\"\r\n0123456789\r\n0\r\n\r\n",
            "transfer-encoding: CHUNKED\r\n\r\n1\r\na\r\n0\r\nChecksum: b\r\n\r\n",
        ],
        &[
            "Content-Length: 5, 5\r\n\r\nabcde",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n",
            "\n",
        ],
    );
    let host = weighted(&["Host: a\r\n"], &["", "Host: a\n", "Host: b\r\n", "Host: a b\r\n"]);
    (line, host, prop::collection::vec(field, 0..4), body).prop_map(
        |((method, target, version), host, fields, body)| {
            let fields: String = fields.iter().map(|it| format!("{it}\r\n")).collect();
            format!("{method} {target} {version}\r\n{host}{fields}{body}")
        },
    )
}

/// One of the right ones, mostly.
fn weighted(
    right: &'static [&'static str],
    wrong: &'static [&'static str],
) -> impl Strategy<Value = &'static str> {
    prop_oneof![24 => prop::sample::select(right), 1 => prop::sample::select(wrong)]
}

/// The request as it is written anew, framed as it was, a body of chunks in one. HTTP/1.0 without a host gets one.
pub fn written(read: &Read) -> Vec<u8> {
    let (mut out, mut body) = (BytesMut::new(), BodyEncoder::new(read.framing));
    let mut head = read.head.clone();
    if head.uri.authority().is_none() {
        head.headers.entry("host").or_insert(HeaderValue::from_static("a"));
    }
    write_request_head(&mut out, &head, read.framing).unwrap();
    body.whole(&read.body, &mut out).unwrap();
    body.end(Some(&read.trailers), &mut out).unwrap();
    out.to_vec()
}
