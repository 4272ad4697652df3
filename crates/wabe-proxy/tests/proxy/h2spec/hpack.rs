//! `hpack`: heads that can't be decoded (RFC 7541).

use super::{Case, Expected, case, parts::*};
use crate::frames::COMPRESSION_ERROR;

/// Section, description, what comes before the head, and what after.
type Row = (&'static str, &'static str, &'static [u8], &'static [u8]);

const ROWS: [Row; 8] = [
    ("hpack/2.3.3", "Sends a indexed header field representation with invalid index", b"", b"\xc6"),
    ("hpack/2.3.3", "Sends a literal header field representation with invalid index", b"", b"\x7f\x07\x00"),
    ("hpack/4.2", "Sends a dynamic table size update at the end of header block", b"", b"\x21"),
    (
        "hpack/5.2",
        "Sends a Huffman-encoded string literal representation with padding longer than 7 bits",
        b"",
        b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff",
    ),
    (
        "hpack/5.2",
        "Sends a Huffman-encoded string literal representation padded by zero",
        b"",
        b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90",
    ),
    (
        "hpack/5.2",
        "Sends a Huffman-encoded string literal representation containing the EOS symbol",
        b"",
        b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f",
    ),
    ("hpack/6.1", "Sends a indexed header field representation with index 0", b"", b"\x80"),
    (
        "hpack/6.3",
        "Sends a dynamic table size update larger than the value of SETTINGS_HEADER_TABLE_SIZE",
        // 4097.
        b"\x3f\xe2\x1f",
        b"",
    ),
];

pub fn cases() -> Vec<Case> {
    ROWS.iter()
        .map(|(section, what, before, after)| {
            let block = [before, &head("GET")[..], after].concat();
            case(section, what, [send(request(&block))], Expected::ConnectionError(&[COMPRESSION_ERROR]))
        })
        .collect()
}
