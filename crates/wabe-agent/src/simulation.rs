//! Services and endpoints that exist in the kernel's tables only: what a mesh of that size costs, without one.
//!
//! They go through the same planning and the same writes as real ones, but no object, number or file knows them: they end
//! with the agent at the latest.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    ops::Range,
};

use ipnet::Ipv4Net;
use wabe_abi::{Balance, Be16, Config, EndpointKey, Ip, ServiceKey, TCP};
use wabe_datapath::Write;

use crate::{
    plan::{Installed, LastIds, Plan, plan_services},
    sizes::Rows,
    snapshot::{DesiredEndpoint, DesiredService},
};

/// Numbers of simulated services, workloads and endpoints begin here: above all real ones.
const FIRST_ID: u32 = 1 << 24;
/// The port of every simulated service.
const PORT: u16 = 80;
/// Where simulated endpoints pretend to be: the range for measurements of RFC 2544, which nobody may route to.
const ENDPOINTS: [u8; 4] = [198, 18, 0, 0];
/// Addresses in that range.
const ENDPOINT_ADDRESSES: u32 = 1 << 17;

/// What is simulated now.
#[derive(Debug, Default)]
pub struct Simulation {
    /// How often each service was changed; as many as there are services.
    versions: Vec<u32>,
    endpoints: u32,
    /// Services that are in the tables.
    loaded: u32,
    /// The service's virtual addresses.
    addresses: Vec<u32>,
    installed: Installed,
}

impl Simulation {
    /// So many services with so many endpoints in all, at the first addresses of the range that are not `taken`.
    ///
    /// # Errors
    /// The range is too small; the message says which would do.
    pub fn begin(
        services: u32,
        endpoints: u32,
        range: Ipv4Net,
        taken: impl Fn(Ipv4Addr) -> bool,
    ) -> Result<Self, String> {
        let bits = 32 - u32::from(range.prefix_len());
        let (network, size) = (u32::from(range.network()), 1u64 << bits);
        let free = (1..size.saturating_sub(1)).map(|place| network + place as u32);
        let addresses: Vec<u32> =
            free.filter(|it| !taken(Ipv4Addr::from(*it))).take(services as usize).collect();
        if addresses.len() < services as usize {
            let wanted = 32 - (u64::from(services) * 2 + 2).next_power_of_two().trailing_zeros();
            return Err(format!(
                "{services} services do not fit into the mesh's services range {range}: write `addressRanges: \
                 {{services: [10.64.0.0/{wanted}]}}` into its MeshConfig, and take it down and up again"
            ));
        }
        Ok(Self {
            versions: vec![0; services as usize],
            endpoints,
            loaded: 0,
            addresses,
            installed: Installed::default(),
        })
    }

    /// Goes on with another load, once all services of this one are gone: rows that still wait for their removal stay
    /// known.
    pub fn replace(&mut self, next: Self) {
        *self = Self { installed: std::mem::take(&mut self.installed), ..next };
    }

    /// Services that there are or will be.
    pub fn services(&self) -> u32 {
        self.versions.len() as u32
    }

    /// Services that are in the tables.
    pub fn loaded(&self) -> u32 {
        self.loaded
    }

    /// Rows in the tables now.
    pub fn rows(&self) -> Rows {
        self.installed.mirror.count()
    }

    /// Rows that there will be when all is loaded.
    pub fn rows_in_all(&self) -> Rows {
        let (services, endpoints) = (2 * self.versions.len(), self.endpoints as usize);
        Rows { services, endpoints, ..Rows::default() }
    }

    /// Rows of one of the agent's maps.
    pub fn rows_of(&self, map: &str) -> usize {
        self.installed.mirror.rows_of(map).unwrap_or(0)
    }

    /// The steps to the next so many services.
    pub fn load(&self, count: u32, config: &Config, last: LastIds) -> Plan {
        self.plan(self.loaded..self.services().min(self.loaded.saturating_add(count)), true, config, last)
    }

    /// The steps to the tables without the last so many services.
    pub fn unload(&self, count: u32, config: &Config, last: LastIds) -> Plan {
        self.plan(self.loaded.saturating_sub(count)..self.loaded, false, config, last)
    }

    /// The steps to one endpoint's change; `number` says which service's.
    pub fn change(&mut self, number: u32, config: &Config, last: LastIds) -> Plan {
        // A prime step visits all services in an order without pattern.
        let service = (u64::from(number) * 1_000_003 % u64::from(self.loaded.max(1))) as u32;
        if let Some(version) = self.versions.get_mut(service as usize) {
            *version += 1;
        }
        self.plan(service..self.loaded.min(service + 1), true, config, last)
    }

