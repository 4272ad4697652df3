//! What bodies are taken apart into, and what they are written as.

use bytes::BytesMut;
use http::HeaderMap;
use wabe_http1::{BodyDecoder, BodyEncoder, EncodeError, Framing, Limits, Piece, Refusal};

fn decoder(framing: Framing) -> BodyDecoder {
    BodyDecoder::new(framing, &Limits::default())
}

#[test]
fn a_length_ends_where_it_says() {
    let mut body = decoder(Framing::Length(5));
    let mut buffer = BytesMut::from("abc");
    assert_eq!(body.next(&mut buffer), Ok(Some(Piece::Data("abc".into()))));
    assert_eq!(body.next(&mut buffer), Ok(None));
    assert_eq!(body.at_end_of_input(), Err(Refusal::CutOff));
    buffer.extend_from_slice(b"deGET");
    assert_eq!(body.next(&mut buffer), Ok(Some(Piece::Data("de".into()))));
    assert!(body.is_done());
    assert_eq!(body.next(&mut buffer), Ok(Some(Piece::End)));
    assert_eq!(body.at_end_of_input(), Ok(()));
    assert_eq!(buffer[..], b"GET"[..]);
}

#[test]
fn no_body_is_at_its_end_at_once() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut body = decoder(framing);
        assert!(body.is_done());
        assert_eq!(body.next(&mut BytesMut::from("GET")), Ok(Some(Piece::End)));
    }
}

#[test]
fn until_close_ends_with_the_input() {
    let mut body = decoder(Framing::UntilClose);
    let mut buffer = BytesMut::from("abc");
    assert_eq!(body.next(&mut buffer), Ok(Some(Piece::Data("abc".into()))));
    assert_eq!(body.next(&mut buffer), Ok(None));
    assert!(!body.is_done());
    assert_eq!(body.at_end_of_input(), Ok(()));
    assert_eq!(body.next(&mut buffer), Ok(Some(Piece::End)));
}

#[test]
fn chunks_and_trailers_are_read() {
    let mut body = decoder(Framing::Chunked);
    let mut buffer = BytesMut::from(
        "3\r\nabc\r\n00A;a;b=c;d=\"e\\\"; f\"\r\n0123456789\r\n0;z\r\nGrpc-Status: 0\r\nA: b\r\n\r\nGET",
    );
    assert_eq!(body.next(&mut buffer), Ok(Some(Piece::Data("abc".into()))));
    assert_eq!(body.next(&mut buffer), Ok(Some(Piece::Data("0123456789".into()))));
    let Ok(Some(Piece::Trailers(trailers))) = body.next(&mut buffer) else { panic!("no trailers") };
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers.len(), 2);
    assert_eq!(body.next(&mut buffer), Ok(Some(Piece::End)));
    assert_eq!(buffer[..], b"GET"[..]);
}

#[test]
fn quoted_extensions_end_where_they_end() {
    for (extension, wanted) in [
        (&b"a=\"\\\"x\""[..], Ok(())),
        (b"a=\"\\\\\"", Ok(())),
        (b"a=\"\t \x80\"", Ok(())),
        (b"a=\"\\\t\"", Ok(())),
        (b"a=\"\"", Ok(())),
        (b"a=\"\\\x01\"", Err(Refusal::ChunkExtensionMalformed)),
        (b"a=\"\\\x7f\"", Err(Refusal::ChunkExtensionMalformed)),
        (b"a=\"\x7f\"", Err(Refusal::ChunkExtensionMalformed)),
        (b"a=\"x\\\"", Err(Refusal::ChunkExtensionMalformed)),
        (b"a=\"x\\", Err(Refusal::ChunkExtensionMalformed)),
        (b"a=\"x\"y", Err(Refusal::ChunkExtensionMalformed)),
    ] {
        let mut buffer = BytesMut::from(&[b"1;", extension, b"\r\na"].concat()[..]);
        let read = decoder(Framing::Chunked).next(&mut buffer);
        assert_eq!(read.map(|it| assert_eq!(it, Some(Piece::Data("a".into())))), wanted, "{extension:?}");
    }
}

#[test]
fn a_cut_is_seen_wherever_it_is() {
    let whole = b"3\r\nabc\r\n0\r\nA: b\r\n\r\n";
    for length in 0..whole.len() {
        let mut body = decoder(Framing::Chunked);
        let mut buffer = BytesMut::from(&whole[..length]);
        while body.next(&mut buffer).unwrap().is_some() {}
        assert_eq!(body.at_end_of_input(), Err(Refusal::CutOff), "after {length} octets");
    }
}

#[test]
fn chunks_are_written() {
    let (mut body, mut out) = (BodyEncoder::new(Framing::Chunked), BytesMut::new());
    for piece in ["abc", "", "0123456789abcdefg"] {
        body.whole(piece.as_bytes(), &mut out).unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("host", "a".parse().unwrap());
    body.end(Some(&trailers), &mut out).unwrap();
    assert_eq!(out[..], b"3\r\nabc\r\n11\r\n0123456789abcdefg\r\n0\r\ngrpc-status: 0\r\n\r\n"[..]);
}

#[test]
fn sizes_are_written_in_hexadecimal() {
    for size in [1, 9, 10, 15, 16, 255, 256, 4095, 65_536, usize::MAX] {
        let mut out = BytesMut::new();
        BodyEncoder::new(Framing::Chunked).before(size, &mut out).unwrap();
        assert_eq!(out[..], *format!("{size:x}\r\n").as_bytes());
    }
}

#[test]
fn a_length_that_is_not_kept_is_an_error() {
    let mut out = BytesMut::new();
    let mut body = BodyEncoder::new(Framing::Length(5));
    assert_eq!(body.whole(b"abc", &mut out), Ok(()));
    assert_eq!(body.whole(b"def", &mut out), Err(EncodeError::TooLong));
    assert_eq!(out[..], b"abc"[..], "nothing of what is too much");
    assert_eq!(body.end(None, &mut out), Err(EncodeError::TooShort));
    assert_eq!(BodyEncoder::new(Framing::None).whole(b"a", &mut out), Err(EncodeError::TooLong));
    assert_eq!(BodyEncoder::new(Framing::None).whole(b"", &mut out), Ok(()));
}

#[test]
fn each_error_says_something_else() {
    let all = [
        EncodeError::RequestUntilClose,
        EncodeError::NoAuthority,
        EncodeError::NoHost,
        EncodeError::Target,
        EncodeError::TooLong,
        EncodeError::TooShort,
    ];
    let texts: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all.len());
    assert!(texts.iter().all(|it| !it.is_empty()));
}
