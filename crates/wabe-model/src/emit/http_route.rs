//! `HTTPRoute`.

use serde_json::{Map, Value, json};

use crate::{
    Allowed, Cors, HeaderChange, HttpBackend, HttpFilter, HttpMatch, HttpRoute, HttpRouteRule, Kind, Mirror,
    ObjectName, OtherKind, ParentRef, PathChange, PathMatch, Retry, ValueMatch, ValuePattern,
    manifest::scalar::duration_text,
};

pub(super) fn http_route_spec(route: &HttpRoute) -> Value {
    let rules: Vec<Value> = route.rules.iter().map(|it| rule(it, &route.name)).collect();
    json!({ "parentRefs": parents(&route.parents, &route.name), "rules": rules })
}

pub(super) fn parents(parents: &[ParentRef], route: &ObjectName) -> Value {
    parents.iter().map(|it| parent(it, route)).collect()
}

fn parent(parent: &ParentRef, route: &ObjectName) -> Value {
    let mut value = json!({ "group": "", "kind": "Service", "name": parent.service.name });
    if parent.service.namespace != route.namespace {
        value["namespace"] = json!(parent.service.namespace);
    }
    if let Some(port) = parent.port {
        value["port"] = json!(port);
    }
    if let Some(section) = &parent.section {
        value["sectionName"] = json!(section);
    }
    value
}

fn rule(rule: &HttpRouteRule, route: &ObjectName) -> Value {
    let mut value = Map::new();
    if let Some(name) = &rule.name {
        value.insert("name".into(), json!(name));
    }
    value.insert("matches".into(), rule.matches.iter().map(matching).collect());
    if !rule.filters.is_empty() {
        value.insert("filters".into(), rule.filters.iter().map(|it| filter(it, route)).collect());
    }
    if !rule.backends.is_empty() {
        value.insert("backendRefs".into(), rule.backends.iter().map(|it| backend(it, route)).collect());
    }
    let mut timeouts = Map::new();
    for (name, time) in
        [("request", rule.timeouts.request), ("backendRequest", rule.timeouts.backend_request)]
    {
        timeouts.extend(time.map(|time| (name.to_owned(), json!(duration_text(time)))));
    }
    if !timeouts.is_empty() {
        value.insert("timeouts".into(), Value::Object(timeouts));
    }
    if let Some(it) = &rule.retry {
        value.insert("retry".into(), retry(it));
    }
    Value::Object(value)
}

fn retry(retry: &Retry) -> Value {
    let mut value = json!({ "attempts": retry.attempts });
    if !retry.codes.is_empty() {
        value["codes"] = json!(retry.codes);
    }
    if let Some(backoff) = retry.backoff {
        value["backoff"] = json!(duration_text(backoff));
    }
    value
}

fn matching(matching: &HttpMatch) -> Value {
    let (kind, path) = match &matching.path {
        PathMatch::Exact(path) => ("Exact", path.as_str()),
        PathMatch::Prefix(path) => ("PathPrefix", path.as_str()),
        PathMatch::Expression(path) => ("RegularExpression", path.as_str()),
    };
    let mut value = json!({ "path": { "type": kind, "value": path } });
    if let Some(method) = &matching.method {
        value["method"] = json!(method);
    }
    for (name, list) in [("headers", &matching.headers), ("queryParams", &matching.query)] {
        if !list.is_empty() {
            value[name] = list.iter().map(value_match).collect();
        }
    }
    value
}

pub(super) fn value_match(wanted: &ValueMatch) -> Value {
    match &wanted.value {
        ValuePattern::Exact(value) => json!({ "name": wanted.name, "value": value }),
        ValuePattern::Expression(value) => {
            json!({ "type": "RegularExpression", "name": wanted.name, "value": value.as_str() })
        }
    }
}

