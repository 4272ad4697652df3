//! `GRPCRoute`.

use serde_json::{Map, Value, json};

use crate::{
    GrpcMatch, GrpcMethod, GrpcRoute, GrpcRouteRule, ObjectName,
    emit::http_route::{backend, filter, parents, value_match},
};

pub(super) fn grpc_route_spec(route: &GrpcRoute) -> Value {
    let rules: Vec<Value> = route.rules.iter().map(|it| rule(it, &route.name)).collect();
    json!({ "parentRefs": parents(&route.parents, &route.name), "rules": rules })
}

fn rule(rule: &GrpcRouteRule, route: &ObjectName) -> Value {
    let mut value = Map::new();
    if let Some(name) = &rule.name {
        value.insert("name".into(), json!(name));
    }
    // A call of anything: an empty match is the same as none.
    if rule.matches != [GrpcMatch::default()] {
        value.insert("matches".into(), rule.matches.iter().map(matching).collect());
    }
    if !rule.filters.is_empty() {
        value.insert("filters".into(), rule.filters.iter().map(|it| filter(it, route)).collect());
    }
    if !rule.backends.is_empty() {
        value.insert("backendRefs".into(), rule.backends.iter().map(|it| backend(it, route)).collect());
    }
    Value::Object(value)
}

fn matching(matching: &GrpcMatch) -> Value {
    let mut value = json!({});
    if let Some(called) = &matching.method {
        let (kind, service, method) = match called {
            GrpcMethod::Exact { service, method } => ("Exact", service.as_deref(), method.as_deref()),
            GrpcMethod::Expression { service, method } => (
                "RegularExpression",
                service.as_ref().map(|it| it.as_str()),
                method.as_ref().map(|it| it.as_str()),
            ),
        };
        value["method"] = json!({ "type": kind });
        for (name, text) in [("service", service), ("method", method)] {
            if let Some(text) = text {
                value["method"][name] = json!(text);
            }
        }
    }
    if !matching.headers.is_empty() {
        value["headers"] = matching.headers.iter().map(value_match).collect();
    }
    value
}
