//! The pinned tables, read only: what `wabe explain` decides by when the agent is dead.

use std::path::Path;

use aya::maps::{Map, MapData, MapError};
use wabe_abi::{
    Affinity, AffinityKey, ClassKey, Config, Connection, EndpointKey, EndpointRecord, Exchange, Ip, Pace,
    PolicyVerdict, PortKey, PrefixKey, ServiceKey, ServiceRecord, Ticket, Tuple, VerdictKey, WorkloadRecord,
    maps::{self, counter},
};
use wabe_verdict::Row;

use crate::{
    Error, MapUse,
    kernel::{Tables, trie_key},
    pins::Pins,
    wire::Wire,
};

/// The tables of a mesh as they are pinned, whoever loaded them.
pub struct Pinned {
    tables: Tables,
}

impl Pinned {
    /// Opens the maps below `pin_dir`.
    ///
    /// # Errors
    /// The mesh is not up, or the maps have another version's layout.
    pub fn open(pin_dir: &Path) -> Result<Self, Error> {
        let pins = Pins::below(pin_dir);
        let tables = Tables::from(pins.limits(), |name| {
            let spec = maps::SPECS.iter().find(|spec| spec.name == name).ok_or(Error::Missing(name))?;
            let data = MapData::from_pin(pins.map(spec)).map_err(|error| {
                if pins.has_other_layout(spec) { Error::OtherLayout(name) } else { Error::map(name, error) }
            })?;
            Map::from_map_data(data).map_err(|error: MapError| Error::map(name, error))
        })?;
        Ok(Self { tables })
    }

    /// Every accepted connection that is open.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn connections(&self) -> Result<Vec<(Tuple, Connection)>, Error> {
        self.tables.connections()
    }

    /// All counters, indexed by [`counter`].
    ///
    /// # Errors
    /// The map can't be read.
    pub fn counters(&self) -> Result<Vec<u64>, Error> {
        self.tables.counters()
    }

    /// The generation in force; 0 if none is yet.
    pub fn generation(&self) -> u64 {
        self.tables.config.get(&0, 0).map_or(0, |it| it.0.generation)
    }

    /// How full each map is.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn usage(&self) -> Result<Vec<MapUse>, Error> {
        self.tables.usage()
    }
}

/// Draws are made by the host's clock: which of several endpoints a connection gets is chance in the kernel too.
impl wabe_verdict::Tables for Pinned {
    type Row<T: Copy + 'static> = Row<T>;

    fn config(&self) -> Option<Row<Config>> {
        self.tables.config.get(&0, 0).ok().map(|it| Row(it.0))
    }
    fn workload(&self, id: u32) -> Option<Row<WorkloadRecord>> {
        self.tables.workloads.get(&id, 0).ok().map(|it| Row(it.0))
    }
    fn workload_at(&self, address: &Ip) -> Option<u32> {
        self.tables.addresses.get(&Wire(*address), 0).ok()
    }
    fn service(&self, key: &ServiceKey) -> Option<Row<ServiceRecord>> {
        self.tables.services.get(&Wire(*key), 0).ok().map(|it| Row(it.0))
    }
    fn endpoint(&self, key: &EndpointKey) -> Option<Row<EndpointRecord>> {
        self.tables.endpoints.get(&Wire(*key), 0).ok().map(|it| Row(it.0))
    }
    fn live(&self, endpoint: u32) -> u64 {
        self.tables.loads.get(&endpoint, 0).map_or(0, |it| it.0.live)
    }
    fn turn(&self, service: u32) -> u64 {
        self.tables.turns.get(&service, 0).unwrap_or(0)
    }
    fn affinity(&self, key: &AffinityKey) -> Option<Row<Affinity>> {
        self.tables.affinities.get(&Wire(*key), 0).ok().map(|it| Row(it.0))
    }
    fn stay(&self, _: &AffinityKey, _: &Affinity) {}
    fn now(&self) -> u64 {
        monotonic()
    }
    fn pace(&self, workload: u32) -> Pace {
        self.tables.paces.get(&workload, 0).map_or_else(|_| Pace::default(), |it| it.0)
    }
    fn identity_class(&self, key: &ClassKey) -> Option<u32> {
        self.tables.identities.get(&Wire(*key), 0).ok()
    }
    fn port_class(&self, key: &PortKey) -> Option<u32> {
        self.tables.ports.get(&Wire(*key), 0).ok()
    }
    fn prefix_class(&self, key: &PrefixKey) -> Option<u32> {
        self.tables.prefixes.get(&trie_key(key), 0).ok()
    }
    fn verdict(&self, key: &VerdictKey) -> Option<Row<PolicyVerdict>> {
        self.tables.verdicts.get(&Wire(*key), 0).ok().map(|it| Row(it.0))
    }
    fn ticket(&self, tuple: &Tuple) -> Option<Row<Ticket>> {
        self.tables.tickets.get(&Wire(*tuple), 0).ok().map(|it| Row(it.0))
    }
    fn tickets_of(&self, workload: u32) -> u64 {
        self.tables.ticket_counts.get(&workload, 0).unwrap_or(0)
    }
    fn exchange(&self, tuple: &Tuple) -> Option<Row<Exchange>> {
        self.tables.exchanges.get(&Wire(*tuple), 0).ok().map(|it| Row(it.0))
    }
    fn exchanges_of(&self, workload: u32) -> u64 {
        self.tables.exchange_counts.get(&workload, 0).unwrap_or(0)
    }
    fn connections(&self) -> u64 {
        self.tables.counters.get(&counter::CONNECTIONS_LIVE, 0).unwrap_or(0)
    }
    fn random(&self) -> u32 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos().wrapping_mul(0x9e37_79b9))
    }
}

/// The clock that programs read, in nanoseconds.
pub(crate) fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
