//! `AuthorizationPolicy`. Whatever of Istio's is not understood is an error: a policy that is half understood would admit
//! too much or refuse too much.

use std::collections::BTreeMap;

use crate::{
    AuthorizationPolicy, HeaderCondition, ObjectName, Operation, PolicyAction, Rule, Source, StringMatch,
    manifest::{
        field::{Field, Fields, Shape},
        metadata::{DRY_RUN, Metadata},
        names::{ip_block, is_dns_label, is_dns_subdomain, labels},
        policy::requests::{header_name, host, method, path, unknown_request_key},
        scalar::shown,
    },
};

mod requests;

const LAYER_7: &str = "is a layer-7 field, which is not supported yet, and not ignored";
const NOT_YET: &str = "is not supported yet, and not ignored";
const USE_PRINCIPALS: &str = "the nearest is `principals`";
const USE_IP_BLOCKS: &str = "the nearest is `ipBlocks`, the address that packets come from";
const USE_SELECTOR: &str = "the nearest is `selector.matchLabels`";

const SPEC: Shape = Shape {
    known: &["selector", "action", "rules"],
    ignored: &[],
    refused: &[
        ("targetRef", NOT_YET, USE_SELECTOR),
        ("targetRefs", NOT_YET, USE_SELECTOR),
        ("provider", NOT_YET, "the nearest is the action ALLOW or DENY"),
    ],
};
const SELECTOR: Shape = Shape {
    known: &["matchLabels"],
    ignored: &[],
    refused: &[("matchExpressions", NOT_YET, "the nearest is `matchLabels`")],
};
const RULE: Shape = Shape { known: &["from", "to", "when"], ignored: &[], refused: &[] };
const FROM: Shape = Shape { known: &["source"], ignored: &[], refused: &[] };
const TO: Shape = Shape { known: &["operation"], ignored: &[], refused: &[] };
const SOURCE: Shape = Shape {
    known: &[
        "principals",
        "notPrincipals",
        "namespaces",
        "notNamespaces",
        "serviceAccounts",
        "notServiceAccounts",
        "ipBlocks",
        "notIpBlocks",
    ],
    ignored: &[],
    refused: &[
        ("requestPrincipals", LAYER_7, USE_PRINCIPALS),
        ("notRequestPrincipals", LAYER_7, "the nearest is `notPrincipals`"),
        ("remoteIpBlocks", LAYER_7, USE_IP_BLOCKS),
        ("notRemoteIpBlocks", LAYER_7, "the nearest is `notIpBlocks`, the address that packets come from"),
    ],
};
const OPERATION: Shape = Shape {
    known: &["ports", "notPorts", "methods", "notMethods", "paths", "notPaths", "hosts", "notHosts"],
    ignored: &[],
    refused: &[],
};
const CONDITION: Shape = Shape { known: &["key", "values", "notValues"], ignored: &[], refused: &[] };

pub(crate) fn authorization_policy(
    metadata: Option<Metadata<'_>>,
    spec: &Field<'_>,
) -> Option<AuthorizationPolicy> {
    let dry_run = metadata.as_ref().map(dry_run);
    let fields = spec.fields(&SPEC)?;
    let selector = fields.or("selector", BTreeMap::new(), selector);
    let action = fields.or("action", PolicyAction::Allow, action);
    // Complaints about rules don't depend on the name.
    let namespace = metadata.as_ref().map_or("default", |it| it.name.namespace.as_str());
    let rules = fields.or("rules", Vec::new(), |it| it.all(|rule| self::rule(rule, namespace)));
    let (selector, action, rules, dry_run) = (selector?, action?, rules?, dry_run??);
    Some(AuthorizationPolicy { name: metadata?.name, action, selector, rules, dry_run })
}

fn dry_run(metadata: &Metadata<'_>) -> Option<bool> {
    metadata.annotation(DRY_RUN).map_or(Some(false), |it| it.choice(&[("true", true), ("false", false)]))
}

fn selector(field: &Field<'_>) -> Option<BTreeMap<String, String>> {
    let selector = field.fields(&SELECTOR)?.or("matchLabels", BTreeMap::new(), labels)?;
    if selector.is_empty() {
        field.warn("an empty selector selects every workload", "leave it out if that is meant");
    }
    Some(selector)
}

fn action(field: &Field<'_>) -> Option<PolicyAction> {
    if field.text()? == "CUSTOM" {
        return field.error(
            "the action CUSTOM is not supported yet, and not ignored",
            "the nearest is ALLOW or DENY",
        );
    }
    field.choice(&[
        ("ALLOW", PolicyAction::Allow),
        ("DENY", PolicyAction::Deny),
        ("AUDIT", PolicyAction::Audit),
    ])
}

