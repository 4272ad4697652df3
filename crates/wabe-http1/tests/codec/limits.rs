//! Each limit: what reaches it exactly is read, one more is refused.

use bytes::BytesMut;
use http::Method;
use wabe_http1::{BodyDecoder, Framing, Limits, Refusal, request, response};

fn limits() -> Limits {
    Limits {
        head_bytes: 400,
        headers: 5,
        target_bytes: 40,
        chunk_line_bytes: 20,
        extension_bytes: 30,
        trailer_bytes: 60,
    }
}

fn read(input: &str, limits: &Limits) -> Option<Refusal> {
    let mut buffer = BytesMut::from(input);
    match request(&mut buffer, limits) {
        Ok(head) => {
            assert!(head.is_some() && buffer.is_empty(), "unfinished");
            None
        }
        Err(refusal) => Some(refusal),
    }
}

fn read_chunks(input: &str, limits: &Limits) -> Option<Refusal> {
    let mut body = BodyDecoder::new(Framing::Chunked, limits);
    let mut buffer = BytesMut::from(input);
    loop {
        match body.next(&mut buffer) {
            Ok(Some(_)) if body.is_done() => return None,
            Ok(Some(_)) => {}
            Ok(None) => panic!("unfinished"),
            Err(refusal) => return Some(refusal),
        }
    }
}

