//! Answers: no octets panic; cut into pieces anywhere they are read the same; what is read can be written, and that is
//! read as the same, in one form.
//!
//! An input is the method that is answered in one octet, where to cut in another, and then what an endpoint sends.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode, header::CONNECTION, response};
use wabe_http1::{
    BodyDecoder, BodyEncoder, Framing, Limits, Piece, Refusal, is_persistent, plain_response, response,
    write_response_head,
};

use crate::Seed;

/// Reads the answers.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let [to, cut, bytes @ ..] = input else { return };
    let to = [Method::GET, Method::HEAD, Method::CONNECT][usize::from(to % 3)].clone();
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let (answers, refusal) = read(&[bytes], &to);
    assert_eq!(format!("{:?}", read(&[first, second], &to)), format!("{:?}", (&answers, refusal)));
    for it in answers {
        if it.complete {
            survives_writing(&it, &to);
        }
    }
    passed_on_is_the_same(bytes, &to);
}

/// What need not be taken apart says the same if it is.
fn passed_on_is_the_same(bytes: &[u8], to: &Method) {
    let (mut left, mut apart) = (BytesMut::from(bytes), BytesMut::from(bytes));
    let Some(plain) = plain_response(&mut left, &Limits::default(), to) else {
        return assert_eq!(left, bytes, "taken, and not given");
    };
    let (head, framing) = response(&mut apart, &Limits::default(), to).expect("plain").expect("whole");
    let persistent = is_persistent(head.version, &head.headers);
    assert_eq!((&left, plain.framing, plain.persistent), (&apart, framing, persistent));
    let mut lines = plain.lines;
    lines.extend_from_slice(b"\r\n");
    let (mut again, _) = response(&mut lines, &Limits::default(), to).expect("plain").expect("whole");
    let mut headers = head.headers;
    headers.remove(CONNECTION);
    again.headers.remove(CONNECTION);
    assert_eq!((again.status, again.headers), (head.status, headers));
}

#[derive(Debug)]
struct Read {
    head: response::Parts,
    framing: Framing,
    body: Vec<u8>,
    trailers: HeaderMap,
    complete: bool,
}

/// Interim answers and the one that follows, or as many as there are.
fn read(pieces: &[&[u8]], to: &Method) -> (Vec<Read>, Option<Refusal>) {
    let (mut buffer, mut answers, mut body) = (BytesMut::new(), Vec::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if let Err(refusal) = advance(&mut buffer, &mut answers, &mut body, to) {
            return (answers, Some(refusal));
        }
    }
    if let (Some(decoder), Some(read)) = (&mut body, answers.last_mut()) {
        read.complete = decoder.at_end_of_input().is_ok();
    }
    (answers, None)
}

fn advance(
    buffer: &mut BytesMut,
    answers: &mut Vec<Read>,
    body: &mut Option<BodyDecoder>,
    to: &Method,
) -> Result<(), Refusal> {
    let limits = Limits::default();
    loop {
        let (Some(decoder), Some(read)) = (body.as_mut(), answers.last_mut()) else {
            if answers.last().is_some_and(|it| it.head.status == StatusCode::SWITCHING_PROTOCOLS) {
                return Ok(());
            }
            let Some((head, framing)) = response(buffer, &limits, to)? else { return Ok(()) };
            *body = Some(BodyDecoder::new(framing, &limits));
            let (body, trailers) = (Vec::new(), HeaderMap::new());
            answers.push(Read { head, framing, body, trailers, complete: false });
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

fn survives_writing(first: &Read, to: &Method) {
    let wire = written(first);
    let (answers, refusal) = read(&[&wire], to);
    let [again] = &answers[..] else { panic!("{} answers, {refusal:?}", answers.len()) };
    assert!(refusal.is_none() && again.complete, "{refusal:?}");
    assert_eq!((again.head.status, again.framing), (first.head.status, first.framing));
    assert_eq!((&again.body, &again.trailers), (&first.body, &first.trailers));
    assert_eq!(written(again), wire, "two forms");
}

fn written(read: &Read) -> Vec<u8> {
    let (mut out, mut body) = (BytesMut::new(), BodyEncoder::new(read.framing));
    write_response_head(&mut out, &read.head, read.framing);
    let written = body.whole(&read.body, &mut out);
    written.and_then(|()| body.end(Some(&read.trailers), &mut out)).expect("what was read can't be written");
    out.to_vec()
}

/// Right answers with each framing, and some that are refused.
pub fn seeds() -> Vec<Seed> {
    let answers = [
        (
            "length",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        ),
        ("until-close", "HTTP/1.0 200 OK\r\nServer: a\r\n\r\nabc"),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0;a=b\r\nGrpc-Status: 0\r\n\r\n",
        ),
        (
            "interim",
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        ),
        ("upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nabc"),
        ("not-modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("no-reason", "HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n"),
        ("own-reason", "HTTP/1.1 200 Fine, really\r\nContent-Length: 0\r\n\r\n"),
        ("both", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("length-of-204", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"),
        ("line-feeds", "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"),
    ];
    let seed = |(to, way): (u8, &str), (name, text): &(&str, &str)| {
        (format!("{name}-{way}"), [&[to, 20][..], text.as_bytes()].concat())
    };
    let ways = [(0, "get"), (1, "head"), (2, "connect")];
    ways.iter().flat_map(|way| answers.iter().map(|it| seed(*way, it))).collect()
}
