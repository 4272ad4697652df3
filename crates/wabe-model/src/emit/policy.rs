//! `spec` of an `AuthorizationPolicy`.

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::{AuthorizationPolicy, HeaderCondition, Operation, PolicyAction, Rule, Source, StringMatch};

pub(super) fn policy_spec(policy: &AuthorizationPolicy) -> Value {
    let mut spec = Map::new();
    if !policy.selector.is_empty() {
        spec.insert("selector".into(), json!({ "matchLabels": policy.selector }));
    }
    let action = match policy.action {
        PolicyAction::Allow => None,
        PolicyAction::Deny => Some("DENY"),
        PolicyAction::Audit => Some("AUDIT"),
    };
    if let Some(action) = action {
        spec.insert("action".into(), json!(action));
    }
    if !policy.rules.is_empty() {
        spec.insert("rules".into(), policy.rules.iter().map(rule).collect());
    }
    Value::Object(spec)
}

fn rule(rule: &Rule) -> Value {
    let mut value = Map::new();
    if !rule.from.is_empty() {
        let from = rule.from.iter().map(|it| json!({ "source": source(it) })).collect();
        value.insert("from".into(), from);
    }
    if !rule.to.is_empty() {
        let to = rule.to.iter().map(|it| json!({ "operation": operation(it) })).collect();
        value.insert("to".into(), to);
    }
    let conditions: Vec<_> = rule
        .when_sources
        .iter()
        .flat_map(source_conditions)
        .chain(
            rule.when_operations
                .iter()
                .map(|it| condition("destination.port", &texts(&it.ports), &texts(&it.not_ports))),
        )
        .chain(rule.when_headers.iter().map(header_condition))
        .collect();
    if !conditions.is_empty() {
        value.insert("when".into(), Value::Array(conditions));
    }
    Value::Object(value)
}

fn source(source: &Source) -> Value {
    let mut value = Map::new();
    for (_, [(key, list), (not_key, not_list)]) in columns(source) {
        if !list.is_empty() {
            value.insert(key.into(), json!(list));
        }
        if !not_list.is_empty() {
            value.insert(not_key.into(), json!(not_list));
        }
    }
    Value::Object(value)
}

fn operation(operation: &Operation) -> Value {
    let mut value = Map::new();
    for (key, list) in [
        ("ports", texts(&operation.ports)),
        ("notPorts", texts(&operation.not_ports)),
        ("methods", matches(&operation.methods)),
        ("notMethods", matches(&operation.not_methods)),
        ("paths", matches(&operation.paths)),
        ("notPaths", matches(&operation.not_paths)),
        ("hosts", matches(&operation.hosts)),
        ("notHosts", matches(&operation.not_hosts)),
    ] {
        if !list.is_empty() {
            value.insert(key.into(), json!(list));
        }
    }
    Value::Object(value)
}

fn header_condition(it: &HeaderCondition) -> Value {
    condition(&format!("request.headers[{}]", it.name), &matches(&it.values), &matches(&it.not_values))
}

/// A source that demands several things is several conditions, all of which must hold.
fn source_conditions(source: &Source) -> Vec<Value> {
    let columns = columns(source).into_iter();
    let written = columns.filter(|(_, [(_, list), (_, not_list)])| !list.is_empty() || !not_list.is_empty());
    written.map(|(key, [(_, list), (_, not_list)])| condition(key, &list, &not_list)).collect()
}

fn condition(key: &str, values: &[String], not_values: &[String]) -> Value {
    let mut value = json!({ "key": key });
    if !values.is_empty() {
        value["values"] = json!(values);
    }
    if !not_values.is_empty() {
        value["notValues"] = json!(not_values);
    }
    value
}

/// Key of a condition; name and values of the field; the same of the `not` field.
type Column = (&'static str, [(&'static str, Vec<String>); 2]);

fn columns(source: &Source) -> [Column; 4] {
    [
        (
            "source.principal",
            [("principals", matches(&source.principals)), ("notPrincipals", matches(&source.not_principals))],
        ),
        (
            "source.namespace",
            [("namespaces", matches(&source.namespaces)), ("notNamespaces", matches(&source.not_namespaces))],
        ),
        (
            "source.serviceAccount",
            [
                ("serviceAccounts", texts(&source.service_accounts)),
                ("notServiceAccounts", texts(&source.not_service_accounts)),
            ],
        ),
        (
            "source.ip",
            [("ipBlocks", blocks(&source.ip_blocks)), ("notIpBlocks", blocks(&source.not_ip_blocks))],
        ),
    ]
}

fn matches(list: &[StringMatch]) -> Vec<String> {
    list.iter().map(string_match).collect()
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn blocks(list: &[IpNet]) -> Vec<String> {
    let text = |it: &IpNet| {
        if it.prefix_len() == it.max_prefix_len() { it.addr().to_string() } else { it.to_string() }
    };
    list.iter().map(text).collect()
}

fn string_match(it: &StringMatch) -> String {
    match it {
        StringMatch::Exact(text) => text.clone(),
        StringMatch::Prefix(text) => format!("{text}*"),
        StringMatch::Suffix(text) => format!("*{text}"),
        StringMatch::Present => "*".to_owned(),
    }
}
