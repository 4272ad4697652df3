//! Near endpoints first: each of the callers' localities gets the nearest level that has endpoints.

use std::collections::{BTreeMap, BTreeSet};

use wabe_abi::{ServiceKey, service_flag};
use wabe_model::{Failover, Locality};

use crate::snapshot::{Desired, DesiredService};

/// Numbers from 1 for all localities that workloads have, at most 255; those beyond, and the unknown one, are 0.
pub(crate) fn numbers(known: impl Iterator<Item = Locality>) -> BTreeMap<Locality, u8> {
    let known: BTreeSet<Locality> = known.filter(|it| *it != Locality::default()).collect();
    known.into_iter().zip(1..=u8::MAX).collect()
}

/// Gives callers of each locality a set of their own for the ports of the services in `preferring`, which say what regions come
/// next. A level without endpoints is no level: the next wider one is taken, and in the end the set for all.
pub(crate) fn split(
    desired: &mut Desired,
    preferring: &BTreeMap<u32, Failover>,
    places: &BTreeMap<u32, Locality>,
    numbers: &BTreeMap<Locality, u8>,
) {
    let unknown = Locality::default();
    let mut near: Vec<(ServiceKey, DesiredService)> = Vec::new();
    for (key, service) in &mut desired.services {
        let Some(failover) = preferring.get(&service.service).filter(|_| !service.endpoints.is_empty())
        else {
            continue;
        };
        let before = near.len();
        for (locality, number) in numbers {
            let nearness =
                |workload: u32| locality.nearness(places.get(&workload).unwrap_or(&unknown), failover);
            let nearest = service.endpoints.iter().map(|it| nearness(it.workload)).max().unwrap_or(0);
            if nearest == 0 {
                continue;
            }
            let mut own = service.clone();
            own.endpoints.retain(|it| nearness(it.workload) >= nearest);
            if own.endpoints.len() < service.endpoints.len() {
                near.push((ServiceKey { locality: *number, ..*key }, own));
            }
        }
        if near.len() > before {
            service.flags |= service_flag::LOCAL;
        }
    }
    desired.services.extend(near);
}

#[cfg(test)]
mod tests {
    use wabe_abi::{Balance, Be16, Ip, TCP};

    use super::*;
    use crate::snapshot::DesiredEndpoint;

    fn place(region: &str, zone: &str, subzone: &str) -> Locality {
        Locality { region: region.into(), zone: zone.into(), subzone: subzone.into() }
    }

    /// Endpoints from 1 at these places; the set of callers at `caller`.
    fn near(caller: &Locality, endpoints: &[Locality], failover: &[(&str, &str)]) -> Vec<u32> {
        let failover = failover.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        let places: BTreeMap<u32, Locality> = (1..).zip(endpoints.iter().cloned()).collect();
        let numbers = numbers(places.values().cloned().chain([caller.clone()]));
        let key = ServiceKey::port(Ip::UNSPECIFIED, Be16::new(80), TCP);
        let endpoint = |id: &u32| DesiredEndpoint {
            workload: *id,
            address: Ip::UNSPECIFIED,
            port: Be16::new(80),
            weight: 100,
        };
        let service = DesiredService {
            service: 7,
            balance: Balance::TwoChoices,
            affinity: 0,
            datagrams: false,
            flags: 0,
            endpoints: places.keys().map(endpoint).collect(),
        };
        let mut desired = Desired::default();
        desired.services.insert(key, service);
        split(&mut desired, &BTreeMap::from([(7, failover)]), &places, &numbers);
        let own = numbers.get(caller).map(|number| ServiceKey { locality: *number, ..key });
        let found = own.and_then(|own| desired.services.get(&own)).unwrap_or(&desired.services[&key]);
        found.endpoints.iter().map(|it| it.workload).collect()
    }

    #[test]
    fn the_nearest_level_with_endpoints_is_taken() {
        let (a, a2, b) = (place("r", "a", ""), place("r", "a", "2"), place("r", "b", ""));
        let far = place("s", "a", "");
        for (caller, endpoints, want) in [
            (&a, vec![a.clone(), b.clone(), far.clone()], vec![1]),
            (&a, vec![b.clone(), far.clone()], vec![1]),
            (&a, vec![far.clone(), far.clone()], vec![1, 2]),
            (&a2, vec![a.clone(), a2.clone(), b.clone()], vec![2]),
            (&a2, vec![a.clone(), b.clone()], vec![1]),
            (&Locality::default(), vec![a.clone(), b.clone()], vec![1, 2]),
            (&b, vec![Locality::default(), b.clone()], vec![2]),
        ] {
            assert_eq!(near(caller, &endpoints, &[]), want, "{caller:?} {endpoints:?}");
        }
    }

    #[test]
    fn a_zone_of_another_region_is_another_zone() {
        let nearness = |one: Locality, two| one.nearness(&two, &Failover::new());
        assert_eq!(nearness(place("r", "a", ""), place("s", "a", "")), 0);
        assert_eq!(nearness(place("", "a", ""), place("", "a", "")), 3);
    }

    #[test]
    fn a_region_that_is_named_comes_after_the_callers_own() {
        let (a, b, c) = (place("r", "a", "1"), place("s", "a", ""), place("t", "a", ""));
        let nowhere = Locality::default();
        for (caller, endpoints, want) in [
            (&a, vec![b.clone(), c.clone(), nowhere.clone()], vec![2]),
            (&a, vec![place("r", "b", ""), c.clone()], vec![1]),
            (&a, vec![b.clone(), nowhere.clone()], vec![1, 2]),
            (&b, vec![a.clone(), c.clone()], vec![1, 2]),
            (&nowhere, vec![b.clone(), c.clone()], vec![1, 2]),
        ] {
            assert_eq!(near(caller, &endpoints, &[("r", "t")]), want, "{caller:?} {endpoints:?}");
        }
    }

    #[test]
    fn numbers_end_at_255() {
        let many = (0..300).map(|it| place("r", &format!("{it:03}"), ""));
        let numbers = numbers(many);
        assert_eq!((numbers.len(), numbers.values().max()), (255, Some(&255)));
    }
}
