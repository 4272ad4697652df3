//! Headers that say who calls, by what way, and which request it is.

use std::{fmt, net::IpAddr};

use http::{
    HeaderMap,
    header::{CONNECTION, Entry, FORWARDED, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE},
};

use crate::{balance::Random, head::Head};

pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What the proxy says about a request, so that nobody else may.
static OF_IDENTITY: [&HeaderName; 4] = [&REQUEST_ID, &CLIENT_CERT, &FORWARDED_FOR, &FORWARDED_PROTO];

/// Whether a name in lower case is one of those, or would be read as one by who turns names into variables, as CGI does: there `_`
/// is as good as `-`.
pub(crate) fn is_of_identity(name: &[u8]) -> bool {
    let same = |ours: &HeaderName| {
        let ours = ours.as_str().as_bytes();
        ours.len() == name.len() && ours.iter().zip(name).all(|(a, b)| a == b || (*a == b'-' && *b == b'_'))
    };
    name.first() == Some(&b'x') && OF_IDENTITY.into_iter().any(same)
}

/// Takes away what is written with `_` to be read as what the proxy says.
pub(crate) fn unmask(headers: &mut HeaderMap) {
    let is_mask =
        |name: &&HeaderName| is_of_identity(name.as_str().as_bytes()) && !OF_IDENTITY.contains(name);
    while let Some(name) = headers.keys().find(is_mask).cloned() {
        headers.remove(name);
    }
}

/// Of one connection only (RFC 9110, section 7.6.1).
static HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes away what holds for one connection only: the fixed list, and what `connection` names. Returns what the other end wants
/// to change to (`upgrade`), if it says so.
pub(crate) fn end_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    // Most heads have none of them or one, and a look at all names is quicker than six searches.
    let mut present = [false; HOP_BY_HOP.len()];
    headers.keys().filter_map(hop_by_hop).for_each(|place| present[place] = true);
    let has = |name: &HeaderName| hop_by_hop(name).is_some_and(|place| present[place]);
    let Named { upgrade, others } =
        if has(&CONNECTION) { Named::by_connection(headers) } else { Named::default() };
    let upgrade = if upgrade { headers.get(UPGRADE).cloned() } else { None };
    // Trailers are understood here, whatever else `te` says.
    let trailers = has(&TE)
        && headers.get(TE).is_some_and(|it| {
            it.to_str().is_ok_and(|it| it.split(',').any(|it| it.trim().eq_ignore_ascii_case("trailers")))
        });
    for name in HOP_BY_HOP.iter().zip(present).filter_map(|(name, is)| is.then_some(name)).chain(&others) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// Its place in the list.
fn hop_by_hop(name: &HeaderName) -> Option<usize> {
    // Of these lengths, so that most names are compared with none.
    let may_be = matches!(name.as_str().len(), 2 | 7 | 10 | 14 | 16 | 17);
    if may_be { HOP_BY_HOP.iter().position(|it| it == name) } else { None }
}

/// What `connection` names.
#[derive(Default)]
struct Named {
    upgrade: bool,
    /// Besides what is taken away anyway.
    others: Vec<HeaderName>,
}

impl Named {
    fn by_connection(headers: &HeaderMap) -> Self {
        let mut named = Self::default();
        for value in headers.get_all(CONNECTION) {
            for word in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                if word.eq_ignore_ascii_case("upgrade") {
                    named.upgrade = true;
                } else if !["keep-alive", "host"].iter().any(|it| word.eq_ignore_ascii_case(it)) {
                    // Whom a request is for is said to the very end, and was judged.
                    named.others.extend(word.parse::<HeaderName>());
                }
            }
        }
        named
    }
}

/// What a request is called, wherever it goes.
#[derive(Debug)]
pub(crate) enum RequestId {
    /// By its caller.
    Given(HeaderValue),
    Made([u8; 36]),
}

impl RequestId {
    /// What the caller calls this request, or a name for it if it has none.
    pub(crate) fn of(head: &mut Head, random: &Random) -> Self {
        if let Some(given) = head.fields().and_then(Self::given) {
            return given;
        }
        let id = random.request_id();
        let mut line = *b"x-request-id: 00000000-0000-4000-8000-000000000000\r\n";
        line[14..50].copy_from_slice(&id);
        head.add(&line, |fields| {
            let value = HeaderValue::from_bytes(&id);
            fields.insert(&REQUEST_ID, value.expect("invariant: hexadecimal digits and dashes"));
        });
        Self::Made(id)
    }

    /// What the fields call it.
    pub(crate) fn given(fields: &HeaderMap) -> Option<Self> {
        fields.get(&REQUEST_ID).cloned().map(Self::Given)
    }

    /// If it is one of visible ASCII characters.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Given(value) => value.to_str().ok(),
            Self::Made(id) => str::from_utf8(id).ok(),
        }
    }
}

/// What requests of one connection are told to come from: written once.
#[derive(Debug)]
pub(crate) struct Introduction {
    address: HeaderValue,
    forwarded: HeaderValue,
    /// All of it, for those that had nothing of the kind.
    lines: String,
}

