//! What callers write into single fields: a cookie or a parameter that is found stands there by that name, the first one of it; a
//! deadline is what gRPC's text says, never more than its eight digits can say.
//!
//! An input is a name, an end of line, and what is read.

use std::time::Duration;

use wabe_proxy::fields::{cookie, grpc_timeout, parameter};

use crate::Seed;

/// Reads it as each of the three.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (name, value) = text.split_once('\n').unwrap_or(("cart", text));
    let crumbs: Vec<&str> = value.split(';').filter(|it| is_of(it, name)).collect();
    match (cookie(value.as_bytes(), name), crumbs.first()) {
        (Some(found), Some(crumb)) => {
            let said = crumb.split_once('=').expect("it is one").1.trim_ascii();
            let bare = said.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            assert_eq!(found, bare.unwrap_or(said).as_bytes());
        }
        (found, crumb) => assert!(found.is_none() && crumb.is_none(), "{found:?} of {crumb:?}"),
    }
    let pairs: Vec<&str> =
        value.split('&').filter(|it| *it == name || it.starts_with(&format!("{name}="))).collect();
    let wanted = pairs.first().filter(|_| !name.contains(['=', '&']));
    if !name.contains(['=', '&']) {
        assert_eq!(parameter(value, name), wanted.map(|it| it.get(name.len() + 1..).unwrap_or_default()));
    }
    if let Some(time) = grpc_timeout(value) {
        assert!((2..=9).contains(&value.len()) && value.is_ascii(), "{value:?}");
        let (digits, unit) = value.split_at(value.len() - 1);
        let number: u128 = digits.parse().expect("digits");
        let nanos: u128 = match unit {
            "H" => 3600 * 1_000_000_000,
            "M" => 60 * 1_000_000_000,
            "S" => 1_000_000_000,
            "m" => 1_000_000,
            "u" => 1000,
            _ => 1,
        };
        assert_eq!(time.as_nanos(), number * nanos);
        assert!(time <= Duration::from_secs(99_999_999 * 3600));
    }
}

/// Whether it is a pair of this name.
fn is_of(crumb: &str, name: &str) -> bool {
    crumb.split_once('=').is_some_and(|(key, _)| key.trim_ascii() == name)
}

/// Of each, good and bad.
pub fn seeds() -> Vec<Seed> {
    [
        ("cookie", "cart\na=b; cart=\"7\"; cart=8"),
        ("cookie-without-value", "cart\ncart=;cart"),
        ("half-quoted", "cart\ncart=\""),
        ("parameter", "user\nid=1&user=joe&user=ann"),
        ("parameter-alone", "user\nuser"),
        ("hours", "x\n99999999H"),
        ("nanoseconds", "x\n5n"),
        ("too-long", "x\n100000000m"),
        ("no-unit", "x\n17"),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .to_vec()
}
