//! Headers that say who calls, by what way, and which request it is.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use http::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

/// Of one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// Takes away what holds for one connection only: the fixed list, and what `connection` names. Returns what the other end wants
/// to change to (`upgrade`), if it says so.
pub(crate) fn end_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let mut named: Vec<HeaderName> = Vec::new();
    for value in headers.get_all("connection") {
        let words = value.to_str().unwrap_or_default().split(',');
        named.extend(words.filter_map(|word| word.trim().parse().ok()));
    }
    let upgrade = named.iter().any(|it| it == "upgrade").then(|| headers.get("upgrade").cloned()).flatten();
    // Trailers are understood here, whatever else `te` says.
    let trailers = headers.get("te").is_some_and(|it| {
        it.to_str().is_ok_and(|it| it.split(',').any(|it| it.trim().eq_ignore_ascii_case("trailers")))
    });
    for name in named.iter().map(HeaderName::as_str).chain(HOP_BY_HOP) {
        headers.remove(name);
    }
    if trailers {
        headers.insert("te", HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// Adds the caller and the way to the lists of those that the request came by.
pub(crate) fn introduce(headers: &mut HeaderMap, caller: IpAddr, dialled: SocketAddr) {
    let (caller, dialled) = (caller.to_canonical(), dialled.ip().to_canonical());
    append(headers, "x-forwarded-for", &caller.to_string());
    headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
    append(headers, "forwarded", &format!("for={};by={};proto=http", Node(caller), Node(dialled)));
}

/// Says whose request it is, to whom. What the caller says about its identity goes.
pub(crate) fn vouch(headers: &mut HeaderMap, caller: Option<&str>, endpoint: Option<&str>) {
    let text = match (endpoint, caller) {
        (Some(endpoint), Some(caller)) => format!("By={endpoint};URI={caller}"),
        (Some(endpoint), None) => format!("By={endpoint}"),
        (None, Some(caller)) => format!("URI={caller}"),
        (None, None) => String::new(),
    };
    match HeaderValue::try_from(text) {
        Ok(value) if !value.is_empty() => {
            headers.insert("x-forwarded-client-cert", value);
        }
        Ok(_) | Err(_) => {
            headers.remove("x-forwarded-client-cert");
        }
    }
}

/// RFC 7239, section 6: in brackets and quotes if it is IPv6.
struct Node(IpAddr);

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(formatter),
            IpAddr::V6(v6) => write!(formatter, "\"[{v6}]\""),
        }
    }
}

/// One more entry of a list.
fn append(headers: &mut HeaderMap, name: &'static str, entry: &str) {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(entry.as_bytes());
    if let Ok(value) = HeaderValue::try_from(list) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_is_of_one_connection_ends_here() {
        let mut all = headers(&[
            ("connection", "close, x-own, Upgrade"),
            ("upgrade", "websocket"),
            ("x-own", "1"),
            ("te", "trailers, deflate"),
            ("keep-alive", "timeout=5"),
            ("accept", "*/*"),
        ]);
        assert_eq!(end_hop(&mut all).expect("an upgrade"), "websocket");
        assert_eq!(all, headers(&[("accept", "*/*"), ("te", "trailers")]));
        assert_eq!(end_hop(&mut headers(&[("upgrade", "h2c")])), None, "not named by `connection`");
    }

    #[test]
    fn the_caller_is_introduced_and_not_believed() {
        let mut all = headers(&[
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-client-cert", "URI=spiffe://x/ns/root/sa/root"),
        ]);
        let caller = "::ffff:10.8.1.1".parse().expect("an address");
        introduce(&mut all, caller, "[fd00::1]:80".parse().expect("an address"));
        vouch(&mut all, Some("spiffe://x/ns/a/sa/b"), Some("spiffe://x/ns/a/sa/c"));
        assert_eq!(all["x-forwarded-for"], "192.0.2.1, 10.8.1.1");
        assert_eq!(all["x-forwarded-client-cert"], "By=spiffe://x/ns/a/sa/c;URI=spiffe://x/ns/a/sa/b");
        assert_eq!(all["forwarded"], "for=10.8.1.1;by=\"[fd00::1]\";proto=http");
        vouch(&mut all, None, None);
        assert!(!all.contains_key("x-forwarded-client-cert"), "what is not known is not said");
    }
}
