//! Compiled tables looked up by the very code that the kernel runs.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use wabe_abi::{
    Action, Affinity, AffinityKey, Be16, ClassKey, Config, DropReason, EndpointKey, EndpointRecord, Exchange,
    Ip, PolicyVerdict, PortKey, PrefixKey, ServiceKey, ServiceRecord, Ticket, Tuple, VerdictKey,
    WorkloadRecord,
};
use wabe_model::{AuthorizationPolicy, Identity};
use wabe_policy::{CompiledPolicy, Decision, Evaluation, ROW_LIMIT, RuleRef, Traffic, compile};
use wabe_verdict::{Authorization, Row, Tables, authorize};

/// The table id under which everything is entered.
const TABLE: u32 = 7;

/// The maps of the kernel, of which only policy's have rows.
pub(crate) struct Kernel {
    identities: HashMap<ClassKey, u32>,
    ports: HashMap<PortKey, u32>,
    prefixes: Vec<(PrefixKey, u32)>,
    verdicts: HashMap<VerdictKey, PolicyVerdict>,
    /// Rule number - 1 -> rule.
    rules: Vec<RuleRef>,
}

impl Kernel {
    /// Compiles policies and enters their tables.
    pub(crate) fn new(
        policies: &[&AuthorizationPolicy],
        traffic: Traffic,
        identities: &BTreeMap<u32, Identity>,
    ) -> Self {
        let mut rules = Vec::new();
        let mut number = |rule: &RuleRef| {
            rules.push(rule.clone());
            rules.len() as u32
        };
        let compiled = compile(policies, traffic, identities, &mut number, ROW_LIMIT).expect("fits");
        Self::loaded(&compiled, rules)
    }

    fn loaded(compiled: &CompiledPolicy, rules: Vec<RuleRef>) -> Self {
        Self {
            identities: compiled.identity_rows(TABLE).collect(),
            ports: compiled.port_rows(TABLE).collect(),
            prefixes: compiled.prefix_rows(TABLE).collect(),
            verdicts: compiled.verdict_rows(TABLE).collect(),
            rules,
        }
    }

    /// What the kernel would say, in the interpreter's terms.
    pub(crate) fn evaluation(&self, identity: u32, source: IpAddr, port: u16) -> Evaluation {
        let outcome = authorize(self, TABLE, identity, &Ip::from(source), Be16::new(port));
        let dry_run = Action::from_number(outcome.dry_run_action)
            .map(|action| Decision { action, rule: self.rule(outcome.dry_run_rule) });
        assert!(
            dry_run.is_some() || (outcome.dry_run_action, outcome.dry_run_rule) == (0, 0),
            "a dry-run rule without an action"
        );
        Evaluation {
            decision: Decision { action: action(&outcome), rule: self.rule(outcome.rule) },
            audit_rule: self.rule(outcome.audit_rule),
            dry_run,
        }
    }

    fn rule(&self, number: u32) -> Option<RuleRef> {
        Some(self.rules[number.checked_sub(1)? as usize].clone())
    }
}

fn action(outcome: &Authorization) -> Action {
    match outcome.refusal {
        None => Action::Allow,
        Some(DropReason::PolicyDeny) => Action::Deny,
        Some(DropReason::PolicyNoMatch) => Action::NoMatch,
        Some(DropReason::Stranger) => Action::Stranger,
        Some(other) => panic!("the tables are incomplete: {other:?}"),
    }
}

/// A trie key's bytes: table in the machine's order, address in the network's.
fn bytes(key: &PrefixKey) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&key.table.to_ne_bytes());
    for (chunk, word) in bytes[4..].chunks_exact_mut(4).zip(key.address.words) {
        chunk.copy_from_slice(&word.network().to_ne_bytes());
    }
    bytes
}

/// Whether an entry's first `bits` bits are those of the key, as the kernel's `lpm_trie.c` compares them.
fn covers(entry: &PrefixKey, key: &PrefixKey) -> bool {
    let (entry_bytes, key_bytes) = (bytes(entry), bytes(key));
    (0..entry.bits.min(key.bits) as usize)
        .all(|bit| (entry_bytes[bit / 8] ^ key_bytes[bit / 8]) >> (7 - bit % 8) & 1 == 0)
        && entry.bits <= key.bits
}

impl Tables for Kernel {
    type Row<T: Copy + 'static> = Row<T>;

    fn identity_class(&self, key: &ClassKey) -> Option<u32> {
        self.identities.get(key).copied()
    }
    fn port_class(&self, key: &PortKey) -> Option<u32> {
        self.ports.get(key).copied()
    }
    fn prefix_class(&self, key: &PrefixKey) -> Option<u32> {
        let covering = self.prefixes.iter().filter(|(entry, _)| covers(entry, key));
        covering.max_by_key(|(entry, _)| entry.bits).map(|(_, class)| *class)
    }
    fn verdict(&self, key: &VerdictKey) -> Option<Row<PolicyVerdict>> {
        self.verdicts.get(key).copied().map(Row)
    }

    fn config(&self) -> Option<Row<Config>> {
        None
    }
    fn workload(&self, _: u32) -> Option<Row<WorkloadRecord>> {
        None
    }
    fn workload_at(&self, _: &Ip) -> Option<u32> {
        None
    }
    fn service(&self, _: &ServiceKey) -> Option<Row<ServiceRecord>> {
        None
    }
    fn endpoint(&self, _: &EndpointKey) -> Option<Row<EndpointRecord>> {
        None
    }
    fn live(&self, _: u32) -> u64 {
        0
    }
    fn affinity(&self, _: &AffinityKey) -> Option<Row<Affinity>> {
        None
    }
    fn stay(&self, _: &AffinityKey, _: &Affinity) {}
    fn now(&self) -> u64 {
        0
    }
    fn turn(&self, _: u32) -> u64 {
        0
    }
    fn ticket(&self, _: &Tuple) -> Option<Row<Ticket>> {
        None
    }
    fn tickets_of(&self, _: u32) -> u64 {
        0
    }
    fn exchange(&self, _: &Tuple) -> Option<Row<Exchange>> {
        None
    }
    fn exchanges_of(&self, _: u32) -> u64 {
        0
    }
    fn connections(&self) -> u64 {
        0
    }
    fn random(&self) -> u32 {
        0
    }
}