fn rule(field: &Field<'_>, namespace: &str) -> Option<Rule> {
    let fields = field.fields(&RULE)?;
    let from = fields.or("from", Vec::new(), |list| {
        some_of(list, |item| {
            let source =
                item.fields(&FROM)?.require("source", "write `source:` and who may be the caller")?;
            self::source(&source, namespace)
        })
    });
    let to = fields.or("to", Vec::new(), |list| {
        some_of(list, |item| {
            operation(
                &item
                    .fields(&TO)?
                    .require("operation", "write `operation:` with `ports`, `methods`, `paths` or `hosts`")?,
            )
        })
    });
    let when = fields.or("when", Vec::new(), |list| some_of(list, |item| condition(item, namespace)));
    let mut rule = Rule { from: from?, to: to?, ..Rule::default() };
    for condition in when? {
        match condition {
            Condition::Source(it) => rule.when_sources.push(it),
            Condition::Operation(it) => rule.when_operations.push(it),
            Condition::Header(it) => rule.when_headers.push(it),
        }
    }
    Some(rule)
}

/// A list that is not empty: an empty one would match everything, which nobody means by it.
fn some_of<'a, T>(field: &Field<'a>, read: impl Fn(&Field<'a>) -> Option<T>) -> Option<Vec<T>> {
    let read = field.all(read)?;
    if read.is_empty() {
        return field.error(
            "an empty list matches nothing or everything, depending on who reads it",
            "leave it out, or write what shall match",
        );
    }
    Some(read)
}

fn list<'a, T>(fields: &Fields<'a>, key: &str, read: impl Fn(&Field<'a>) -> Option<T>) -> Option<Vec<T>> {
    fields.or(key, Vec::new(), |field| some_of(field, read))
}

fn source(field: &Field<'_>, namespace: &str) -> Option<Source> {
    let fields = field.fields(&SOURCE)?;
    let account = |it: &Field<'_>| service_account(it, namespace);
    let principals = list(&fields, "principals", principal);
    let not_principals = list(&fields, "notPrincipals", principal);
    let namespaces = list(&fields, "namespaces", string_match);
    let not_namespaces = list(&fields, "notNamespaces", string_match);
    let service_accounts = list(&fields, "serviceAccounts", account);
    let not_service_accounts = list(&fields, "notServiceAccounts", account);
    let ip_blocks = list(&fields, "ipBlocks", ip_block);
    let not_ip_blocks = list(&fields, "notIpBlocks", ip_block);
    let source = Source {
        principals: principals?,
        not_principals: not_principals?,
        namespaces: namespaces?,
        not_namespaces: not_namespaces?,
        service_accounts: service_accounts?,
        not_service_accounts: not_service_accounts?,
        ip_blocks: ip_blocks?,
        not_ip_blocks: not_ip_blocks?,
    };
    // A field that was refused is no empty source.
    if source == Source::default() && field.entries().is_some_and(|it| it.is_empty()) {
        return field.error("an empty source would match every caller", "leave `from` out if that is meant");
    }
    Some(source)
}

fn operation(field: &Field<'_>) -> Option<Operation> {
    let fields = field.fields(&OPERATION)?;
    let ports = list(&fields, "ports", port_text);
    let not_ports = list(&fields, "notPorts", port_text);
    let (methods, not_methods) = (list(&fields, "methods", method), list(&fields, "notMethods", method));
    let (paths, not_paths) = (list(&fields, "paths", path), list(&fields, "notPaths", path));
    let (hosts, not_hosts) = (list(&fields, "hosts", host), list(&fields, "notHosts", host));
    if field.entries().is_some_and(|it| it.is_empty()) {
        return field.error("an empty operation would match every port", "leave `to` out if that is meant");
    }
    Some(Operation {
        ports: ports?,
        not_ports: not_ports?,
        methods: methods?,
        not_methods: not_methods?,
        paths: paths?,
        not_paths: not_paths?,
        hosts: hosts?,
        not_hosts: not_hosts?,
    })
}

enum Condition {
    Source(Source),
    Operation(Operation),
    Header(HeaderCondition),
}

