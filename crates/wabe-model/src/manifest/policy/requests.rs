//! What policies say of requests: methods, paths, hosts, headers. What could never match is an error, as it would look like a
//! rule and be none.

use super::{SUPPORTED, string_match};
use crate::{
    StringMatch, is_plain_path,
    manifest::{field::Field, scalar::shown},
    same_escapes,
};

/// `GET`, `M-*`.
pub(super) fn method(field: &Field<'_>) -> Option<StringMatch> {
    let read = string_match(field)?;
    let text = literal(&read);
    if !text.bytes().all(is_token) {
        return field.error(format!("{} is no method", shown(text)), "write it as requests have it, as GET");
    }
    if text.bytes().any(|it| it.is_ascii_lowercase()) {
        field.warn(
            format!("methods are told apart by case, and {} is not in capitals", shown(text)),
            "write it as requests have it, as GET",
        );
    }
    Some(read)
}

/// `/a`, `/a/*`, `*.php`.
pub(super) fn path(field: &Field<'_>) -> Option<StringMatch> {
    let text = field.text()?;
    if text.contains(['{', '}']) {
        return field.error(
            format!("{} has a path template, which is not supported yet, and not ignored", shown(text)),
            "the nearest is /a/*, which matches every path that begins so",
        );
    }
    let read = string_match(field)?;
    let can_match = match &read {
        StringMatch::Exact(it) => is_plain_path(it),
        StringMatch::Prefix(it) => is_plain_path(&format!("{it}x")),
        StringMatch::Suffix(it) => is_plain_path(&format!("/x{it}")),
        StringMatch::Present => true,
    };
    if !can_match {
        return field.error(
            format!("no request that is let through has the path {}", shown(text)),
            "write it as requests have it, beginning with `/` or `*`, without `//`, `/./`, `/../`, `\\`, `?`, spaces, and escapes of what needs none",
        );
    }
    Some(match read {
        StringMatch::Exact(it) => StringMatch::Exact(same_escapes(&it).into_owned()),
        StringMatch::Prefix(it) => StringMatch::Prefix(same_escapes(&it).into_owned()),
        StringMatch::Suffix(it) => StringMatch::Suffix(same_escapes(&it).into_owned()),
        StringMatch::Present => StringMatch::Present,
    })
}

/// `example.com`, `example.com:*`, `*.example.com`.
pub(super) fn host(field: &Field<'_>) -> Option<StringMatch> {
    let read = string_match(field)?;
    let text = literal(&read);
    if !text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:[]".contains(&it)) {
        return field.error(
            format!("{} is no host", shown(text)),
            "write what requests say in `host`, as example.com and example.com:*",
        );
    }
    Some(read)
}

/// The name in `request.headers[NAME]`, in small letters.
pub(super) fn header_name(key: &Field<'_>, text: &str) -> Option<String> {
    let name = text.strip_prefix("request.headers[").and_then(|it| it.strip_suffix(']'));
    match name.filter(|it| !it.is_empty() && it.len() <= 256 && it.bytes().all(is_token)) {
        Some(name) => Some(name.to_ascii_lowercase()),
        None => key.error(format!("{} names no header", shown(text)), "write request.headers[NAME]"),
    }
}

pub(super) fn unknown_request_key<T>(key: &Field<'_>, text: &str) -> Option<T> {
    key.error(format!("the layer-7 key {} is not supported yet, and not ignored", shown(text)), SUPPORTED)
}

fn literal(it: &StringMatch) -> &str {
    match it {
        StringMatch::Exact(text) | StringMatch::Prefix(text) | StringMatch::Suffix(text) => text,
        StringMatch::Present => "",
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte)
}
