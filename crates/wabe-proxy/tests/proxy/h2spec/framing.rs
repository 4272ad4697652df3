//! `http2`, sections 3 and 4: how a connection begins, and what a frame is.

use super::{Case, Expected, case, parts::*};
use crate::frames::{
    COMPRESSION_ERROR, CONTINUATION, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, HEADERS, INITIAL_WINDOW_SIZE,
    PING, PREFACE, PRIORITY, PROTOCOL_ERROR,
};

/// The largest frame that everybody takes.
const LARGEST: usize = 1 << 14;
/// A kind that there is none of.
pub const UNKNOWN: u8 = 0x16;

pub fn cases() -> Vec<Case> {
    let mut cases = beginning();
    cases.extend(frames());
    cases.extend(heads());
    cases
}

fn beginning() -> Vec<Case> {
    vec![
        case(
            "http2/3.5",
            "Sends client connection preface",
            [send([PREFACE, &settings(&[(INITIAL_WINDOW_SIZE, 65_535)])].concat())],
            Expected::SettingsFirst,
        )
        .without_handshake(),
        case(
            "http2/3.5",
            "Sends invalid connection preface",
            [send(b"INVALID CONNECTION PREFACE\r\n\r\n")],
            Expected::Close,
        )
        .without_handshake(),
    ]
}

fn frames() -> Vec<Case> {
    let nothing = [0; 8];
    let sized = |length| send([post(), data(1, END_STREAM, &vec![b'x'; length])].concat());
    let mut reserved = ping(nothing);
    reserved[4] = 0x16;
    reserved[5] = 0x80;
    vec![
        case(
            "http2/4.1",
            "Sends a frame with unknown type",
            [send(frame(UNKNOWN, 0, 0, &nothing)), send(ping(nothing))],
            Expected::Pong(nothing),
        ),
        case(
            "http2/4.1",
            "Sends a frame with undefined flag",
            [send(frame(PING, 0x16, 0, &nothing))],
            Expected::AnyPing,
        ),
        case("http2/4.1", "Sends a frame with reserved field bit", [send(reserved)], Expected::AnyPing),
        case(
            "http2/4.2",
            "Sends a DATA frame with 2^14 octets in length",
            [sized(LARGEST)],
            Expected::Answer,
        ),
        case(
            "http2/4.2",
            "Sends a large size DATA frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
            [sized(LARGEST + 1)],
            Expected::StreamError(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "http2/4.2",
            "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
            [send(request(&[head("GET"), dummies(5)].concat()))],
            Expected::ConnectionError(&[FRAME_SIZE_ERROR]),
        ),
    ]
}

fn heads() -> Vec<Case> {
    let unended = frame(HEADERS, 0, 1, &head("GET"));
    let end = frame(CONTINUATION, END_HEADERS, 1, &dummies(1));
    let other = frame(HEADERS, END_STREAM | END_HEADERS, 3, &head("GET"));
    let protocol = Expected::ConnectionError(&[PROTOCOL_ERROR]);
    vec![
        case(
            "http2/4.3",
            "Sends invalid header block fragment",
            [send(request(&[0x40]))],
            Expected::ConnectionError(&[COMPRESSION_ERROR]),
        ),
        case(
            "http2/4.3",
            "Sends a PRIORITY frame while sending the header blocks",
            [send([unended.clone(), frame(PRIORITY, 0, 1, &priority(0, false, 255)), end.clone()].concat())],
            protocol,
        ),
        case(
            "http2/4.3",
            "Sends a HEADERS frame to another stream while sending the header blocks",
            [send([unended, other, end].concat())],
            protocol,
        ),
    ]
}
