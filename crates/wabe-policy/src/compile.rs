//! From policies to tables. The crate's head comment has the scheme.

mod addresses;
mod bits;
mod callers;
mod ports;
mod product;
mod verdict;

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use wabe_model::{AuthorizationPolicy, Identity, PolicyAction, Rule};

use crate::{CompileError, CompiledPolicy, RuleRef, Traffic, error::by_length};
use addresses::Addresses;
use bits::Bits;
use callers::Callers;
use ports::Ports;
use product::Product;
use verdict::Judge;

/// Most rows that a compiled policy may have in any of the kernel's maps: classes are 16-bit numbers.
pub const ROW_LIMIT: usize = 65_536;

/// Work, relative to the limit, that is spent on classes that may turn out to be one: combinations of classes before
/// they are merged, times words of rules. Keeps hostile policies below a second and some 20 MB.
const EFFORT: usize = 64;

/// Compiles the policies that select a workload, in the order in which their rules decide, for one kind of traffic.
///
/// `identities` are all those of the mesh; [`wabe_abi::STRANGER`] is always a stranger, whatever stands there for it.
/// `rule_id` is asked once for each rule, in order, and must answer with a number other than 0. `limit` is the largest
/// number of rows in any of the four maps, at most [`ROW_LIMIT`].
///
/// # Errors
/// If it does not fit; the message names the policies and what helps.
pub fn compile(
    policies: &[&AuthorizationPolicy],
    traffic: Traffic,
    identities: &BTreeMap<u32, Identity>,
    rule_id: &mut dyn FnMut(&RuleRef) -> u32,
    limit: usize,
) -> Result<CompiledPolicy, CompileError> {
    let limit = limit.min(ROW_LIMIT);
    let names = || by_length(policies);
    let rules = flatten(policies, traffic, rule_id);

    let addresses = Addresses::new(&rules);
    if addresses.blocks() > limit {
        return Err(CompileError::Blocks { policies: names(), blocks: addresses.blocks(), limit });
    }
    let ports = Ports::new(&rules);
    if ports.named() > limit {
        return Err(CompileError::Ports { policies: names(), ports: ports.named(), limit });
    }
    let callers = Callers::new(&rules, &addresses, identities);
    if callers.identities() > limit {
        return Err(CompileError::Identities { identities: callers.identities(), limit });
    }
    let prefixes = addresses.classes();

    let sizes = [callers.classes.len(), ports.classes.len(), prefixes.classes.len()];
    let too_many = |[callers, ports, addresses]: [usize; 3]| CompileError::Combinations {
        policies: names(),
        callers,
        ports,
        addresses,
        limit,
    };
    let effort = rows(sizes).saturating_mul(Bits::words_for(rules.len()));
    if effort > limit.saturating_mul(EFFORT) {
        return Err(too_many(sizes));
    }

    let judge = Judge::new(policies, &rules);
    let product = Product::new(&callers, &ports, &prefixes, &judge);
    let merged = product.merge();
    if rows(merged.sizes()) > limit {
        return Err(too_many(merged.sizes()));
    }
    let [callers_after, ports_after, prefixes_after] = merged.axes.each_ref().map(|axis| &axis.map);
    let identity_classes = callers.of_identity.iter().map(|(id, old)| (*id, class(callers_after[*old])));
    let port_classes = ports.of_port.iter().map(|(port, old)| (*port, class(ports_after[*old])));
    Ok(CompiledPolicy {
        identity_classes: identity_classes.collect(),
        port_classes: port_classes.filter(|(_, class)| *class != 0).collect(),
        prefix_classes: prefixes.trie(|old| class(prefixes_after[old])),
        verdicts: merged.verdicts().map(|(classes, verdict)| (classes.map(class).into(), verdict)).collect(),
    })
}

/// A rule with what its policy says about it.
struct FlatRule<'a> {
    id: u32,
    action: PolicyAction,
    dry_run: bool,
    rule: &'a Rule,
}

fn flatten<'a>(
    policies: &[&'a AuthorizationPolicy],
    traffic: Traffic,
    rule_id: &mut dyn FnMut(&RuleRef) -> u32,
) -> Vec<FlatRule<'a>> {
    let mut rules = Vec::new();
    for policy in policies {
        for (index, rule) in policy.rules.iter().enumerate() {
            let id = rule_id(&RuleRef { policy: policy.name.clone(), index });
            if !traffic.leaves_out(policy.action, rule) {
                rules.push(FlatRule { id, action: policy.action, dry_run: policy.dry_run, rule });
            }
        }
    }
    rules
}

fn rows(sizes: [usize; 3]) -> usize {
    sizes.into_iter().fold(1, usize::saturating_mul)
}

fn class(index: usize) -> u16 {
    u16::try_from(index).expect("invariant: a table that was within ROW_LIMIT has no more classes than that")
}

/// The number of an item in a list without doubles, adding it if it is not there.
fn intern<T: Clone + Eq + Hash>(items: &mut Vec<T>, numbers: &mut HashMap<T, usize>, item: T) -> usize {
    *numbers.entry(item).or_insert_with_key(|item| {
        items.push(item.clone());
        items.len() - 1
    })
}
