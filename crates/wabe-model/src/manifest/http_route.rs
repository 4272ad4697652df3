//! `HTTPRoute`.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    HeaderChange, HttpBackend, HttpFilter, HttpMatch, HttpRoute, HttpRouteRule, ObjectName, ParentRef,
    PathChange, PathMatch, Redirect, Rewrite, Timeouts, ValueMatch, ValuePattern,
    manifest::{
        field::{Field, Fields, Shape},
        metadata::Metadata,
        names::{duration, is_dns_label, is_dns_subdomain, port},
        scalar::shown,
    },
};

const NOT_YET: &str = "is not supported yet, and not ignored";
const SPEC: Shape = Shape {
    known: &["parentRefs", "rules"],
    ignored: &[],
    refused: &[
        (
            "hostnames",
            "is for routes of a Gateway; requests to a Service are not told apart by host (GAMMA)",
            "leave it out, or match the header `host`",
        ),
        ("useDefaultGateways", "is about Gateways, which are not supported", "leave it out"),
    ],
};
const PARENT: Shape = Shape {
    known: &["group", "kind", "name", "namespace", "port", "sectionName"],
    ignored: &[],
    refused: &[],
};
const RULE: Shape = Shape {
    known: &["name", "matches", "filters", "backendRefs", "timeouts"],
    ignored: &[],
    refused: &[
        ("retry", NOT_YET, "leave it out"),
        ("sessionPersistence", NOT_YET, "leave it out; the nearest is `sessionAffinity` of a Service"),
    ],
};
const MATCH: Shape =
    Shape { known: &["path", "method", "headers", "queryParams"], ignored: &[], refused: &[] };
const VALUE_MATCH: Shape = Shape { known: &["type", "name", "value"], ignored: &[], refused: &[] };
const PATH_MATCH: Shape = Shape { known: &["type", "value"], ignored: &[], refused: &[] };
const BACKEND: Shape = Shape {
    known: &["group", "kind", "name", "namespace", "port", "weight"],
    ignored: &[],
    refused: &[("filters", NOT_YET, "write the filters into the rule")],
};
const TIMEOUTS: Shape = Shape { known: &["request", "backendRequest"], ignored: &[], refused: &[] };
const FILTER: Shape = Shape {
    known: &["type", "requestHeaderModifier", "responseHeaderModifier", "requestRedirect", "urlRewrite"],
    ignored: &[],
    refused: &[
        ("requestMirror", NOT_YET, "leave the filter out"),
        ("extensionRef", NOT_YET, "leave the filter out"),
        ("cors", NOT_YET, "leave the filter out"),
        ("externalAuth", NOT_YET, "leave the filter out"),
    ],
};
const HEADERS: Shape = Shape { known: &["set", "add", "remove"], ignored: &[], refused: &[] };
const HEADER: Shape = Shape { known: &["name", "value"], ignored: &[], refused: &[] };
const REDIRECT: Shape =
    Shape { known: &["scheme", "hostname", "path", "port", "statusCode"], ignored: &[], refused: &[] };
const REWRITE: Shape = Shape { known: &["hostname", "path"], ignored: &[], refused: &[] };
const PATH_CHANGE: Shape =
    Shape { known: &["type", "replaceFullPath", "replacePrefixMatch"], ignored: &[], refused: &[] };
