//! What a request's hash is made of, where a hash says which endpoint it goes to.

use std::net::IpAddr;

use http::HeaderMap;
use wabe_model::{HashCookie, HashKey};

use super::random::{Random, scatter};

/// What is looked at.
pub(crate) struct Asked<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
    pub(crate) source: IpAddr,
}

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hashed {
    /// `None` if the request has nothing to hash: it is balanced as others are.
    pub(crate) hash: Option<u64>,
    /// A `set-cookie` for the answer.
    pub(crate) set_cookie: Option<String>,
}

/// A request's hash by what the policy says.
pub(crate) fn hashed(key: &HashKey, asked: &Asked<'_>, random: &Random) -> Hashed {
    let hash = match key {
        HashKey::Source => Some(match asked.source.to_canonical() {
            IpAddr::V4(it) => hash(&it.octets()),
            IpAddr::V6(it) => hash(&it.octets()),
        }),
        HashKey::Header(name) => {
            let values: Vec<&[u8]> = asked.headers.get_all(name).iter().map(|it| it.as_bytes()).collect();
            (!values.is_empty()).then(|| hash(&values.join(&b","[..])))
        }
        HashKey::Query(name) => {
            asked.query.and_then(|query| parameter(query, name)).map(|it| hash(it.as_bytes()))
        }
        HashKey::Cookie(cookie) => return by_cookie(cookie, asked, random),
    };
    Hashed { hash, set_cookie: None }
}

fn by_cookie(cookie: &HashCookie, asked: &Asked<'_>, random: &Random) -> Hashed {
    if let Some(value) = cookie_value(asked.headers, &cookie.name) {
        return Hashed { hash: Some(hash(value)), set_cookie: None };
    }
    let Some(lifetime) = cookie.lifetime else { return Hashed::default() };
    let value = format!("{:016x}", random.next());
    let mut text = format!("{}={value}", cookie.name);
    if !lifetime.is_zero() {
        text.push_str(&format!("; Max-Age={}", lifetime.as_secs().max(1)));
    }
    if let Some(path) = &cookie.path {
        text.push_str(&format!("; Path={path}"));
    }
    text.push_str("; HttpOnly");
    Hashed { hash: Some(hash(value.as_bytes())), set_cookie: Some(text) }
}

/// The first value of a cookie (RFC 6265, section 5.4), without quotes around it.
fn cookie_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let all = headers.get_all("cookie").iter().flat_map(|it| it.as_bytes().split(|byte| *byte == b';'));
    let mut pairs = all.filter_map(|pair| {
        let middle = pair.iter().position(|byte| *byte == b'=')?;
        Some((pair[..middle].trim_ascii(), pair[middle + 1..].trim_ascii()))
    });
    let value = pairs.find(|(key, _)| *key == name.as_bytes())?.1;
    Some(value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value))
}

/// The first value of a parameter, as it was written.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// FNV-1a (Fowler, Noll, Vo), whose weak low bits are mixed in the end. The same in every proxy of every version: another
/// would move all callers.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    scatter(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}
