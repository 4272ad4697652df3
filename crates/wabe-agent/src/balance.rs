//! What makes an endpoint set more than a list of who is ready: consistent tables, near endpoints first, new endpoints
//! slowly, failing ones not at all. Pure functions between the snapshot and the plan.

use std::collections::BTreeMap;

use wabe_abi::{Balance, EndpointKey, EndpointRecord, member};
use wabe_model::{Failover, Locality, Objects};
use wabe_policy::spread::maglev;

use crate::{
    alias,
    snapshot::{Desired, DesiredEndpoint, DesiredService},
    state::{Ids, Instance},
};

pub(crate) mod ejection;
pub(crate) mod locality;
pub(crate) mod outcomes;
pub(crate) mod slow_start;

/// How many places the set of a service's port has.
pub(crate) fn places(service: &DesiredService) -> u32 {
    match service.balance {
        Balance::TwoChoices | Balance::Random | Balance::RoundRobin => service.endpoints.len() as u32,
        Balance::Consistent => maglev::size(service.endpoints.len()),
    }
}

/// How many rows the set of a service's port takes.
pub(crate) fn set_rows(service: &DesiredService) -> usize {
    let listed = if lists(service) { service.endpoints.len() } else { 0 };
    places(service) as usize + listed
}

/// Numbers the workloads' localities, and makes sets for them where a service prefers near endpoints.
pub(crate) fn near<'a>(
    desired: &mut Desired,
    objects: &Objects,
    instances: impl Iterator<Item = &'a Instance>,
    ids: &mut Ids,
) {
    let places: BTreeMap<u32, Locality> =
        instances.map(|instance| (instance.id, Locality::of(&instance.spec))).collect();
    let numbers = locality::numbers(places.values().cloned());
    for (id, workload) in &mut desired.workloads {
        let number = places.get(id).and_then(|place| numbers.get(place));
        workload.record.locality = number.copied().unwrap_or(0).into();
    }
    let preferring = objects.services().filter_map(|service| {
        let rule = objects.destination_rules_of(&service.name).find(|rule| rule.near.is_some());
        let near = rule.and_then(|it| it.near).unwrap_or(service.distribution.is_some());
        near.then(|| (ids.service(&service.name), rule.map(|it| it.failover.clone()).unwrap_or_default()))
    });
    let preferring: BTreeMap<u32, Failover> = preferring.collect();
    locality::split(desired, &preferring, &places, &numbers);
}

/// The rows of a service's set, under this id.
pub(crate) fn rows(service: &DesiredService, set: u32) -> Vec<(EndpointKey, EndpointRecord)> {
    let endpoints = &service.endpoints;
    let key = |index| EndpointKey { set, index };
    let stays = |index| alias::Place { threshold: u32::MAX, alias: index };
    let mut rows: Vec<_> = match service.balance {
        Balance::TwoChoices | Balance::Random | Balance::RoundRobin => {
            let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
            let rows = endpoints.iter().zip(alias::table(&weights)).enumerate();
            let row = |(index, (endpoint, place)): (usize, (&DesiredEndpoint, alias::Place))| {
                (key(index as u32), record(endpoint, place))
            };
            rows.map(row).collect()
        }
        Balance::Consistent => {
            let members: Vec<(u32, u32)> =
                endpoints.iter().map(|endpoint| (endpoint.workload, endpoint.weight)).collect();
            let table = maglev::table(&members).into_iter().enumerate();
            table
                .map(|(index, chosen)| (key(index as u32), record(&endpoints[chosen], stays(index as u32))))
                .collect()
        }
    };
    if lists(service) {
        rows.extend(endpoints.iter().map(|endpoint| {
            let key = member(set, endpoint.workload);
            (key, record(endpoint, stays(key.index)))
        }));
    }
    rows
}

/// Whether a set lists its endpoints by their ids: where callers may stay at theirs.
fn lists(service: &DesiredService) -> bool {
    service.balance == Balance::Consistent || service.datagrams
}

fn record(endpoint: &DesiredEndpoint, place: alias::Place) -> EndpointRecord {
    EndpointRecord {
        address: endpoint.address,
        endpoint: endpoint.workload,
        workload: endpoint.workload,
        weight: endpoint.weight,
        threshold: place.threshold,
        alias: place.alias,
        port: endpoint.port,
        reserved: 0,
    }
}
