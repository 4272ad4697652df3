//! The specification: policies interpreted as they are written, without any cleverness.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use wabe_abi::Action;
use wabe_model::{
    AuthorizationPolicy, Identity, ObjectName, Operation, PolicyAction, Rule, Source, StringMatch,
};

use crate::{RuleRef, Traffic};

/// What policies say of a caller.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// What is in force.
    pub decision: Decision,
    /// The first AUDIT rule that matches.
    pub audit_rule: Option<RuleRef>,
    /// What it would be if dry-run policies were in force too; `None` if there are none.
    pub dry_run: Option<Decision>,
}

/// An action and the rule that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens.
    pub action: Action,
    /// The rule; `None` where no rule matched.
    pub rule: Option<RuleRef>,
}

/// Judges a caller by the policies that select a workload. Where several rules match, the first decides, in the order
/// given.
///
/// `identity` is `None` for a stranger. An IPv4-mapped `source` is the IPv4 address. Of rules that look at requests it knows
/// what the kernel does.
pub fn evaluate(
    policies: &[&AuthorizationPolicy],
    traffic: Traffic,
    identity: Option<&Identity>,
    source: IpAddr,
    port: u16,
) -> Evaluation {
    let caller = Caller {
        principal: identity.map(Identity::principal).unwrap_or_default(),
        namespace: identity.map(|it| it.namespace.clone()).unwrap_or_default(),
        account: identity.map(|it| ObjectName::new(&it.namespace, &it.service_account)),
        address: source.to_canonical(),
        port,
        traffic,
    };
    let enforced: Vec<_> = policies.iter().copied().filter(|policy| !policy.dry_run).collect();
    Evaluation {
        decision: decide(&enforced, &caller),
        audit_rule: first(&enforced, &caller, PolicyAction::Audit, |rule| matches(rule, &caller)),
        dry_run: policies.iter().any(|policy| policy.dry_run).then(|| decide(policies, &caller)),
    }
}

/// A caller without identity has empty names and no account.
struct Caller {
    principal: String,
    namespace: String,
    account: Option<ObjectName>,
    address: IpAddr,
    port: u16,
    traffic: Traffic,
}

fn decide(policies: &[&AuthorizationPolicy], caller: &Caller) -> Decision {
    let deny = first(policies, caller, PolicyAction::Deny, |rule| matches(rule, caller));
    if deny.is_some() {
        return Decision { action: Action::Deny, rule: deny };
    }
    if caller.account.is_none() {
        let allow = first(policies, caller, PolicyAction::Allow, |rule| matches_by_address(rule, caller));
        let action = if allow.is_some() { Action::Allow } else { Action::Stranger };
        return Decision { action, rule: allow };
    }
    if policies.iter().all(|policy| policy.action != PolicyAction::Allow) {
        return Decision { action: Action::Allow, rule: None };
    }
    let allow = first(policies, caller, PolicyAction::Allow, |rule| matches(rule, caller));
    let action = if allow.is_some() { Action::Allow } else { Action::NoMatch };
    Decision { action, rule: allow }
}

fn first(
    policies: &[&AuthorizationPolicy],
    caller: &Caller,
    action: PolicyAction,
    matches: impl Fn(&Rule) -> bool,
) -> Option<RuleRef> {
    policies.iter().filter(|policy| policy.action == action).find_map(|policy| {
        let matches = |rule: &Rule| !caller.traffic.leaves_out(action, rule) && matches(rule);
        let index = policy.rules.iter().position(matches)?;
        Some(RuleRef { policy: policy.name.clone(), index })
    })
}

fn matches(rule: &Rule, caller: &Caller) -> bool {
    (rule.from.is_empty() || rule.from.iter().any(|source| source_matches(source, caller)))
        && (rule.to.is_empty() || rule.to.iter().any(|operation| operation_matches(operation, caller)))
        && rule.when_sources.iter().all(|source| source_matches(source, caller))
        && rule.when_operations.iter().all(|operation| operation_matches(operation, caller))
}

/// Whether the rule matches because it names the caller's address.
fn matches_by_address(rule: &Rule, caller: &Caller) -> bool {
    let by_from =
        rule.from.iter().any(|source| !source.ip_blocks.is_empty() && source_matches(source, caller));
    let by_when = rule.when_sources.iter().any(|source| !source.ip_blocks.is_empty());
    matches(rule, caller) && (by_from || by_when)
}

fn source_matches(source: &Source, caller: &Caller) -> bool {
    let any = |list: &[StringMatch], text: &str| list.iter().any(|entry| entry.matches(text));
    let account = |list: &[ObjectName]| caller.account.as_ref().is_some_and(|it| list.contains(it));
    let block = |list: &[IpNet]| list.iter().any(|net| contains(net, caller.address));

    (source.principals.is_empty() || any(&source.principals, &caller.principal))
        && (source.namespaces.is_empty() || any(&source.namespaces, &caller.namespace))
        && (source.service_accounts.is_empty() || account(&source.service_accounts))
        && (source.ip_blocks.is_empty() || block(&source.ip_blocks))
        && !any(&source.not_principals, &caller.principal)
        && !any(&source.not_namespaces, &caller.namespace)
        && !account(&source.not_service_accounts)
        && !block(&source.not_ip_blocks)
}

fn operation_matches(operation: &Operation, caller: &Caller) -> bool {
    (operation.ports.is_empty() || operation.ports.contains(&caller.port))
        && !operation.not_ports.contains(&caller.port)
}

/// Families are never mixed; a block written as IPv4-mapped is the IPv4 block.
pub(crate) fn contains(net: &IpNet, address: IpAddr) -> bool {
    match (net, address) {
        (IpNet::V4(net), IpAddr::V4(address)) => net.contains(&address),
        (IpNet::V6(net), IpAddr::V6(address)) => net.contains(&address),
        (IpNet::V6(net), IpAddr::V4(address)) => net
            .addr()
            .to_ipv4_mapped()
            .filter(|_| net.prefix_len() >= 96)
            .is_some_and(|mapped| ipv4_net(mapped, net.prefix_len() - 96).contains(&address)),
        (IpNet::V4(_), IpAddr::V6(_)) => false,
    }
}

fn ipv4_net(address: Ipv4Addr, length: u8) -> Ipv4Net {
    Ipv4Net::new(address, length).expect("invariant: a prefix length of at most 128 less 96 is at most 32")
}