/// The standard's own limits.
const MOST: usize = 16;
const MOST_PARENTS: usize = 32;
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn http_route(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<HttpRoute> {
    let namespace = metadata.as_ref().map(|it| it.name.namespace.clone()).unwrap_or_default();
    let fields = spec.fields(&SPEC)?;
    let parents = fields
        .require("parentRefs", "name the Service whose requests the route is about")
        .and_then(|it| list(&it, "parents", MOST_PARENTS, |it| parent(it, &namespace)));
    let rules = fields
        .require("rules", "write at least one rule")
        .and_then(|it| list(&it, "rules", MOST, |it| rule(it, &namespace)).map(|read| (it, read)));
    let (whole, rules) = rules?;
    let mut names = BTreeSet::new();
    if let Some(twice) = rules.iter().filter_map(|it| it.name.as_ref()).find(|it| !names.insert(*it)) {
        return whole.error(format!("two rules are called {}", shown(twice)), "give one another name");
    }
    Some(HttpRoute { name: metadata?.name, parents: parents?, rules })
}

/// A list with at least one entry, and not too many.
fn list<'a, T>(
    field: &Field<'a>,
    what: &str,
    most: usize,
    read: impl Fn(&Field<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let items = field.all(read)?;
    match items.len() {
        0 => field.error(format!("{what} are missing"), "write at least one"),
        count if count > most => field
            .error(format!("{count} {what} are too many"), format!("write at most {most}; split the route")),
        _ => Some(items),
    }
}

fn parent(field: &Field<'_>, namespace: &str) -> Option<ParentRef> {
    let fields = field.fields(&PARENT)?;
    let remedy = "write `kind: Service` and `group: \"\"`; Gateways are not supported yet";
    let group = fields.find("group").map(|it| it.text().map(str::to_owned));
    let kind = fields.find("kind").map(|it| it.text().map(str::to_owned));
    // Left out, both mean a Gateway.
    let is_service = matches!(&group, Some(Some(it)) if it.is_empty() || it == "core")
        && matches!(&kind, Some(Some(it)) if it == "Service");
    let service = service(&fields, namespace);
    let number = fields.or("port", None, |it| port(it).map(Some));
    let section = fields.or("sectionName", None, |it| it.text().map(|it| Some(it.to_owned())));
    if !is_service {
        return field.error("a route is attached to a Service only", remedy);
    }
    Some(ParentRef { service: service?, port: number?, section: section? })
}

/// `name` and `namespace`.
fn service(fields: &Fields<'_>, namespace: &str) -> Option<ObjectName> {
    let label = |field: &Field<'_>| {
        let text = field.text()?;
        if is_dns_label(text) {
            return Some(text.to_owned());
        }
        field.error(format!("{} is no Service's name", shown(text)), "write a name of a-z, 0-9 and -")
    };
    let name = fields.require("name", "write the Service's name").and_then(|it| label(&it));
    let namespace = fields.or("namespace", namespace.to_owned(), |it| label(it));
    Some(ObjectName::new(&namespace?, &name?))
}

fn rule(field: &Field<'_>, namespace: &str) -> Option<HttpRouteRule> {
    let fields = field.fields(&RULE)?;
    let name = fields.or("name", None, |it| {
        let text = it.text()?;
        if is_dns_subdomain(text) {
            return Some(Some(text.to_owned()));
        }
        it.error(format!("{} can't be a rule's name", shown(text)), "use at most 253 of a-z, 0-9, - and .")
    });
    let every = HttpMatch {
        path: PathMatch::Prefix("/".into()),
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
    };
    let matches = fields.or("matches", Vec::new(), |it| {
        if it.items()?.len() > 64 {
            return it.error("more than 64 matches", "write another rule");
        }
        it.all(matching)
    });
    let filters = fields.or("filters", Vec::new(), |it| it.all(filter));
    let backends = fields.or("backendRefs", Vec::new(), |it| it.all(|it| backend(it, namespace)));
    let timeouts = fields.or("timeouts", Timeouts::default(), timeouts);
    let (mut matches, filters, backends) = (matches?, filters?, backends?);
    if matches.is_empty() {
        matches.push(every);
    }
    check(field, &matches, &filters, &backends)?;
    Some(HttpRouteRule { name: name?, matches, filters, backends, timeouts: timeouts?, retry: None })
}

/// What only shows when all of a rule is seen.
fn check(
    field: &Field<'_>,
    matches: &[HttpMatch],
    filters: &[HttpFilter],
    backends: &[HttpBackend],
) -> Option<()> {
    let kinds: Vec<_> = filters.iter().map(std::mem::discriminant).collect();
    if (1..kinds.len()).any(|index| kinds[..index].contains(&kinds[index])) {
        return field.error("a filter of one type is written twice", "write one of each type");
    }
    let redirects = filters.iter().any(|it| matches!(it, HttpFilter::Redirect(_)));
    if redirects && !backends.is_empty() {
        return field.error("a rule that redirects has backends", "leave `backendRefs` out");
    }
    if redirects && filters.iter().any(|it| matches!(it, HttpFilter::Rewrite(_))) {
        return field.error("a rule redirects and rewrites", "leave one of the filters out");
    }
    let replaces_prefix = filters.iter().any(|it| match it {
        HttpFilter::Redirect(Redirect { path, .. }) | HttpFilter::Rewrite(Rewrite { path, .. }) => {
            matches!(path, Some(PathChange::Prefix(_)))
        }
        HttpFilter::RequestHeaders(_) | HttpFilter::ResponseHeaders(_) | HttpFilter::Mirror(_) => false,
    });
    if replaces_prefix && matches.iter().any(|it| !matches!(it.path, PathMatch::Prefix(_))) {
        let remedy = "match paths by PathPrefix, or write `ReplaceFullPath`";
        return field.error("ReplacePrefixMatch needs a prefix that matched", remedy);
    }
    Some(())
}