fn condition(field: &Field<'_>, namespace: &str) -> Option<Condition> {
    let fields = field.fields(&CONDITION)?;
    let key = fields.require("key", "write what is looked at, as source.ip")?;
    if fields.find("values").is_none() && fields.find("notValues").is_none() {
        return field.error("`values` is missing", "write `values` or `notValues`");
    }
    let account = |it: &Field<'_>| service_account(it, namespace);
    let condition = match key.text()? {
        "source.ip" => {
            let (ip_blocks, not_ip_blocks) = values(&fields, ip_block)?;
            Condition::Source(Source { ip_blocks, not_ip_blocks, ..Source::default() })
        }
        "source.namespace" => {
            let (namespaces, not_namespaces) = values(&fields, string_match)?;
            Condition::Source(Source { namespaces, not_namespaces, ..Source::default() })
        }
        "source.principal" => {
            let (principals, not_principals) = values(&fields, principal)?;
            Condition::Source(Source { principals, not_principals, ..Source::default() })
        }
        "source.serviceAccount" => {
            let (service_accounts, not_service_accounts) = values(&fields, account)?;
            Condition::Source(Source { service_accounts, not_service_accounts, ..Source::default() })
        }
        "destination.port" => {
            let (ports, not_ports) = values(&fields, port_text)?;
            Condition::Operation(Operation { ports, not_ports, ..Operation::default() })
        }
        other if other.starts_with("request.headers") => {
            let name = header_name(&key, other);
            let (values, not_values) = values(&fields, string_match)?;
            Condition::Header(HeaderCondition { name: name?, values, not_values })
        }
        other => return unknown_key(&key, other),
    };
    Some(condition)
}

fn values<'a, T>(fields: &Fields<'a>, read: impl Fn(&Field<'a>) -> Option<T>) -> Option<(Vec<T>, Vec<T>)> {
    let values = list(fields, "values", &read);
    let not_values = list(fields, "notValues", &read);
    Some((values?, not_values?))
}

const SUPPORTED: &str = "supported: source.ip, source.namespace, source.principal, source.serviceAccount, destination.port, request.headers[NAME]";

fn unknown_key<T>(key: &Field<'_>, text: &str) -> Option<T> {
    let (message, remedy) = match text {
        "remote.ip" => (
            "the layer-7 key `remote.ip` is not supported yet, and not ignored".to_owned(),
            "the nearest is source.ip",
        ),
        "destination.ip" => {
            ("the key `destination.ip` is not supported yet, and not ignored".to_owned(), USE_SELECTOR)
        }
        "connection.sni" => (
            "the key `connection.sni` is not supported yet, and not ignored".to_owned(),
            "the nearest is destination.port",
        ),
        it if it.starts_with("request.") || it.starts_with("experimental.") => {
            return unknown_request_key(key, it);
        }
        it => (format!("unknown key {}", shown(it)), SUPPORTED),
    };
    key.error(message, remedy)
}

/// Istio's `abc`, `abc*`, `*abc`, `*`.
fn string_match(field: &Field<'_>) -> Option<StringMatch> {
    let text = field.text()?;
    let (read, literal) = match text {
        "*" => return Some(StringMatch::Present),
        it => match (it.strip_prefix('*'), it.strip_suffix('*')) {
            (Some(end), _) => (StringMatch::Suffix(end.to_owned()), end),
            (None, Some(start)) => (StringMatch::Prefix(start.to_owned()), start),
            (None, None) => (StringMatch::Exact(it.to_owned()), it),
        },
    };
    if literal.is_empty() || literal.contains('*') {
        return field.error(
            format!("{} can't be matched", shown(text)),
            "write abc, abc*, *abc, or * for anything; one * at one end",
        );
    }
    Some(read)
}

/// An identity without its scheme.
fn principal(field: &Field<'_>) -> Option<StringMatch> {
    if let Some(rest) = field.text()?.strip_prefix("spiffe://") {
        return field.error("a principal is written without `spiffe://`", format!("write {}", shown(rest)));
    }
    string_match(field)
}

/// `name` or `namespace/name`.
fn service_account(field: &Field<'_>, namespace: &str) -> Option<ObjectName> {
    let text = field.text()?;
    let (namespace, name) = text.split_once('/').unwrap_or((namespace, text));
    if is_dns_label(namespace) && is_dns_subdomain(name) {
        return Some(ObjectName::new(namespace, name));
    }
    field.error(
        format!("{} is no service account", shown(text)),
        "write name or namespace/name; there are no wildcards here, use `principals` or `namespaces` for them",
    )
}

/// Istio has ports as text.
fn port_text(field: &Field<'_>) -> Option<u16> {
    if let Some(number) = field.number() {
        return field.error(
            format!("the port {number} is a number, but Istio has text here"),
            format!("write \"{number}\""),
        );
    }
    let text = field.text()?;
    match text.parse::<u16>() {
        Ok(port) if port > 0 && port.to_string() == text => Some(port),
        Ok(_) | Err(_) => {
            field.error(format!("{} is not a port", shown(text)), "write a number from 1 to 65535, in quotes")
        }
    }
}