pub(super) fn filter(filter: &HttpFilter, route: &ObjectName) -> Value {
    match filter {
        HttpFilter::RequestHeaders(change) => {
            json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": headers(change) })
        }
        HttpFilter::ResponseHeaders(change) => {
            json!({ "type": "ResponseHeaderModifier", "responseHeaderModifier": headers(change) })
        }
        HttpFilter::Redirect(redirect) => {
            let mut value = json!({ "statusCode": redirect.status });
            for (name, text) in [("scheme", &redirect.scheme), ("hostname", &redirect.hostname)] {
                if let Some(text) = text {
                    value[name] = json!(text);
                }
            }
            if let Some(path) = &redirect.path {
                value["path"] = path_change(path);
            }
            if let Some(port) = redirect.port {
                value["port"] = json!(port);
            }
            json!({ "type": "RequestRedirect", "requestRedirect": value })
        }
        HttpFilter::Rewrite(rewrite) => {
            let mut value = json!({});
            if let Some(hostname) = &rewrite.hostname {
                value["hostname"] = json!(hostname);
            }
            if let Some(path) = &rewrite.path {
                value["path"] = path_change(path);
            }
            json!({ "type": "URLRewrite", "urlRewrite": value })
        }
        HttpFilter::Mirror(it) => json!({ "type": "RequestMirror", "requestMirror": mirror(it, route) }),
        HttpFilter::Cors(it) => json!({ "type": "CORS", "cors": cors(it) }),
        HttpFilter::Limit(name) => extension(Kind::RequestLimit, name),
        HttpFilter::Fault(name) => extension(Kind::FaultInjection, name),
    }
}

fn extension(kind: Kind, name: &ObjectName) -> Value {
    let to = json!({ "group": "mesh.wabe.dev", "kind": kind.as_str(), "name": name.name });
    json!({ "type": "ExtensionRef", "extensionRef": to })
}

fn cors(cors: &Cors) -> Value {
    let Cors { origins, credentials, methods, headers, expose, max_age } = cors;
    let mut value = json!({ "maxAge": max_age });
    if !origins.is_empty() {
        value["allowOrigins"] = origins.iter().map(|it| json!(it.to_string())).collect();
    }
    if *credentials {
        value["allowCredentials"] = json!(true);
    }
    for (name, names) in [("allowMethods", methods), ("allowHeaders", headers), ("exposeHeaders", expose)] {
        match names {
            Allowed::All => value[name] = json!(["*"]),
            Allowed::Named(names) if names.is_empty() => {}
            Allowed::Named(names) => value[name] = json!(names),
        }
    }
    value
}

fn mirror(mirror: &Mirror, route: &ObjectName) -> Value {
    let Mirror { service, port, other_kind, numerator, denominator } = mirror;
    let mut value = json!({ "backendRef": reference(service, *port, other_kind.as_ref(), route) });
    match (numerator, denominator) {
        (100, 100) => {}
        (percent, 100) => value["percent"] = json!(percent),
        _ => value["fraction"] = json!({ "numerator": numerator, "denominator": denominator }),
    }
    value
}

fn headers(change: &HeaderChange) -> Value {
    let pairs = |list: &[(String, String)]| -> Value {
        list.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let mut value = json!({});
    for (name, list) in [("set", &change.set), ("add", &change.add)] {
        if !list.is_empty() {
            value[name] = pairs(list);
        }
    }
    if !change.remove.is_empty() {
        value["remove"] = json!(change.remove);
    }
    value
}

fn path_change(change: &PathChange) -> Value {
    match change {
        PathChange::Full(path) => json!({ "type": "ReplaceFullPath", "replaceFullPath": path }),
        PathChange::Prefix(path) => json!({ "type": "ReplacePrefixMatch", "replacePrefixMatch": path }),
    }
}

pub(super) fn backend(backend: &HttpBackend, route: &ObjectName) -> Value {
    let mut value = reference(&backend.service, backend.port, backend.other_kind.as_ref(), route);
    if backend.weight != 1 {
        value["weight"] = json!(backend.weight);
    }
    if !backend.filters.is_empty() {
        value["filters"] = backend.filters.iter().map(|it| filter(it, route)).collect();
    }
    value
}

/// As backends and mirrors have it.
fn reference(service: &ObjectName, port: u16, other: Option<&OtherKind>, route: &ObjectName) -> Value {
    let mut value = json!({ "name": service.name });
    if let Some(other) = other {
        value["group"] = json!(other.group);
        value["kind"] = json!(other.kind);
    }
    if port != 0 {
        value["port"] = json!(port);
    }
    if service.namespace != route.namespace {
        value["namespace"] = json!(service.namespace);
    }
    value
}