fn matching(field: &Field<'_>) -> Option<HttpMatch> {
    let fields = field.fields(&MATCH)?;
    let path = fields.or("path", PathMatch::Prefix("/".into()), path);
    let method = fields.or("method", None, |it| {
        let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        it.choice(&methods.map(|it| (it, it))).map(|it| Some(it.to_owned()))
    });
    let headers = fields.or("headers", Vec::new(), |it| it.all(|it| value_match(it, true)));
    let query = fields.or("queryParams", Vec::new(), |it| it.all(|it| value_match(it, false)));
    let (mut headers, mut query) = (headers?, query?);
    // The standard: of equal names only the first counts.
    for list in [&mut headers, &mut query] {
        let mut seen = BTreeSet::new();
        list.retain(|it| seen.insert(it.name.clone()));
    }
    Some(HttpMatch { path: path?, method: method?, headers, query })
}

fn path(field: &Field<'_>) -> Option<PathMatch> {
    let fields = field.fields(&PATH_MATCH)?;
    let exact = fields.or("type", false, |it| {
        if it.text() == Some("RegularExpression") {
            return it.error(format!("RegularExpression {NOT_YET}"), "write Exact or PathPrefix");
        }
        it.choice(&[("PathPrefix", false), ("Exact", true)])
    });
    let value = fields.or("value", "/".to_owned(), |it| absolute(it));
    let (exact, value) = (exact?, value?);
    Some(if exact { PathMatch::Exact(value) } else { PathMatch::Prefix(value) })
}

fn absolute(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let bad = ["//", "/./", "/../", "%2f", "%2F", "#"].into_iter().any(|it| text.contains(it))
        || text.ends_with("/..")
        || text.ends_with("/.")
        || text.len() > 1024
        || text.bytes().any(|it| it.is_ascii_control() || it == b' ' || it == b'?');
    if !text.starts_with('/') || bad {
        let remedy =
            "write it as requests have it, beginning with `/`, without `//`, `/./`, `/../`, `?` and `#`";
        return field.error(format!("{} can't be a path", shown(text)), remedy);
    }
    Some(text.to_owned())
}

fn value_match(field: &Field<'_>, header: bool) -> Option<ValueMatch> {
    let fields = field.fields(&VALUE_MATCH)?;
    let kind = fields.or("type", (), |it| {
        if it.text() == Some("RegularExpression") {
            return it.error(format!("RegularExpression {NOT_YET}"), "write Exact");
        }
        it.choice(&[("Exact", ())])
    });
    let name = fields.require("name", "write its name").and_then(|it| token(&it));
    let value = fields.require("value", "write its value").and_then(|it| Some(it.text()?.to_owned()));
    kind?;
    let name = name?;
    Some(ValueMatch {
        name: if header { name.to_ascii_lowercase() } else { name },
        value: ValuePattern::Exact(value?),
    })
}

/// A header's or a parameter's name.
fn token(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let good = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    if text.is_empty() || text.len() > 256 || !text.bytes().all(good) {
        return field.error(format!("{} can't be a name", shown(text)), "use letters, digits and -");
    }
    Some(text.to_owned())
}

fn filter(field: &Field<'_>) -> Option<HttpFilter> {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Request,
        Response,
        Redirect,
        Rewrite,
    }
    const KINDS: [(&str, Kind, &str); 4] = [
        ("RequestHeaderModifier", Kind::Request, "requestHeaderModifier"),
        ("ResponseHeaderModifier", Kind::Response, "responseHeaderModifier"),
        ("RequestRedirect", Kind::Redirect, "requestRedirect"),
        ("URLRewrite", Kind::Rewrite, "urlRewrite"),
    ];
    let fields = field.fields(&FILTER)?;
    let kind = fields
        .require("type", "write the filter's type")
        .and_then(|it| it.choice(&KINDS.map(|(word, kind, _)| (word, kind))))?;
    for (word, other, key) in KINDS {
        if other != kind
            && let Some(field) = fields.find(key)
        {
            return field.error(format!("belongs to a filter of type {word}"), "leave it out");
        }
    }
    let key = KINDS.iter().find(|it| it.1 == kind).map_or("", |it| it.2);
    let own = fields.require(key, "write what it does")?;
    Some(match kind {
        Kind::Request => HttpFilter::RequestHeaders(header_change(&own)?),
        Kind::Response => HttpFilter::ResponseHeaders(header_change(&own)?),
        Kind::Redirect => HttpFilter::Redirect(redirect(&own)?),
        Kind::Rewrite => HttpFilter::Rewrite(rewrite(&own)?),
    })
}

fn header_change(field: &Field<'_>) -> Option<HeaderChange> {
    let fields = field.fields(&HEADERS)?;
    let pair = |it: &Field<'_>| {
        let fields = it.fields(&HEADER)?;
        let name = fields.require("name", "write the header's name").and_then(|it| header_name(&it));
        let value = fields.require("value", "write the header's value").and_then(|it| header_value(&it));
        Some((name?, value?))
    };
    let set = fields.or("set", Vec::new(), |it| it.all(pair));
    let add = fields.or("add", Vec::new(), |it| it.all(pair));
    let remove = fields.or("remove", Vec::new(), |it| it.all(header_name));
    Some(HeaderChange { set: set?, add: add?, remove: remove? })
}

