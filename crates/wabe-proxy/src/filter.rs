//! What a rule's filters do to a request or its answer: pure functions.

use http::{
    HeaderMap, Uri,
    header::{HOST, HeaderName, HeaderValue},
    request,
    uri::{Authority, PathAndQuery},
};
use wabe_model::{HeaderChange, PathChange, PathMatch, Redirect, Rewrite};

/// Sets, adds and removes: each header at most once.
pub(crate) fn change(headers: &mut HeaderMap, change: &HeaderChange) {
    let pair = |(name, value): &(String, String)| {
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    for (name, value) in change.set.iter().filter_map(pair) {
        headers.insert(name, value);
    }
    for (name, value) in change.add.iter().filter_map(pair) {
        headers.append(name, value);
    }
    for name in &change.remove {
        headers.remove(name);
    }
}

/// Another path, another host. `None` if there can't be such a path: it would be longer than any may be, as what the rule says was
/// looked at when it was read.
pub(crate) fn rewrite(head: &mut request::Parts, matched: &PathMatch, rewrite: &Rewrite) -> Option<()> {
    // `*` and the target of CONNECT have no path.
    if let Some(path) = rewrite.path.as_ref().filter(|_| head.uri.path().starts_with('/')) {
        head.uri = Uri::from(target(&head.uri, matched, path)?);
    }
    let Some(name) = &rewrite.hostname else { return Some(()) };
    // What CONNECT asks for is its target; all others have none here, see `route::normalise`.
    let asked =
        head.uri.authority().map(|it| it.port_u16().map_or(name.clone(), |port| format!("{name}:{port}")));
    if let Some(authority) = asked.as_ref().and_then(|it| it.parse::<Authority>().ok()) {
        head.uri = Uri::from(authority);
    }
    if let Ok(host) = HeaderValue::from_str(asked.as_ref().unwrap_or(name)) {
        head.headers.insert(HOST, host);
    }
    Some(())
}

/// A path with its query, changed.
pub(crate) fn path(asked: &Uri, matched: &PathMatch, change: &PathChange) -> String {
    let new = match change {
        PathChange::Full(path) => path.clone(),
        PathChange::Prefix(new) => {
            let prefix = match matched {
                PathMatch::Prefix(prefix) | PathMatch::Exact(prefix) => prefix.trim_end_matches('/'),
                // The model has no such rule.
                PathMatch::Expression(_) => asked.path(),
            };
            let rest = asked.path().strip_prefix(prefix).unwrap_or_default();
            let joined = format!("{}{rest}", new.trim_end_matches('/'));
            if joined.is_empty() { "/".to_owned() } else { joined }
        }
    };
    match asked.query() {
        Some(query) => format!("{new}?{query}"),
        None => new,
    }
}

/// The same as a request's target.
pub(crate) fn target(asked: &Uri, matched: &PathMatch, change: &PathChange) -> Option<PathAndQuery> {
    path(asked, matched, change).parse().ok()
}

/// Where a caller is sent. `host` is what it asked, with or without a port; `port` the one that it dialled.
pub(crate) fn location(
    redirect: &Redirect,
    asked: &Uri,
    matched: &PathMatch,
    host: &str,
    port: u16,
) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, digits)) if !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    let scheme = redirect.scheme.as_deref().unwrap_or("http");
    let usual = if scheme == "https" { 443 } else { 80 };
    // With another scheme the port that was dialled says nothing.
    let port = redirect.port.unwrap_or(if redirect.scheme.is_some() { usual } else { port });
    let name = redirect.hostname.as_deref().unwrap_or(name);
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let path = match (&redirect.path, asked.path_and_query()) {
        // `*`, and CONNECT.
        (_, None) => "/".to_owned(),
        (_, Some(asked)) if !asked.as_str().starts_with('/') => "/".to_owned(),
        (Some(change), Some(_)) => path(asked, matched, change),
        (None, Some(asked)) => asked.as_str().to_owned(),
    };
    format!("{scheme}://{name}{port}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_replaced_as_the_standard_shows() {
        // The table in the description of ReplacePrefixMatch.
        for (asked, prefix, new, want) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar?a=1", "/foo", "/", "/bar?a=1"),
        ] {
            let asked: Uri = asked.parse().expect("a path");
            let matched = PathMatch::Prefix(prefix.into());
            assert_eq!(
                path(&asked, &matched, &PathChange::Prefix(new.into())),
                want,
                "{asked} {prefix} {new}"
            );
        }
        let asked: Uri = "/a?b".parse().expect("a path");
        assert_eq!(path(&asked, &PathMatch::Prefix("/".into()), &PathChange::Full("/c".into())), "/c?b");
    }

    #[test]
    fn a_path_that_gets_too_long_is_none() {
        let rewrite_to = |new: &str| Rewrite { hostname: None, path: Some(PathChange::Prefix(new.into())) };
        let matched = PathMatch::Prefix("/a".into());
        for (new, length) in [("/a", Some(65_000)), ("/bcd", Some(65_002)), (&"/b".repeat(400), None)] {
            let asked = format!("/a/{}", "x".repeat(64_997));
            let (mut head, ()) = http::Request::get(asked).body(()).expect("a request").into_parts();
            let rewritten = rewrite(&mut head, &matched, &rewrite_to(new));
            assert_eq!(rewritten.map(|()| head.uri.path().len()), length, "{}", new.len());
        }
    }

    #[test]
    fn a_redirect_keeps_what_it_does_not_change() {
        let asked: Uri = "/old/page?a=1".parse().expect("a path");
        let matched = PathMatch::Prefix("/old".into());
        let plain = Redirect { scheme: None, hostname: None, path: None, port: None, status: 302 };
        let to = |redirect: &Redirect, host, port| location(redirect, &asked, &matched, host, port);
        assert_eq!(to(&plain, "web.shop:8080", 8080), "http://web.shop:8080/old/page?a=1");
        assert_eq!(to(&plain, "web.shop", 80), "http://web.shop/old/page?a=1");
        let secure = Redirect { scheme: Some("https".into()), ..plain.clone() };
        assert_eq!(to(&secure, "web.shop:8080", 8080), "https://web.shop/old/page?a=1");
        let moved =
            Redirect { path: Some(PathChange::Prefix("/new".into())), hostname: Some("b.c".into()), ..plain };
        assert_eq!(to(&moved, "[fd00::1]:80", 80), "http://b.c/new/page?a=1");
        assert_eq!(
            to(&Redirect { hostname: None, ..moved }, "[fd00::1]", 80),
            "http://[fd00::1]/new/page?a=1"
        );
    }

    #[test]
    fn what_has_no_path_gets_none() {
        let matched = PathMatch::Prefix("/".into());
        let change = Rewrite { hostname: Some("b.c".into()), path: Some(PathChange::Prefix("/v2".into())) };
        for (method, asked, want, host) in [
            ("OPTIONS", "*", "*", "b.c"),
            ("CONNECT", "a:443", "b.c:443", "b.c:443"),
            ("GET", "/a", "/v2/a", "b.c"),
        ] {
            let head = http::Request::builder().method(method).uri(asked).body(()).expect("a request");
            let (mut head, ()) = head.into_parts();
            rewrite(&mut head, &matched, &change).expect("short");
            assert_eq!(
                (head.uri.to_string().as_str(), &head.headers[HOST]),
                (want, &host.parse().expect("a value"))
            );
        }
        let plain = Redirect { scheme: None, hostname: None, path: None, port: None, status: 302 };
        let moved = Redirect { path: Some(PathChange::Prefix("/v2".into())), ..plain.clone() };
        for redirect in [plain, moved] {
            assert_eq!(location(&redirect, &Uri::from_static("*"), &matched, "web", 80), "http://web/");
        }
    }

    #[test]
    fn headers_are_set_added_and_removed() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_static("1"));
        headers.append("b", HeaderValue::from_static("1"));
        headers.append("c", HeaderValue::from_static("1"));
        let pair = |name: &str| (name.to_owned(), "2".to_owned());
        let wanted = HeaderChange { set: vec![pair("a")], add: vec![pair("b")], remove: vec!["c".into()] };
        change(&mut headers, &wanted);
        assert_eq!(headers.get_all("a").iter().collect::<Vec<_>>(), ["2"]);
        assert_eq!(headers.get_all("b").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(!headers.contains_key("c"));
    }
}
