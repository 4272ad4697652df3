//! A connection of which nobody said what it speaks: what was settled stays, nothing is held for longer than it may be, and
//! whatever the caller sends first is read as requests only if it looks like some.
//!
//! An input is a script: each octet takes a step, some of the caller's next octets with it.

use std::time::{Duration, Instant};

use wabe_proxy::detect::{Course, Detected, Heard, MOST_HELD_TIME, Watch, sniff};

use crate::Seed;

/// Plays the script.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let begun = Instant::now();
    let (mut now, mut watch, mut settled) = (begun, Watch::default(), None);
    let (mut said, mut first_said, mut rest) = (Vec::new(), None, input);
    while let Some((step, more)) = rest.split_first() {
        rest = more;
        let course = match step % 5 {
            0 => watch.hear(now, Heard::Endpoint),
            1 => {
                now += Duration::from_millis(u64::from(*step));
                watch.hear(now, Heard::Time)
            }
            kind => {
                let (taken, more) = rest.split_at(rest.len().min(usize::from(step / 5)));
                rest = more;
                said.extend(taken);
                if !said.is_empty() {
                    first_said.get_or_insert(now);
                }
                let heard = if kind == 2 { Heard::CallerEnded(&said) } else { Heard::Caller(&said) };
                watch.hear(now, heard)
            }
        };
        assert!(settled.is_none_or(|it| it == course), "it was settled as {settled:?} and is {course:?}");
        match course {
            Course::Hold(None) => assert_eq!(first_said, None, "it is held for ever"),
            Course::Hold(Some(until)) => {
                assert!(until > now, "it would be asked again at once, for ever");
                assert!(first_said.is_some_and(|it| until <= it + MOST_HELD_TIME), "it is held too long");
            }
            Course::Read(what) => {
                assert!(matches!(what, Detected::Http1 | Detected::Http2), "{what:?} can't be read");
                // More may have come since it was settled.
                assert_eq!(sniff(&said), Some(what));
                settled = Some(course);
            }
            Course::PassOn(what) => {
                assert!(matches!(what, Detected::Tls | Detected::Unknown), "{what:?} is not looked at");
                settled = Some(course);
            }
        }
    }
}

/// Who speaks first, in one piece and in two; and who waits.
pub fn seeds() -> Vec<Seed> {
    let said = |text: &[u8]| {
        let step = 3 + 5 * u8::try_from(text.len()).unwrap_or(50).min(50);
        [&[step], text].concat()
    };
    let seed = |name: &str, steps: &[&[u8]]| (name.to_owned(), steps.concat());
    vec![
        seed("server-first", &[&[0], &said(b"EHLO mail.example.com\r\n")]),
        seed("http1", &[&said(b"GET / HT"), &said(b"TP/1.1\r\n"), &[0]]),
        seed(
            "http2",
            &[&said(&wabe_proxy::detect::PREFACE[..10]), &said(&wabe_proxy::detect::PREFACE[10..])],
        ),
        seed("too-slow", &[&said(b"GET"), &[26, 26, 51]]),
        seed("ends-early", &[&said(b"GET /"), &[2]]),
        seed("tls", &[&said(&[0x16, 3, 1, 0, 90, 1, 0, 0])]),
        seed("silent", &[&[1, 1, 251, 3]]),
    ]
}
