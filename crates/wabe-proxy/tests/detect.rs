//! What first bytes are taken for, and what becomes of a connection meanwhile.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use wabe_proxy::detect::{Course, Detected, Heard, MOST_HELD_TIME, PREFACE, Watch, sniff};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n";
const HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

#[test]
fn first_bytes_are_taken_for_what_they_are() {
    use Detected::{Http1, Http2, Tls, Unknown};
    for (first, expected) in [
        // HTTP.
        (GET, Some(Http1)),
        (b"GET / HTTP/1.1\r", Some(Http1)),
        (b"GET / HTTP/1.0\n", Some(Http1)),
        (b"POST /a?b=c HTTP/1.1\r\n", Some(Http1)),
        (b"PROPFIND /a HTTP/1.1\r\n", Some(Http1)),
        (b"M-SEARCH / HTTP/1.1\r\n", Some(Http1)),
        (b"OPTIONS * HTTP/1.1\r\n", Some(Http1)),
        (b"GET http://web/ HTTP/1.1\r\n", Some(Http1)),
        (b"GET HTTPS://web/ HTTP/1.1\r\n", Some(Http1)),
        (b"CONNECT web:443 HTTP/1.1\r\n", Some(Http1)),
        (b"CONNECT [::1]:443 HTTP/1.1\r\n", Some(Http1)),
        (b"GET /\xc3\xa4 HTTP/1.1\r\n", Some(Http1)),
        (PREFACE, Some(Http2)),
        // Not clear yet.
        (b"", None),
        (b"G", None),
        (b"GET", None),
        (b"GET ", None),
        (b"GET /", None),
        (b"GET ht", None),
        (b"GET / HTTP/1.", None),
        (b"GET / HTTP/1.1", None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
        (b"P", None),
        // Almost HTTP.
        (b"PRI * HTTP/2.0\r\n\r\nXX", Some(Unknown)),
        (b"PRI * HTTP/1.1\r\n", Some(Unknown)),
        (b"GET / HTTP/3", Some(Unknown)),
        (b"GET / HTTP/1.\r\n", Some(Unknown)),
        (b"GET /\r\n", Some(Unknown)),
        (b"GET ht HTTP/1.1\r\n", Some(Unknown)),
        (b"GET  HTTP/1.1\r\n", Some(Unknown)),
        (b"GET  / HTTP/1.1\r\n", Some(Unknown)),
        (b"GET / HTTP/1.1 \r\n", Some(Unknown)),
        (b" / HTTP/1.1\r\n", Some(Unknown)),
        (b"\r\nGET / HTTP/1.1\r\n", Some(Unknown)),
        (b"get / HTTP/1.1\r\n", Some(Unknown)),
        (b"HTTP/1.1 200 OK\r\n", Some(Unknown)),
        // TLS.
        (HELLO, Some(Tls)),
        (&HELLO[..1], None),
        (&HELLO[..3], None),
        (&HELLO[..5], None),
        (&[0x16, 3, 3, 0, 1, 1], Some(Tls)),
        (&[0x16, 3, 3, 0x40, 0, 1], Some(Tls)),
        (&[0x16, 3, 3, 0x40, 1], Some(Unknown)),
        (&[0x16, 3, 3, 0, 0], Some(Unknown)),
        (&[0x16, 3, 1, 2, 0, 2], Some(Unknown)),
        (&[0x16, 2], Some(Unknown)),
        (&[0x16, 3, 5], Some(Unknown)),
        (&[0x17, 3, 3, 0, 5], Some(Unknown)),
        (&[0x15], Some(Unknown)),
        // What clients of other protocols send.
        (b"EHLO mail.example.com\r\n", Some(Unknown)),
        (b"HELO x", Some(Unknown)),
        (b"*1\r\n$4\r\nPING\r\n", Some(Unknown)),
        (b"*", Some(Unknown)),
        (b"PING\r\n", Some(Unknown)),
        (b"GET key\r\n", Some(Unknown)),
        (b"GET k", Some(Unknown)),
        (b"SET k", Some(Unknown)),
        (b"get key\r\n", Some(Unknown)),
        (b"CONNECT {\"verbose\":false}\r\n", Some(Unknown)),
        (b"CONNECT\naccept-version:1.2\n", Some(Unknown)),
        (b"USER nobody\r\n", Some(Unknown)),
        (b"a001 LOGIN", Some(Unknown)),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Some(Unknown)),
        // MySQL's answer to a greeting, PostgreSQL's SSLRequest and start, AMQP, MQTT, Kafka, MongoDB.
        (&[0x20, 0, 0, 1], Some(Unknown)),
        (&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f], Some(Unknown)),
        (b"AMQP\x00\x00\x09\x01", Some(Unknown)),
        (&[0x10, 0x12, 0, 4, b'M', b'Q'], Some(Unknown)),
        (&[0, 0, 0, 0x24, 0, 18], Some(Unknown)),
        (&[0x3a, 0, 0, 0], Some(Unknown)),
    ] {
        assert_eq!(sniff(first), expected, "{:?}", String::from_utf8_lossy(first));
    }
}

