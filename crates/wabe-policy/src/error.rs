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
