//! What a request's hash is made of, where a hash says which endpoint it goes to.

use std::net::IpAddr;

use http::{HeaderMap, header::COOKIE};
use wabe_model::{HashCookie, HashKey};

use super::random::{Random, scatter};
use crate::fields;

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
            asked.query.and_then(|query| fields::parameter(query, name)).map(|it| hash(it.as_bytes()))
        }
        HashKey::Cookie(cookie) => return by_cookie(cookie, asked, random),
    };
    Hashed { hash, set_cookie: None }
}

fn by_cookie(cookie: &HashCookie, asked: &Asked<'_>, random: &Random) -> Hashed {
    let mut crumbs = asked.headers.get_all(COOKIE).iter();
    if let Some(value) = crumbs.find_map(|it| fields::cookie(it.as_bytes(), &cookie.name)) {
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

/// FNV-1a (Fowler, Noll, Vo), whose weak low bits are mixed in the end. The same in every proxy of every version: another
/// would move all callers.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    scatter(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of(key: &HashKey, headers: &[(&'static str, &'static str)], query: Option<&str>) -> Hashed {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        let source = "10.0.0.1".parse().expect("an address");
        hashed(key, &Asked { headers: &map, query, source }, &Random::seeded(1))
    }

    fn cookie(path: Option<&str>, lifetime: Option<u64>) -> HashKey {
        let path = path.map(ToOwned::to_owned);
        HashKey::Cookie(HashCookie { name: "cart".into(), path, lifetime: lifetime.map(Duration::from_secs) })
    }

    #[test]
    fn hashes_are_what_they_were() {
        // Computed apart from this code: FNV-1a as published, SplitMix64's output function behind it.
        for (text, wanted) in [("", FNV_EMPTY), ("a", FNV_A), ("foobar", FNV_FOOBAR)] {
            assert_eq!(hash(text.as_bytes()), scatter(wanted), "{text}");
        }
    }

    const FNV_EMPTY: u64 = 0xcbf2_9ce4_8422_2325;
    const FNV_A: u64 = 0xaf63_dc4c_8601_ec8c;
    const FNV_FOOBAR: u64 = 0x8594_4171_f739_67e8;

    #[test]
    fn what_is_the_same_hashes_the_same() {
        let header = HashKey::Header("x-user".into());
        let query = HashKey::Query("u".into());
        let by_cookie = cookie(None, None);
        let hash_of = |text: &str| Some(hash(text.as_bytes()));
        for (name, key, headers, query, wanted) in [
            ("a header", &header, vec![("X-User", "ann")], None, hash_of("ann")),
            ("all its values", &header, vec![("x-user", "ann"), ("x-user", "b")], None, hash_of("ann,b")),
            ("no header", &header, vec![("x-other", "ann")], None, None),
            ("a parameter", &query, vec![], Some("a=1&u=ann&u=b"), hash_of("ann")),
            ("one without value", &query, vec![], Some("u"), hash_of("")),
            ("no parameter", &query, vec![], Some("uu=1"), None),
            ("no query", &query, vec![], None, None),
            ("a cookie", &by_cookie, vec![("cookie", "a=1; cart=\"7\"; b=2")], None, hash_of("7")),
            (
                "of several headers",
                &by_cookie,
                vec![("cookie", "a=1"), ("cookie", "cart=7")],
                None,
                hash_of("7"),
            ),
            ("no cookie", &by_cookie, vec![("cookie", "scart=7; x")], None, None),
        ] {
            assert_eq!(of(key, &headers, query), Hashed { hash: wanted, set_cookie: None }, "{name}");
        }
    }

    #[test]
    fn an_address_of_either_family_is_the_caller_s() {
        let headers = HeaderMap::new();
        let hash_of = |source: &str| {
            let asked = Asked { headers: &headers, query: None, source: source.parse().expect("an address") };
            hashed(&HashKey::Source, &asked, &Random::seeded(1)).hash
        };
        assert_eq!(hash_of("10.0.0.1"), hash_of("::ffff:10.0.0.1"));
        assert_ne!(hash_of("10.0.0.1"), hash_of("10.0.0.2"));
        assert_ne!(hash_of("fd00::1"), hash_of("fd00::2"));
    }

    #[test]
    fn who_comes_without_a_cookie_is_given_one_that_leads_to_the_same_place() {
        for (path, lifetime, attributes) in [
            (None, 0, "; HttpOnly"),
            (Some("/"), 0, "; Path=/; HttpOnly"),
            (Some("/cart"), 60, "; Max-Age=60; Path=/cart; HttpOnly"),
        ] {
            let key = cookie(path, Some(lifetime));
            let Hashed { hash: Some(first), set_cookie: Some(text) } = of(&key, &[], None) else {
                panic!("no cookie")
            };
            let value = text.strip_prefix("cart=").and_then(|it| it.strip_suffix(attributes));
            let value = value.unwrap_or_else(|| panic!("{text}"));
            assert_eq!(value.len(), 16);
            assert_eq!(first, hash(value.as_bytes()));
        }
    }
}
