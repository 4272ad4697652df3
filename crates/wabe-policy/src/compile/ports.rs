//! Classes of ports.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wabe_model::{Operation, Rule};

use super::{Bits, FlatRule, intern};

/// Classes of ports before merging.
pub(super) struct Ports {
    /// The rules whose demands on the port are met. Class 0 is that of a port that no rule names.
    pub(super) classes: Vec<Bits>,
    /// Port -> class, of ports that rules name.
    pub(super) of_port: BTreeMap<u16, usize>,
}

impl Ports {
    pub(super) fn new(rules: &[FlatRule<'_>]) -> Self {
        // A rule can treat only those ports differently that it names itself.
        let mut unnamed = Bits::none(rules.len());
        let mut differing: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (number, FlatRule { rule, .. }) in rules.iter().enumerate() {
            let otherwise = matches(rule, None);
            if otherwise {
                unnamed.insert(number);
            }
            for port in named(rule) {
                let differs = differing.entry(port).or_default();
                if matches(rule, Some(port)) != otherwise {
                    differs.push(number);
                }
            }
        }

        let (mut patterns, mut numbers) = (Vec::new(), HashMap::new());
        intern(&mut patterns, &mut numbers, Vec::new());
        let of_port = differing
            .into_iter()
            .map(|(port, differs)| (port, intern(&mut patterns, &mut numbers, differs)))
            .collect();
        let classes = patterns.iter().map(|differs| {
            let mut met = unnamed.clone();
            differs.iter().for_each(|number| met.toggle(*number));
            met
        });
        Self { classes: classes.collect(), of_port }
    }

    /// How many different ports the rules name.
    pub(super) fn named(&self) -> usize {
        self.of_port.len()
    }
}

fn named(rule: &Rule) -> BTreeSet<u16> {
    let operations = rule.to.iter().chain(&rule.when_operations);
    operations.flat_map(|operation| operation.ports.iter().chain(&operation.not_ports)).copied().collect()
}

/// Whether a rule's demands on the port are met; `None` is a port that it does not name.
fn matches(rule: &Rule, port: Option<u16>) -> bool {
    let met = |operation: &Operation| {
        let is_in = |list: &[u16]| port.is_some_and(|port| list.contains(&port));
        (operation.ports.is_empty() || is_in(&operation.ports)) && !is_in(&operation.not_ports)
    };
    (rule.to.is_empty() || rule.to.iter().any(met)) && rule.when_operations.iter().all(met)
}