    /// Remembers what was written.
    pub fn commit(&mut self, plan: Plan) {
        self.installed.commit(plan);
        self.loaded = (self.installed.mirror.services.len() / 2) as u32;
    }

    /// The highest ids given.
    pub fn last(&self) -> LastIds {
        self.installed.last
    }

    /// Rows were removed from the kernel, here or elsewhere.
    pub fn removed(&mut self, write: &Write) {
        if let Write::Endpoint(EndpointKey { .. }, None) = write {
            self.installed.mirror.apply(write);
        }
    }

    fn plan(&self, services: Range<u32>, present: bool, config: &Config, last: LastIds) -> Plan {
        let mut changes = BTreeMap::new();
        for service in services {
            let Some(address) = self.addresses.get(service as usize) else { continue };
            let address = Ip::from(IpAddr::V4(Ipv4Addr::from(*address)));
            let desired = |endpoints| DesiredService {
                service: FIRST_ID + service,
                balance: Balance::TwoChoices,
                affinity: 0,
                datagrams: false,
                flags: 0,
                endpoints,
            };
            let port = ServiceKey::port(address, Be16::new(PORT), TCP);
            changes.insert(port, present.then(|| desired(self.endpoints_of(service))));
            changes.insert(ServiceKey::address(address), present.then(|| desired(Vec::new())));
        }
        plan_services(&self.installed, &changes, config, last)
    }

    /// Every change moves one endpoint, in turn, to the next port.
    fn endpoints_of(&self, service: u32) -> Vec<DesiredEndpoint> {
        let (all, services) = (u64::from(self.endpoints), self.versions.len() as u64);
        let from = (u64::from(service) * all / services) as u32;
        let count = ((u64::from(service) + 1) * all / services) as u32 - from;
        let version = self.versions.get(service as usize).copied().unwrap_or(0);
        let endpoint = |index: u32| {
            let moves = (version + count - 1 - index) / count;
            let number = from + index;
            let address = u32::from(Ipv4Addr::from(ENDPOINTS)) + number % ENDPOINT_ADDRESSES;
            DesiredEndpoint {
                workload: FIRST_ID + number,
                address: Ip::from(IpAddr::V4(Ipv4Addr::from(address))),
                port: Be16::new(1024 + (number / ENDPOINT_ADDRESSES * 997 + moves) as u16 % 60_000),
                weight: 100,
            }
        };
        (0..count).map(endpoint).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(services: u32, endpoints: u32) -> Simulation {
        let range = "10.9.0.0/24".parse().expect("range");
        let taken = |address: Ipv4Addr| address.octets()[3] == 5;
        Simulation::begin(services, endpoints, range, taken).expect("room")
    }

    fn all(simulation: &mut Simulation) {
        let plan = simulation.load(u32::MAX, &Config::default(), simulation.last());
        simulation.commit(plan);
    }

    #[test]
    fn as_much_is_loaded_as_was_asked_for() {
        let mut simulation = begin(10, 37);
        all(&mut simulation);
        assert_eq!(simulation.rows(), simulation.rows_in_all());
        assert_eq!(simulation.rows(), Rows { services: 20, endpoints: 37, ..Rows::default() });
        let taken = Ip::from("10.9.0.5".parse::<IpAddr>().expect("address"));
        assert!(simulation.installed.mirror.services.keys().all(|key| key.address != taken));
    }

    #[test]
    fn a_change_is_one_endpoints_and_touches_one_service() {
        let mut simulation = begin(10, 30);
        all(&mut simulation);
        let before = simulation.endpoints_of(0);
        let plan = simulation.change(0, &Config::default(), simulation.last());
        let differ = before.iter().zip(simulation.endpoints_of(0)).filter(|(a, b)| **a != *b).count();
        assert_eq!(differ, 1);
        assert_eq!(
            (plan.writes.len(), plan.later.len()),
            (3 + 1 + 1, 3),
            "set, record, generation; the old set"
        );
    }

    #[test]
    fn nothing_is_left_of_it() {
        let mut simulation = begin(10, 30);
        all(&mut simulation);
        while simulation.loaded() > 0 {
            let mut plan = simulation.unload(3, &Config::default(), simulation.last());
            let later = std::mem::take(&mut plan.later);
            simulation.commit(plan);
            later.iter().for_each(|write| simulation.removed(write));
        }
        assert_eq!(simulation.rows(), Rows::default());
    }

    #[test]
    fn a_range_that_is_too_small_is_named_with_one_that_is_not() {
        let range = "10.9.0.0/24".parse().expect("range");
        let error = Simulation::begin(300, 1, range, |_| false).expect_err("too small");
        assert!(error.contains("10.9.0.0/24") && error.contains("10.64.0.0/22"), "{error}");
    }
}