#[test]
fn a_request_with_an_endless_target_is_taken_for_one() {
    let mut line = b"GET /".to_vec();
    line.resize(8192, b'a');
    assert_eq!(sniff(&line), None);
    line.push(b'a');
    assert_eq!(sniff(&line), Some(Detected::Http1));
    // Endless words without a space are no method.
    assert_eq!(sniff(&[b'A'; 33]), Some(Detected::Unknown));
}

#[test]
fn a_server_that_speaks_first_is_passed_on_at_once() {
    let now = Instant::now();
    let mut watch = Watch::default();
    assert_eq!(watch.hear(now, Heard::Endpoint), Course::PassOn(Detected::Unknown));
    // Whatever the caller says then.
    assert_eq!(watch.hear(now, Heard::Caller(GET)), Course::PassOn(Detected::Unknown));
}

#[test]
fn who_is_silent_is_not_hurried() {
    let now = Instant::now();
    let mut watch = Watch::default();
    assert_eq!(watch.hear(now, Heard::Time), Course::Hold(None));
    assert_eq!(watch.hear(now + Duration::from_secs(3600), Heard::Time), Course::Hold(None));
    let later = now + Duration::from_secs(7200);
    assert_eq!(watch.hear(later, Heard::Caller(GET)), Course::Read(Detected::Http1));
}

#[test]
fn what_is_clear_is_settled_and_stays_so() {
    let now = Instant::now();
    for (first, course) in [
        (GET, Course::Read(Detected::Http1)),
        (PREFACE, Course::Read(Detected::Http2)),
        (HELLO, Course::PassOn(Detected::Tls)),
        (b"EHLO x\r\n", Course::PassOn(Detected::Unknown)),
    ] {
        let mut watch = Watch::default();
        assert_eq!(watch.hear(now, Heard::Caller(first)), course);
        for later in [Heard::Endpoint, Heard::Time, Heard::Caller(GET), Heard::CallerEnded(b"")] {
            assert_eq!(watch.hear(now + MOST_HELD_TIME, later), course, "{later:?}");
        }
    }
}

#[test]
fn a_beginning_is_held_until_the_rest_comes_or_the_time_is_over() {
    let now = Instant::now();
    let until = now + MOST_HELD_TIME;
    let held = || {
        let mut watch = Watch::default();
        assert_eq!(watch.hear(now, Heard::Caller(b"GET /")), Course::Hold(Some(until)));
        // The time counts from the first byte.
        let between = now + MOST_HELD_TIME / 2;
        assert_eq!(watch.hear(between, Heard::Caller(b"GET / HT")), Course::Hold(Some(until)));
        assert_eq!(watch.hear(between, Heard::Time), Course::Hold(Some(until)));
        watch
    };
    assert_eq!(held().hear(now + MOST_HELD_TIME * 3 / 4, Heard::Caller(GET)), Course::Read(Detected::Http1));
    assert_eq!(held().hear(until, Heard::Time), Course::PassOn(Detected::Unknown));
    assert_eq!(held().hear(until, Heard::Caller(b"GET / HTT")), Course::PassOn(Detected::Unknown));
    // A timer may be late: bytes that are there count.
    assert_eq!(held().hear(until, Heard::Caller(GET)), Course::Read(Detected::Http1));
    assert_eq!(held().hear(now, Heard::CallerEnded(b"GET /")), Course::PassOn(Detected::Unknown));
    assert_eq!(held().hear(now, Heard::Endpoint), Course::PassOn(Detected::Unknown));
}

#[test]
fn a_caller_that_ends_without_a_word_is_passed_on() {
    let mut watch = Watch::default();
    assert_eq!(watch.hear(Instant::now(), Heard::CallerEnded(b"")), Course::PassOn(Detected::Unknown));
}

proptest! {
    /// What was told of a beginning holds for everything that begins so.
    #[test]
    fn more_bytes_change_no_answer(first in first_bytes(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(first.len() + 1);
        if let Some(early) = sniff(&first[..cut]) {
            prop_assert_eq!(sniff(&first), Some(early));
        }
    }

    /// A connection comes to the same end whatever pieces its first bytes come in.
    #[test]
    fn pieces_change_nothing(first in first_bytes(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let now = Instant::now();
        let mut watch = Watch::default();
        let mut ends: Vec<usize> = cuts.iter().map(|it| it.index(first.len() + 1)).collect();
        ends.sort_unstable();
        for end in ends {
            let _ = watch.hear(now, Heard::Caller(&first[..end]));
        }
        let whole = Watch::default().hear(now, Heard::CallerEnded(&first));
        prop_assert_eq!(watch.hear(now, Heard::CallerEnded(&first)), whole);
    }
}

/// Anything, and what looks like something.
fn first_bytes() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![GET, HELLO, PREFACE, b"EHLO x\r\n", b"CONNECT a:1 HTTP/1.1\r\n"]);
    let changed = (known, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(known, place, byte)| {
        let mut bytes = known.to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        bytes
    });
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        changed,
        "[A-Z]{0,8} ?/?[a-z]{0,4} ?(HTTP/1.1)?\r?\n?".prop_map(String::into_bytes)
    ]
}
