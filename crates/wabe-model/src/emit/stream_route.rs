//! `TCPRoute` and `TLSRoute`.

use serde_json::{Value, json};

use crate::{
    HostPattern, ObjectName, StreamRule, TcpRoute, TlsRoute,
    emit::http_route::{backend, parents},
};

pub(super) fn tcp_route_spec(route: &TcpRoute) -> Value {
    json!({ "parentRefs": parents(&route.parents, &route.name), "rules": [rule(&route.rule, &route.name)] })
}

pub(super) fn tls_route_spec(route: &TlsRoute) -> Value {
    let mut spec = json!({
        "parentRefs": parents(&route.parents, &route.name),
        "rules": [rule(&route.rule, &route.name)],
    });
    if !route.hostnames.is_empty() {
        spec["hostnames"] = route.hostnames.iter().map(hostname).collect();
    }
    spec
}

fn hostname(pattern: &HostPattern) -> Value {
    match pattern {
        HostPattern::Exact(name) => json!(name),
        HostPattern::Below(name) => json!(format!("*.{name}")),
    }
}

fn rule(rule: &StreamRule, route: &ObjectName) -> Value {
    let backends: Vec<_> = rule.backends.iter().map(|it| backend(it, route)).collect();
    let mut value = json!({ "backendRefs": backends });
    if let Some(name) = &rule.name {
        value["name"] = json!(name);
    }
    value
}
