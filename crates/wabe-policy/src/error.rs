//! Why policies can't be compiled.

use thiserror::Error;
use wabe_model::{AuthorizationPolicy, ObjectName, Operation, Rule, Source};

/// How many policies a message names.
const NAMED: usize = 5;

/// A workload's policies do not fit in the tables that the kernel reads.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CompileError {
    /// Too many combinations of classes.
    #[error(
        "too many combinations in {}: {callers} kinds of callers x {ports} kinds of ports x {addresses} kinds of source \
         addresses, of which {limit} fit: use the same ports and ipBlocks in more of the rules, or narrow selectors \
         so that fewer policies select one workload",
        named(policies)
    )]
    Combinations {
        /// The policies, those with the longest lists first.
        policies: Vec<ObjectName>,
        /// Classes of identities.
        callers: usize,
        /// Classes of ports.
        ports: usize,
        /// Classes of source addresses.
        addresses: usize,
        /// Combinations that fit.
        limit: usize,
    },
    /// Too many ports are named.
    #[error(
        "too many ports in {}: {ports} are named one by one, of which {limit} fit: say notPorts where nearly all are \
         meant, or narrow selectors so that fewer policies select one workload",
        named(policies)
    )]
    Ports {
        /// The policies, those with the longest lists first.
        policies: Vec<ObjectName>,
        /// Different ports.
        ports: usize,
        /// Ports that fit.
        limit: usize,
    },
    /// Too many address blocks are named.
    #[error(
        "too many ipBlocks in {}: {blocks} different ones, of which {limit} fit: join neighbouring blocks into wider \
         ones, or narrow selectors so that fewer policies select one workload",
        named(policies)
    )]
    Blocks {
        /// The policies, those with the longest lists first.
        policies: Vec<ObjectName>,
        /// Different blocks.
        blocks: usize,
        /// Blocks that fit.
        limit: usize,
    },
    /// The mesh has too many identities.
    #[error(
        "too many identities in the mesh: {identities}, of which a policy can tell {limit} apart: let more workloads \
         share a service account"
    )]
    Identities {
        /// Identities, strangers included.
        identities: usize,
        /// Identities that fit.
        limit: usize,
    },
}

/// The policies' names, those with the longest lists first: there it helps most to save.
pub(crate) fn by_length(policies: &[&AuthorizationPolicy]) -> Vec<ObjectName> {
    let mut sorted = policies.to_vec();
    sorted.sort_by_cached_key(|policy| {
        (std::cmp::Reverse(policy.rules.iter().map(rule_length).sum::<usize>()), policy.name.clone())
    });
    sorted.into_iter().map(|policy| policy.name.clone()).collect()
}

fn rule_length(rule: &Rule) -> usize {
    let sources = rule.from.iter().chain(&rule.when_sources).map(source_length);
    let operations = rule.to.iter().chain(&rule.when_operations).map(operation_length);
    sources.chain(operations).sum()
}

fn source_length(source: &Source) -> usize {
    source.principals.len()
        + source.not_principals.len()
        + source.namespaces.len()
        + source.not_namespaces.len()
        + source.service_accounts.len()
        + source.not_service_accounts.len()
        + source.ip_blocks.len()
        + source.not_ip_blocks.len()
}

fn operation_length(operation: &Operation) -> usize {
    operation.ports.len() + operation.not_ports.len()
}

fn named(policies: &[ObjectName]) -> String {
    let names: Vec<_> = policies.iter().take(NAMED).map(ToString::to_string).collect();
    let noun = if policies.len() == 1 { "policy" } else { "policies" };
    match policies.len().saturating_sub(NAMED) {
        0 => format!("{noun} {}", names.join(", ")),
        more => format!("{noun} {} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use wabe_model::StringMatch;

    use super::*;

    fn policy(name: &str, rule: Rule) -> AuthorizationPolicy {
        AuthorizationPolicy {
            name: ObjectName::new("shop", name),
            action: wabe_model::PolicyAction::Allow,
            selector: Default::default(),
            rules: vec![rule],
            dry_run: false,
        }
    }

    #[test]
    fn every_list_makes_a_policy_longer() {
        let strings = || vec![StringMatch::Present; 2];
        let accounts = || vec![ObjectName::new("shop", "web"); 2];
        let nets = || vec!["10.0.0.0/8".parse().expect("a block"); 2];
        let none = Source::default;
        let sources = [
            ("principals", Source { principals: strings(), ..none() }),
            ("notPrincipals", Source { not_principals: strings(), ..none() }),
            ("namespaces", Source { namespaces: strings(), ..none() }),
            ("notNamespaces", Source { not_namespaces: strings(), ..none() }),
            ("serviceAccounts", Source { service_accounts: accounts(), ..none() }),
            ("notServiceAccounts", Source { not_service_accounts: accounts(), ..none() }),
            ("ipBlocks", Source { ip_blocks: nets(), ..none() }),
            ("notIpBlocks", Source { not_ip_blocks: nets(), ..none() }),
        ];
        let sources = sources.map(|(list, it)| (list, Rule { from: vec![it], ..Rule::default() }));
        let operations = [
            ("ports", Operation { ports: vec![1, 2], ..Operation::default() }),
            ("notPorts", Operation { not_ports: vec![1, 2], ..Operation::default() }),
        ];
        let operations = operations.map(|(list, it)| (list, Rule { to: vec![it], ..Rule::default() }));
        let one_port = Operation { ports: vec![1], ..Operation::default() };
        let shorter = policy("a", Rule { to: vec![one_port], ..Rule::default() });
        for (list, rule) in sources.into_iter().chain(operations) {
            let longer = policy("z", rule);
            let names = by_length(&[&shorter, &longer]);
            assert_eq!(names, [longer.name.clone(), shorter.name.clone()], "{list}");
        }
    }
}
