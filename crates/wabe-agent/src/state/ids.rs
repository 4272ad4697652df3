//! Numbers for names: what the kernel's tables use instead of strings. A number never changes its meaning while
//! anything may still refer to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};
use wabe_abi::maps::MAX_WORKLOADS;
use wabe_model::{Identity, ObjectName};

/// Every number in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ids {
    /// Principal -> identity, from 1; 0 is the stranger. Never used again.
    identities: BTreeMap<String, u32>,
    /// `namespace/name` -> service, from 1. The lowest free number, as it indexes a table.
    services: BTreeMap<String, u32>,
    /// Rule -> number, from 1. Never used again: reports of flows may still name it.
    rules: BTreeMap<String, u32>,
    /// The highest rule ever numbered.
    last_rule: u32,
    /// The instance number that was given last; the search for a free one goes on from there.
    last_instance: u32,
    /// `namespace/name` of services -> the addresses that were chosen for them.
    addresses: BTreeMap<String, ServiceAddresses>,
}

/// A service's virtual addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAddresses {
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl ServiceAddresses {
    /// Those that there are, IPv4 first.
    pub fn list(&self) -> Vec<IpAddr> {
        [self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6)].into_iter().flatten().collect()
    }
}

impl Ids {
    /// The number of an identity; a new one if it has none.
    pub fn identity(&mut self, identity: &Identity) -> u32 {
        let next = self.identities.len() as u32 + 1;
        *self.identities.entry(identity.principal()).or_insert(next)
    }

    /// Principals by number.
    pub fn identities(&self) -> impl Iterator<Item = (u32, &str)> {
        self.identities.iter().map(|(principal, id)| (*id, principal.as_str()))
    }

    /// The number of a service; a new one if it has none.
    pub fn service(&mut self, name: &ObjectName) -> u32 {
        let key = name.to_string();
        if !self.services.contains_key(&key) {
            self.number_services([name]);
        }
        self.services[&key]
    }

    /// Numbers those of these services that have none; all at once, as there may be thousands.
    pub fn number_services<'a>(&mut self, names: impl IntoIterator<Item = &'a ObjectName>) {
        let names = names.into_iter().map(ToString::to_string);
        let new: Vec<String> = names.filter(|name| !self.services.contains_key(name)).collect();
        if new.is_empty() {
            return;
        }
        let used: BTreeSet<u32> = self.services.values().copied().collect();
        let free = (1..=u32::MAX).filter(|id| !used.contains(id));
        self.services.extend(new.into_iter().zip(free));
    }

    /// Services' names by number.
    pub fn services(&self) -> impl Iterator<Item = (u32, &str)> {
        self.services.iter().map(|(name, id)| (*id, name.as_str()))
    }

    /// The number of a rule; a new one if it has none.
    pub fn rule(&mut self, rule: &str) -> u32 {
        if let Some(id) = self.rules.get(rule) {
            return *id;
        }
        self.last_rule += 1;
        self.rules.insert(rule.to_owned(), self.last_rule);
        self.last_rule
    }

    /// Rules by number.
    pub fn rules(&self) -> impl Iterator<Item = (u32, &str)> {
        self.rules.iter().map(|(rule, id)| (*id, rule.as_str()))
    }

    /// A number for a new instance that `used` does not name, from 1; `None` if all are taken. Numbers that became
    /// free come last, so that what still refers to one has time to forget it.
    pub fn instance(&mut self, used: impl Fn(u32) -> bool) -> Option<u32> {
        let count = MAX_WORKLOADS - 1;
        let next = (0..count).map(|step| (self.last_instance + step) % count + 1).find(|id| !used(*id))?;
        self.last_instance = next;
        Some(next)
    }

    /// The addresses that were chosen for a service.
    pub fn addresses_of(&self, service: &ObjectName) -> ServiceAddresses {
        self.addresses.get(&service.to_string()).copied().unwrap_or_default()
    }

    /// Remembers the addresses chosen for a service.
    pub(crate) fn set_addresses(&mut self, service: &ObjectName, addresses: ServiceAddresses) {
        self.addresses.insert(service.to_string(), addresses);
    }

    /// Forgets services and rules that are gone.
    pub fn retain(&mut self, service: impl Fn(&str) -> bool, rule: impl Fn(&str) -> bool) {
        self.services.retain(|name, _| service(name));
        self.addresses.retain(|name, _| service(name));
        self.rules.retain(|name, _| rule(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_start_at_one() {
        let mut ids = Ids::default();
        let identity = |account: &str| Identity {
            trust_domain: "cluster.local".into(),
            namespace: "shop".into(),
            service_account: account.into(),
        };
        assert_eq!(ids.identity(&identity("a")), 1);
        assert_eq!(ids.identity(&identity("b")), 2);
        assert_eq!(ids.identity(&identity("a")), 1);
        assert_eq!(ids.rule("x"), 1);
        ids.retain(|_| true, |rule| rule != "x");
        assert_eq!(ids.rule("y"), 2, "a rule's number is not used again");
    }

    #[test]
    fn a_service_takes_the_lowest_free_number() {
        let mut ids = Ids::default();
        for name in ["a", "b", "c"] {
            ids.service(&ObjectName::new("shop", name));
        }
        ids.retain(|name| name != "shop/b", |_| true);
        assert_eq!(ids.service(&ObjectName::new("shop", "d")), 2);
        assert_eq!(ids.service(&ObjectName::new("shop", "c")), 3);
        ids.retain(|name| name != "shop/a", |_| true);
        let names = ["c", "e", "f"].map(|it| ObjectName::new("shop", it));
        ids.number_services(&names);
        assert_eq!(names.map(|it| ids.service(&it)), [3, 1, 4]);
    }

    #[test]
    fn an_instance_number_is_used_again_as_late_as_possible() {
        let mut ids = Ids::default();
        assert_eq!(ids.instance(|_| false), Some(1));
        assert_eq!(ids.instance(|_| false), Some(2));
        assert_eq!(ids.instance(|id| id != 1 && id != 4095), Some(4095));
        assert_eq!(ids.instance(|id| id == 1), Some(2));
        assert_eq!(ids.instance(|_| true), None);
    }
}
