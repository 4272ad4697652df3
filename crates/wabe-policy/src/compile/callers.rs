//! Classes of callers: what is left to demand of the address once it is known who calls.

use std::{
    collections::{BTreeMap, HashMap},
    iter,
};

use wabe_abi::STRANGER;
use wabe_model::{Identity, ObjectName, PolicyAction, Source, StringMatch};

use super::{
    Bits, FlatRule,
    addresses::{ANYWHERE, Addresses},
    intern,
};

/// Classes of callers before merging.
pub(super) struct Callers {
    /// Class 0 is that of strangers.
    pub(super) classes: Vec<CallerClass>,
    /// Identity -> class.
    pub(super) of_identity: BTreeMap<u32, usize>,
}

/// Callers for whom each rule makes the same demands on the address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct CallerClass {
    /// Whether these are callers without identity.
    pub(super) stranger: bool,
    demands: Vec<Demand>,
}

/// What a rule demands of the address, by the numbers of [`Addresses::demand`].
#[derive(Clone, PartialEq, Eq, Hash)]
enum Demand {
    /// It does not match whatever the address is.
    Unmet,
    /// One of `any` (if there are any) and all of `all`.
    Address { any: Vec<usize>, all: Vec<usize> },
}

impl Callers {
    pub(super) fn new(
        rules: &[FlatRule<'_>],
        addresses: &Addresses,
        identities: &BTreeMap<u32, Identity>,
    ) -> Self {
        let numbered: Vec<_> = rules.iter().map(|rule| NumberedRule::new(rule, addresses)).collect();
        let known = identities.iter().filter(|(id, _)| **id != STRANGER);
        let callers = iter::once((STRANGER, Caller::stranger()))
            .chain(known.map(|(id, identity)| (*id, Caller::of(identity))));

        let (mut classes, mut numbers) = (Vec::new(), HashMap::new());
        let of_identity = callers
            .map(|(id, caller)| {
                let demands = numbered.iter().map(|rule| rule.demand(&caller)).collect();
                let class = CallerClass { stranger: caller.account.is_none(), demands };
                (id, intern(&mut classes, &mut numbers, class))
            })
            .collect();
        Self { classes, of_identity }
    }

    /// How many identities there are, strangers included.
    pub(super) fn identities(&self) -> usize {
        self.of_identity.len()
    }
}

impl CallerClass {
    /// The rules whose demands on caller and address are met by an address that meets `met`.
    pub(super) fn matching(&self, met: &Bits) -> Bits {
        let mut matching = Bits::none(self.demands.len());
        for (number, demand) in self.demands.iter().enumerate() {
            let is_met = match demand {
                Demand::Unmet => false,
                Demand::Address { any, all } => {
                    (any.is_empty() || any.iter().any(|one| met.contains(*one)))
                        && all.iter().all(|one| met.contains(*one))
                }
            };
            if is_met {
                matching.insert(number);
            }
        }
        matching
    }
}

/// Strangers have empty names and no account.
struct Caller {
    principal: String,
    namespace: String,
    account: Option<ObjectName>,
}

impl Caller {
    fn stranger() -> Self {
        Self { principal: String::new(), namespace: String::new(), account: None }
    }

    fn of(identity: &Identity) -> Self {
        Self {
            principal: identity.principal(),
            namespace: identity.namespace.clone(),
            account: Some(ObjectName::new(&identity.namespace, &identity.service_account)),
        }
    }

    /// Whether the caller is as a source wants it, its address left aside.
    fn meets(&self, source: &Source) -> bool {
        wanted(&source.principals, |it| it.matches(&self.principal))
            && unwanted(&source.not_principals, |it| it.matches(&self.principal))
            && wanted(&source.namespaces, |it| it.matches(&self.namespace))
            && unwanted(&source.not_namespaces, |it: &StringMatch| it.matches(&self.namespace))
            && wanted(&source.service_accounts, |it| self.account.as_ref() == Some(it))
            && unwanted(&source.not_service_accounts, |it| self.account.as_ref() == Some(it))
    }
}

fn wanted<T>(list: &[T], matches: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(matches)
}

fn unwanted<T>(list: &[T], matches: impl Fn(&T) -> bool) -> bool {
    !list.iter().any(matches)
}

/// A rule's sources with the numbers of their demands on the address.
struct NumberedRule<'a> {
    admits: bool,
    from: Vec<(&'a Source, usize)>,
    when: Vec<(&'a Source, usize)>,
}

impl<'a> NumberedRule<'a> {
    fn new(rule: &FlatRule<'a>, addresses: &Addresses) -> Self {
        let numbered =
            |sources: &'a [Source]| sources.iter().map(|source| (source, addresses.demand(source))).collect();
        Self {
            admits: match rule.action {
                PolicyAction::Allow => true,
                PolicyAction::Deny | PolicyAction::Audit => false,
            },
            from: numbered(&rule.rule.from),
            when: numbered(&rule.rule.when_sources),
        }
    }

    fn demand(&self, caller: &Caller) -> Demand {
        if !self.when.iter().all(|(source, _)| caller.meets(source)) {
            return Demand::Unmet;
        }
        // A stranger is admitted for its address only: alternatives that name none do not count for it.
        let by_when = self.when.iter().any(|(source, _)| !source.ip_blocks.is_empty());
        let needs_block = self.admits && caller.account.is_none() && !by_when;
        let met = self
            .from
            .iter()
            .filter(|(source, _)| caller.meets(source) && !(needs_block && source.ip_blocks.is_empty()));
        let mut any: Vec<_> = met.map(|(_, number)| *number).collect();
        if any.is_empty() && (needs_block || !self.from.is_empty()) {
            return Demand::Unmet;
        }
        if any.contains(&ANYWHERE) {
            any.clear();
        }
        any.sort_unstable();
        any.dedup();
        let mut all: Vec<_> =
            self.when.iter().map(|(_, number)| *number).filter(|number| *number != ANYWHERE).collect();
        all.sort_unstable();
        all.dedup();
        Demand::Address { any, all }
    }
}
