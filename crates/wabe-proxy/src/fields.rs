//! What single fields of a request say: a cookie, a parameter of the query, how long a caller of gRPC waits.
//!
//! Pure, and read octet by octet: callers write them.

use std::time::Duration;

/// The first value of a cookie in a field's value (RFC 6265, section 5.4), without quotes around it.
#[must_use]
pub fn cookie<'a>(value: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut pairs = value.split(|byte| *byte == b';').filter_map(|pair| {
        let middle = pair.iter().position(|byte| *byte == b'=')?;
        Some((pair[..middle].trim_ascii(), pair[middle + 1..].trim_ascii()))
    });
    let value = pairs.find(|(key, _)| *key == name.as_bytes())?.1;
    Some(value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value))
}

/// The first value of a parameter, as it was written.
#[must_use]
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A deadline of gRPC: 1 to 8 digits and a unit, as its PROTOCOL-HTTP2.md says.
#[must_use]
pub fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}