impl Introduction {
    pub(crate) fn new(caller: IpAddr, dialled: IpAddr) -> Self {
        let (caller, dialled) = (caller.to_canonical(), dialled.to_canonical());
        let value = |text: String| HeaderValue::try_from(text).expect("invariant: addresses are ASCII");
        let forwarded = format!("for={};by={};proto=http", Node(caller), Node(dialled));
        Self {
            address: value(caller.to_string()),
            lines: format!(
                "x-forwarded-for: {caller}\r\nx-forwarded-proto: http\r\nforwarded: {forwarded}\r\n"
            ),
            forwarded: value(forwarded),
        }
    }

    /// Adds the caller and the way to the lists of those that the request came by.
    pub(crate) fn give(&self, head: &mut Head) {
        head.add(self.lines.as_bytes(), |fields| {
            append(fields, &FORWARDED_FOR, &self.address);
            fields.insert(&FORWARDED_PROTO, HeaderValue::from_static("http"));
            append(fields, &FORWARDED, &self.forwarded);
        });
    }
}

/// How it is said whose request it is, to whom; `None` if neither is known.
pub(crate) fn identities(caller: Option<&str>, endpoint: Option<&str>) -> Option<HeaderValue> {
    let text = match (endpoint, caller) {
        (Some(endpoint), Some(caller)) => format!("By={endpoint};URI={caller}"),
        (Some(endpoint), None) => format!("By={endpoint}"),
        (None, Some(caller)) => format!("URI={caller}"),
        (None, None) => return None,
    };
    HeaderValue::try_from(text).ok()
}

/// Says so. What the caller says about its identity goes.
pub(crate) fn vouch(head: &mut Head, identities: Option<HeaderValue>) {
    head.say(&CLIENT_CERT, identities);
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
fn append(headers: &mut HeaderMap, name: &HeaderName, entry: &HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(place) => {
            place.insert(entry.clone());
        }
        Entry::Occupied(mut list) => {
            let entries = list.iter().chain([entry]).map(HeaderValue::as_bytes);
            if let Ok(all) = HeaderValue::from_bytes(&entries.collect::<Vec<_>>().join(&b", "[..])) {
                list.insert(all);
            }
        }
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
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("accept", "*/*"),
        ]);
        assert_eq!(end_hop(&mut all).expect("an upgrade"), "websocket");
        assert_eq!(all, headers(&[("accept", "*/*"), ("te", "trailers")]));
        assert_eq!(end_hop(&mut headers(&[("upgrade", "h2c")])), None, "not named by `connection`");
        let mut all = headers(&[("connection", "Host, a"), ("host", "web"), ("a", "1")]);
        end_hop(&mut all);
        assert_eq!(all, headers(&[("host", "web")]), "whom it is for was judged, and is said");
    }

    #[test]
    fn nobody_says_in_disguise_what_the_proxy_says() {
        let names = ["x_request_id", "x_forwarded-for", "x-forwarded_proto", "x_forwarded_client_cert"];
        for name in names {
            let mut all = headers(&[(name, "1"), ("x-request-id", "2"), ("x_own", "3")]);
            unmask(&mut all);
            assert_eq!(all, headers(&[("x-request-id", "2"), ("x_own", "3")]), "{name}");
            assert!(Head::is_special(name.as_bytes(), b"1"), "{name} does not stay in a head in one piece");
        }
        for name in ["x_own", "x-forwarded-host", "y_request_id", "x-request-ids", "x", ""] {
            assert!(!is_of_identity(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_caller_is_introduced_and_not_believed() {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.headers = headers(&[
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-client-cert", "URI=spiffe://x/ns/root/sa/root"),
        ]);
        let mut head = Head::from(parts);
        introduction().give(&mut head);
        vouch(&mut head, identities(Some("spiffe://x/ns/a/sa/b"), Some("spiffe://x/ns/a/sa/c")));
        let all = head.fields().expect("in parts");
        assert_eq!(all["x-forwarded-for"], "192.0.2.1, 10.8.1.1");
        assert_eq!(all["x-forwarded-client-cert"], "By=spiffe://x/ns/a/sa/c;URI=spiffe://x/ns/a/sa/b");
        assert_eq!(all["forwarded"], "for=10.8.1.1;by=\"[fd00::1]\";proto=http");
        vouch(&mut head, identities(None, None));
        assert!(
            !head.apart().headers.contains_key("x-forwarded-client-cert"),
            "what is not known is not said"
        );
    }

    fn introduction() -> Introduction {
        let caller = "::ffff:10.8.1.1".parse().expect("an address");
        Introduction::new(caller, "fd00::1".parse().expect("an address"))
    }

    #[test]
    fn a_head_in_one_piece_says_the_same_as_one_in_parts() {
        let said = |take_apart: bool| {
            let mut text = "GET / HTTP/1.1\r\nhost: web\r\n\r\n".into();
            let plain =
                wabe_http1::plain_request(&mut text, &wabe_http1::Limits::default(), Head::is_special);
            let mut head = Head::whole(plain.expect("plain"));
            if take_apart {
                head.apart();
            }
            let id = RequestId::of(&mut head, &Random::default());
            introduction().give(&mut head);
            vouch(&mut head, identities(Some("spiffe://x/ns/a/sa/b"), None));
            let mut all = head.apart().headers.clone();
            assert_eq!(all.remove("x-request-id").expect("one").to_str().ok(), id.as_str());
            all
        };
        assert_eq!(said(false).len(), 5);
        assert_eq!(said(false), said(true));
    }
}
