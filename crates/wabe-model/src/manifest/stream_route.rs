//! `TCPRoute` and `TLSRoute`.

use std::net::IpAddr;

use crate::{
    HostPattern, HttpBackend, StreamRule, TcpRoute, TlsRoute,
    manifest::{
        field::{Field, Fields, Shape},
        metadata::Metadata,
        names::is_dns_subdomain,
        route::{Reference, list, parents, reference, rule_name},
        scalar::shown,
    },
};

const GATEWAYS: (&str, &str, &str) =
    ("useDefaultGateways", "is about Gateways, which are not supported", "leave it out");
const TCP_SPEC: Shape = Shape {
    known: &["parentRefs", "rules"],
    ignored: &[],
    refused: &[
        GATEWAYS,
        (
            "hostnames",
            "is a field of TLSRoutes; nothing else names a host",
            "write a TLSRoute, or leave it out",
        ),
    ],
};
const TLS_SPEC: Shape =
    Shape { known: &["parentRefs", "hostnames", "rules"], ignored: &[], refused: &[GATEWAYS] };
const OF_HTTP: &str = "is a field of HTTPRoutes; nobody reads what these connections carry";
const RULE: Shape = Shape {
    known: &["name", "backendRefs"],
    ignored: &[],
    refused: &[
        ("matches", OF_HTTP, "leave it out, or write an HTTPRoute"),
        ("filters", OF_HTTP, "leave it out, or write an HTTPRoute"),
        ("timeouts", OF_HTTP, "leave it out, or write an HTTPRoute"),
        ("retry", OF_HTTP, "leave it out, or write an HTTPRoute"),
    ],
};
const BACKEND: Shape = Shape {
    known: &["group", "kind", "name", "namespace", "port", "weight"],
    ignored: &[],
    refused: &[("filters", OF_HTTP, "leave it out, or write an HTTPRoute")],
};
/// The standard's own limit, of hostnames and of backends.
const MOST: usize = 16;

pub(crate) fn tcp_route(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<TcpRoute> {
    let namespace = namespace(metadata.as_ref());
    let fields = spec.fields(&TCP_SPEC)?;
    let parents = parents(&fields, &namespace);
    let rule = only_rule(&fields, &namespace);
    Some(TcpRoute { name: metadata?.name, parents: parents?, rule: rule? })
}

pub(crate) fn tls_route(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<TlsRoute> {
    let namespace = namespace(metadata.as_ref());
    let fields = spec.fields(&TLS_SPEC)?;
    let parents = parents(&fields, &namespace);
    let hostnames = fields.or("hostnames", Vec::new(), |it| list(it, "hostnames", MOST, hostname));
    let rule = only_rule(&fields, &namespace);
    Some(TlsRoute { name: metadata?.name, parents: parents?, hostnames: hostnames?, rule: rule? })
}

fn namespace(metadata: Option<&Metadata<'_>>) -> String {
    metadata.map(|it| it.name.namespace.clone()).unwrap_or_default()
}

/// As the standard has it of TLSRoutes since their version 1: nothing of a connection could tell a second rule from the first.
fn only_rule(fields: &Fields<'_>, namespace: &str) -> Option<StreamRule> {
    let field = fields.require("rules", "write one rule")?;
    let mut rules = field.all(|it| rule(it, namespace))?;
    match (rules.pop(), rules.len()) {
        (Some(rule), 0) => Some(rule),
        (None, _) => field.error("rules are missing", "write one"),
        (Some(_), _) => field
            .error("a second rule would never hold", "write one rule, with all backends and their weights"),
    }
}

fn rule(field: &Field<'_>, namespace: &str) -> Option<StreamRule> {
    let fields = field.fields(&RULE)?;
    let name = rule_name(&fields);
    let backends = fields
        .require("backendRefs", "name the Service that connections go to")
        .and_then(|it| list(&it, "backends", MOST, |it| backend(it, namespace)));
    Some(StreamRule { name: name?, backends: backends? })
}

fn backend(field: &Field<'_>, namespace: &str) -> Option<HttpBackend> {
    let fields = field.fields(&BACKEND)?;
    let reference = reference(&fields, namespace);
    let weight = fields.or("weight", 1, |it| it.integer("a weight", 0..=1_000_000));
    let Reference { service, port, other_kind } = reference?;
    Some(HttpBackend { service, port, other_kind, weight: u32::try_from(weight?).ok()?, filters: Vec::new() })
}

/// A name, or `*.` and a name. Addresses are no names (RFC 6066, section 3).
fn hostname(field: &Field<'_>) -> Option<HostPattern> {
    let text = field.text()?;
    let (pattern, name): (fn(String) -> HostPattern, _) = match text.strip_prefix("*.") {
        Some(name) => (HostPattern::Below, name),
        None => (HostPattern::Exact, text),
    };
    if !is_dns_subdomain(name) || name.parse::<IpAddr>().is_ok() {
        return field.error(
            format!("{} is no name that a ClientHello could ask for", shown(text)),
            "write a name in lower case without port, as `db.example.com`, or `*.example.com`",
        );
    }
    Some(pattern(name.to_owned()))
}
