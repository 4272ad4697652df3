//! However an input is cut into pieces, the same is read and the same is refused.

use bytes::BytesMut;
use http::Method;
use proptest::prelude::*;
use wabe_http1::{Limits, Refusal, malformed, request, response};

use crate::support::{inputs, read_all, read_pieces};

#[test]
fn each_refused_request_is_refused_octet_by_octet() {
    for it in malformed::requests("shop.example") {
        let (_, refusal) = read_pieces(it.bytes.chunks(1));
        assert_eq!(refusal, Some(it.refusal), "{}", it.name);
    }
}

#[test]
fn no_refused_request_is_read_before_its_end() {
    // What is refused only once all is there keeps a connection waiting, but is never taken for right.
    for it in malformed::requests("shop.example").iter().filter(|it| !it.in_body) {
        for length in 0..it.bytes.len().min(4096) {
            let read = request(&mut BytesMut::from(&it.bytes[..length]), &Limits::default());
            assert!(matches!(read, Ok(None) | Err(_)), "{}: {length} octets", it.name);
            if let Err(refusal) = read {
                assert_eq!(refusal, it.refusal, "{}: {length} octets", it.name);
            }
        }
    }
}

/// Reads heads of answers until the one that counts.
fn answers<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, Option<Refusal>) {
    let (mut buffer, mut read) = (BytesMut::new(), String::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match response(&mut buffer, &Limits::default(), &Method::GET) {
                Ok(None) => break,
                Ok(Some(head)) => read.push_str(&format!("{head:?}")),
                Err(refusal) => return (read, Some(refusal)),
            }
        }
    }
    (read, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn requests_are_the_same_in_any_pieces(input in inputs(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|it| it.index(input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|it| &input[it[0]..it[1]]);
        prop_assert_eq!(format!("{:?}", read_pieces(pieces)), format!("{:?}", read_all(&input)));
        prop_assert_eq!(format!("{:?}", read_pieces(input.chunks(1))), format!("{:?}", read_all(&input)));
    }

    #[test]
    fn answers_are_the_same_in_any_pieces(
        fields in prop::collection::vec("(A: b|Content-Length: [0-9]{1,3}|Transfer-Encoding: chunked| c|a : b|A: \\x01)(\r\n|\r\n|\r\n|\n)", 0..4),
        status in "HTTP/1\\.[0-2] [1-6][0-9]{2,3}( [A-Z]{0,3})?\r\n",
        cut in any::<prop::sample::Index>(),
    ) {
        let input = format!("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n{status}{}\r\n", fields.concat());
        let (first, second) = input.as_bytes().split_at(cut.index(input.len()));
        let whole = answers([input.as_bytes()]);
        prop_assert_eq!(answers([first, second]), whole.clone());
        prop_assert_eq!(answers(input.as_bytes().chunks(1)), whole);
    }

    #[test]
    fn nothing_panics(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_all(&input);
        let _ = answers([&input[..]]);
    }
}
