//! `HTTPRoute`.

use serde_json::{Map, Value, json};

use crate::{
    HeaderChange, HttpBackend, HttpFilter, HttpMatch, HttpRoute, HttpRouteRule, ObjectName, ParentRef,
    PathChange, PathMatch, ValueMatch, manifest::scalar::duration_text,
};

pub(super) fn http_route_spec(route: &HttpRoute) -> Value {
    let parents: Vec<Value> = route.parents.iter().map(|it| parent(it, &route.name)).collect();
    let rules: Vec<Value> = route.rules.iter().map(|it| rule(it, &route.name)).collect();
    json!({ "parentRefs": parents, "rules": rules })
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
        value.insert("filters".into(), rule.filters.iter().map(filter).collect());
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
    Value::Object(value)
}

fn matching(matching: &HttpMatch) -> Value {
    let (kind, path) = match &matching.path {
        PathMatch::Exact(path) => ("Exact", path),
        PathMatch::Prefix(path) => ("PathPrefix", path),
    };
    let mut value = json!({ "path": { "type": kind, "value": path } });
    if let Some(method) = &matching.method {
        value["method"] = json!(method);
    }
    for (name, list) in [("headers", &matching.headers), ("queryParams", &matching.query)] {
        if !list.is_empty() {
            let pair = |it: &ValueMatch| json!({ "name": it.name, "value": it.value });
            value[name] = list.iter().map(pair).collect();
        }
    }
    value
}

fn filter(filter: &HttpFilter) -> Value {
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
    }
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

fn backend(backend: &HttpBackend, route: &ObjectName) -> Value {
    let mut value = json!({ "name": backend.service.name, "port": backend.port });
    if backend.service.namespace != route.namespace {
        value["namespace"] = json!(backend.service.namespace);
    }
    if backend.weight != 1 {
        value["weight"] = json!(backend.weight);
    }
    value
}
