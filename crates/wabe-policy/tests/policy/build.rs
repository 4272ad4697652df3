//! Short ways to write policies.

use std::collections::BTreeMap;

use ipnet::IpNet;
use wabe_model::{
    AuthorizationPolicy, Identity, ObjectName, Operation, PolicyAction, Rule, Source, StringMatch,
};

pub(crate) fn allow(name: &str, rules: Vec<Rule>) -> AuthorizationPolicy {
    policy(PolicyAction::Allow, name, rules)
}

pub(crate) fn deny(name: &str, rules: Vec<Rule>) -> AuthorizationPolicy {
    policy(PolicyAction::Deny, name, rules)
}

pub(crate) fn audit(name: &str, rules: Vec<Rule>) -> AuthorizationPolicy {
    policy(PolicyAction::Audit, name, rules)
}

pub(crate) fn dry_run(policy: AuthorizationPolicy) -> AuthorizationPolicy {
    AuthorizationPolicy { dry_run: true, ..policy }
}

pub(crate) fn policy(action: PolicyAction, name: &str, rules: Vec<Rule>) -> AuthorizationPolicy {
    let name = ObjectName::new("shop", name);
    AuthorizationPolicy { name, action, selector: BTreeMap::new(), rules, dry_run: false }
}

/// A rule that matches everything.
pub(crate) fn any() -> Rule {
    Rule::default()
}

pub(crate) fn from(source: Source) -> Rule {
    Rule { from: vec![source], ..Rule::default() }
}

pub(crate) fn to(operation: Operation) -> Rule {
    Rule { to: vec![operation], ..Rule::default() }
}

pub(crate) fn ports(ports: &[u16]) -> Operation {
    Operation { ports: ports.to_vec(), ..Operation::default() }
}

pub(crate) fn not_ports(ports: &[u16]) -> Operation {
    Operation { not_ports: ports.to_vec(), ..Operation::default() }
}

pub(crate) fn namespaces(patterns: &[&str]) -> Source {
    Source { namespaces: strings(patterns), ..Source::default() }
}

pub(crate) fn principals(patterns: &[&str]) -> Source {
    Source { principals: strings(patterns), ..Source::default() }
}

pub(crate) fn blocks(texts: &[&str]) -> Source {
    Source { ip_blocks: nets(texts), ..Source::default() }
}

pub(crate) fn strings(patterns: &[&str]) -> Vec<StringMatch> {
    patterns.iter().map(|pattern| string(pattern)).collect()
}

pub(crate) fn string(pattern: &str) -> StringMatch {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => StringMatch::Present,
        (Some(suffix), _) => StringMatch::Suffix(suffix.to_owned()),
        (None, Some(prefix)) => StringMatch::Prefix(prefix.to_owned()),
        (None, None) => StringMatch::Exact(pattern.to_owned()),
    }
}

pub(crate) fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("a test's block")).collect()
}

/// From `namespace/account`.
pub(crate) fn account(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').expect("a test's account");
    ObjectName::new(namespace, name)
}

/// From `namespace/account`, in the trust domain `cluster.local`.
pub(crate) fn identity(text: &str) -> Identity {
    let name = account(text);
    Identity {
        trust_domain: "cluster.local".to_owned(),
        namespace: name.namespace,
        service_account: name.name,
    }
}