#[test]
fn of_a_target() {
    for (length, refusal) in
        [(40, None), (41, Some(Refusal::TargetTooLong)), (90, Some(Refusal::TargetTooLong))]
    {
        for method in ["GET", "A-LONG-METHOD"] {
            let target = "a".repeat(length - 1);
            let head = format!("{method} /{target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(read(&head, &limits()), refusal, "{method}, {length} octets");
        }
    }
}

#[test]
fn of_a_target_before_a_version_that_is_short() {
    for (length, refusal) in [(40, Refusal::VersionMalformed), (41, Refusal::TargetTooLong)] {
        let head = format!("GET /{} H\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
        assert_eq!(read(&head, &limits()), Some(refusal), "{length} octets");
    }
}

#[test]
fn of_a_target_whatever_is_configured() {
    let wide = Limits { target_bytes: 1 << 20, head_bytes: 1 << 20, ..Limits::default() };
    for (length, refusal) in [(65_534, None), (65_535, Some(Refusal::TargetTooLong))] {
        let target = "a".repeat(length - 1);
        assert_eq!(read(&format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n"), &wide), refusal, "{length}");
    }
}

#[test]
fn of_a_target_that_has_not_ended() {
    let line = format!("GET /{}", "a".repeat(100));
    let longest = "GET ".len() + 40 + " HTTP/1.1\r\n".len();
    for length in 0..line.len() {
        let read = request(&mut BytesMut::from(&line[..length]), &limits());
        let wanted = if length < longest { Ok(()) } else { Err(Refusal::TargetTooLong) };
        assert_eq!(read.map(|it| assert!(it.is_none())), wanted, "{length} octets");
    }
}

#[test]
fn of_a_method() {
    for (length, refusal) in [(32, None), (33, Some(Refusal::MethodTooLong))] {
        let method = "A".repeat(length);
        assert_eq!(read(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), &limits()), refusal, "{length}");
        let unfinished = request(&mut BytesMut::from(method.as_str()), &limits());
        assert_eq!(unfinished.map(|_| ()).err(), refusal, "{length}, and nothing behind it");
    }
}

#[test]
fn of_field_lines() {
    for (fields, refusal) in [(4, None), (5, Some(Refusal::TooManyHeaders))] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(fields));
        assert_eq!(read(&head, &limits()), refusal, "{fields} and Host");
    }
}

#[test]
fn of_a_head_of_a_request() {
    for (length, refusal) in [(400, None), (401, Some(Refusal::HeadTooLarge))] {
        let begin = "GET / HTTP/1.1\r\nHost: a\r\nA: ";
        let head = format!("{begin}{}\r\n\r\n", "a".repeat(length - begin.len() - 4));
        assert_eq!(head.len(), length);
        assert_eq!(read(&head, &limits()), refusal, "{length} octets");
        assert_eq!(read(&format!("\r\n{head}"), &limits()), refusal, "and an empty line before");
        // Without its end.
        let unfinished = request(&mut BytesMut::from(&head[..length - 1]), &limits());
        assert_eq!(unfinished.map(|_| ()).err(), refusal, "{length} octets but for the last");
    }
}

#[test]
fn of_a_head_of_an_answer() {
    for (length, refusal) in [(400, Ok(())), (401, Err(Refusal::HeadTooLarge))] {
        for begin in ["HTTP/1.1 200 OK\r\nA: ", "HTTP/1.1 200 "] {
            let head = format!("{begin}{}\r\n\r\n", "a".repeat(length - begin.len() - 4));
            let read = response(&mut BytesMut::from(head.as_str()), &limits(), &Method::GET);
            assert_eq!(read.map(|it| assert!(it.is_some())), refusal, "{begin}: {length} octets");
        }
    }
}

#[test]
fn of_a_status_line_that_has_not_ended() {
    for (length, wanted) in [(399, Ok(())), (400, Err(Refusal::HeadTooLarge))] {
        let line = format!("HTTP/1.1 200 {}", "a".repeat(length - 13));
        let read = response(&mut BytesMut::from(line.as_str()), &limits(), &Method::GET);
        assert_eq!(read.map(|it| assert!(it.is_none())), wanted, "{length} octets");
    }
}

#[test]
fn of_a_line_before_a_chunk() {
    for (length, refusal) in [(20, None), (21, Some(Refusal::ChunkExtensionTooLong))] {
        let line = format!("1;{}\r\n", "a".repeat(length - 4));
        assert_eq!(line.len(), length);
        assert_eq!(read_chunks(&format!("{line}a\r\n0\r\n\r\n"), &limits()), refusal, "{length} octets");
    }
}

#[test]
fn of_a_line_before_a_chunk_that_has_not_ended() {
    for (length, wanted) in [(19, Ok(None)), (20, Err(Refusal::ChunkExtensionTooLong))] {
        let mut body = BodyDecoder::new(Framing::Chunked, &limits());
        let line = format!("1;{}", "a".repeat(length - 2));
        assert_eq!(body.next(&mut BytesMut::from(line.as_str())), wanted, "{length} octets");
    }
}

#[test]
fn of_all_extensions_of_a_body() {
    for (last, refusal) in [(10, None), (11, Some(Refusal::ChunkExtensionTooLong))] {
        let last = "a".repeat(last - 1);
        let chunks = format!("1;aaaaaaaaa\r\na\r\n1;aaaaaaaaa\r\na\r\n0;{last}\r\n\r\n");
        assert_eq!(read_chunks(&chunks, &limits()), refusal, "{last}");
    }
}

#[test]
fn of_a_chunk() {
    let mut body = BodyDecoder::new(Framing::Chunked, &limits());
    let mut buffer = BytesMut::from("fffffffffffffff\r\nabc");
    assert!(matches!(body.next(&mut buffer), Ok(Some(_))));
    assert_eq!(read_chunks("1000000000000000\r\nabc", &limits()), Some(Refusal::ChunkTooLarge));
    assert_eq!(read_chunks("0000000000000000\r\n\r\n", &limits()), Some(Refusal::ChunkTooLarge));
}

#[test]
fn of_a_length() {
    for (length, refusal) in [
        ("999999999999999999", None),
        ("000000000000000000", None),
        ("1000000000000000000", Some(Refusal::ContentLengthTooLarge)),
        ("0000000000000000000", Some(Refusal::ContentLengthTooLarge)),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(read(&head, &limits()), refusal, "{length}");
    }
}

#[test]
fn of_trailers() {
    for (length, refusal) in [(60, None), (61, Some(Refusal::TrailersTooLarge))] {
        let trailers = format!("A: {}\r\n\r\n", "a".repeat(length - 7));
        assert_eq!(read_chunks(&format!("0\r\n{trailers}"), &limits()), refusal, "{length} octets");
    }
    for (lines, refusal) in [(5, None), (6, Some(Refusal::TooManyHeaders))] {
        let trailers = format!("{}\r\n", "A: b\r\n".repeat(lines));
        assert_eq!(read_chunks(&format!("0\r\n{trailers}"), &limits()), refusal, "{lines} lines");
    }
}