/// Those that frame a message or hold for one connection are the proxy's own business.
fn header_name(field: &Field<'_>) -> Option<String> {
    const OWN: [&str; 8] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = token(field)?.to_ascii_lowercase();
    if OWN.contains(&name.as_str()) {
        return field.error(format!("the header {name} can't be changed"), "for the host, use URLRewrite");
    }
    Some(name)
}

fn header_value(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.len() > 4096 || text.bytes().any(|it| it.is_ascii_control() && it != b'\t') || text.trim() != text
    {
        let remedy = "use at most 4096 characters, without line breaks and without spaces around";
        return field.error(format!("{} can't be a header's value", shown(text)), remedy);
    }
    Some(text.to_owned())
}

fn redirect(field: &Field<'_>) -> Option<Redirect> {
    let fields = field.fields(&REDIRECT)?;
    let scheme = fields.or("scheme", None, |it| {
        it.choice(&[("http", "http"), ("https", "https")]).map(|it| Some(it.to_owned()))
    });
    let hostname = fields.or("hostname", None, |it| hostname(it).map(Some));
    let path = fields.or("path", None, |it| path_change(it).map(Some));
    let number = fields.or("port", None, |it| port(it).map(Some));
    let status = fields.or("statusCode", 302, |it| {
        let status = it.integer("a status", 301..=308)?;
        if ![301, 302, 303, 307, 308].contains(&status) {
            return it.error(format!("{status} is no redirect"), "write 301, 302, 303, 307 or 308");
        }
        Some(status)
    });
    let status = u16::try_from(status?).ok()?;
    Some(Redirect { scheme: scheme?, hostname: hostname?, path: path?, port: number?, status })
}

fn rewrite(field: &Field<'_>) -> Option<Rewrite> {
    let fields = field.fields(&REWRITE)?;
    let hostname = fields.or("hostname", None, |it| hostname(it).map(Some));
    let path = fields.or("path", None, |it| path_change(it).map(Some));
    Some(Rewrite { hostname: hostname?, path: path? })
}

fn hostname(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_dns_subdomain(text) {
        return Some(text.to_owned());
    }
    field.error(format!("{} can't be a host's name", shown(text)), "write it without port and wildcard")
}

fn path_change(field: &Field<'_>) -> Option<PathChange> {
    let fields = field.fields(&PATH_CHANGE)?;
    let full = fields
        .require("type", "write ReplaceFullPath or ReplacePrefixMatch")
        .and_then(|it| it.choice(&[("ReplaceFullPath", true), ("ReplacePrefixMatch", false)]))?;
    let (own, other) = if full {
        ("replaceFullPath", "replacePrefixMatch")
    } else {
        ("replacePrefixMatch", "replaceFullPath")
    };
    if let Some(field) = fields.find(other) {
        return field.error("belongs to the other type", "leave it out");
    }
    let value = fields.require(own, "write the new path")?;
    let value = absolute(&value)?;
    Some(if full { PathChange::Full(value) } else { PathChange::Prefix(value) })
}

fn backend(field: &Field<'_>, namespace: &str) -> Option<HttpBackend> {
    let fields = field.fields(&BACKEND)?;
    let group = fields.or("group", (), |it| it.choice(&[("", ()), ("core", ())]));
    let kind = fields.or("kind", (), |it| it.choice(&[("Service", ())]));
    let service = service(&fields, namespace);
    let number = fields.require("port", "write a port of the Service").and_then(|it| port(&it));
    let weight = fields.or("weight", 1, |it| it.integer("a weight", 0..=1_000_000));
    group.and(kind)?;
    let service = service?;
    if service.namespace != namespace {
        return field.error(
            format!("a backend in another namespace than the route's {NOT_YET}"),
            format!("put the route into namespace {}", service.namespace),
        );
    }
    let weight = u32::try_from(weight?).ok()?;
    Some(HttpBackend { service, port: number?, other_kind: None, weight, filters: Vec::new() })
}

fn timeouts(field: &Field<'_>) -> Option<Timeouts> {
    let fields = field.fields(&TIMEOUTS)?;
    let time = |it: &Field<'_>| duration(it, Duration::ZERO, HOUR).map(|it| (!it.is_zero()).then_some(it));
    let request = fields.or("request", None, time);
    let backend_request = fields.or("backendRequest", None, time);
    let (request, backend_request) = (request?, backend_request?);
    if let (Some(whole), Some(part)) = (request, backend_request)
        && part > whole
    {
        return field.error("backendRequest is longer than request", "make it shorter, or leave it out");
    }
    Some(Timeouts { request, backend_request })
}
