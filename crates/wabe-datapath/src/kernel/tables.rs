//! The maps by their types.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, lpm_trie::Key},
};
use wabe_abi::{
    Affinity, AffinityKey, ClassKey, Config, Connection, EndpointKey, EndpointLoad, EndpointRecord, Exchange,
    Ip, Pace, PolicyVerdict, PortKey, PrefixKey, ServiceKey, ServiceRecord, Ticket, Tuple, VerdictKey,
    VethRecord, WorkloadRecord, maps,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::{Error, Write, batch, wire::Wire};

type Rows<K, V> = HashMap<MapData, Wire<K>, Wire<V>>;
/// What follows the prefix length of a [`PrefixKey`]: table and address.
type PrefixBytes = [u8; 20];

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapUse {
    /// Its name.
    pub name: &'static str,
    /// Rows in use; `None` where the kernel does not tell (ring buffer, socket storage, arrays).
    pub used: Option<u64>,
    /// Rows it has room for.
    pub limit: u64,
}

/// All maps that user space reads or writes.
pub(crate) struct Tables {
    /// Rows that each map has room for.
    pub(crate) limits: BTreeMap<&'static str, u32>,
    pub(crate) config: Array<MapData, Wire<Config>>,
    pub(crate) cgroups: HashMap<MapData, u64, u32>,
    pub(crate) workloads: HashMap<MapData, u32, Wire<WorkloadRecord>>,
    pub(crate) addresses: HashMap<MapData, Wire<Ip>, u32>,
    pub(crate) services: Rows<ServiceKey, ServiceRecord>,
    pub(crate) endpoints: Rows<EndpointKey, EndpointRecord>,
    pub(crate) loads: Array<MapData, Wire<EndpointLoad>>,
    pub(crate) paces: Array<MapData, Wire<Pace>>,
    pub(crate) turns: Array<MapData, u64>,
    pub(crate) affinities: Rows<AffinityKey, Affinity>,
    pub(crate) identities: HashMap<MapData, Wire<ClassKey>, u32>,
    pub(crate) ports: HashMap<MapData, Wire<PortKey>, u32>,
    pub(crate) prefixes: LpmTrie<MapData, PrefixBytes, u32>,
    pub(crate) verdicts: Rows<VerdictKey, PolicyVerdict>,
    pub(crate) tickets: Rows<Tuple, Ticket>,
    pub(crate) ticket_counts: Array<MapData, u64>,
    pub(crate) connections: Rows<Tuple, Connection>,
    pub(crate) exchanges: Rows<Tuple, Exchange>,
    pub(crate) exchange_counts: Array<MapData, u64>,
    pub(crate) veths: HashMap<MapData, u32, Wire<VethRecord>>,
    pub(crate) counters: Array<MapData, u64>,
    /// The same maps for calls that aya does not have.
    fds: BTreeMap<&'static str, OwnedFd>,
}

impl Tables {
    /// Takes the maps out of a loaded object.
    pub(crate) fn of(ebpf: &mut Ebpf, limits: BTreeMap<&'static str, u32>) -> Result<Self, Error> {
        Self::from(limits, |name| ebpf.take_map(name).ok_or(Error::Missing(name)))
    }

    /// Gathers the maps from wherever `take` finds them.
    pub(crate) fn from(
        limits: BTreeMap<&'static str, u32>,
        mut take: impl FnMut(&'static str) -> Result<Map, Error>,
    ) -> Result<Self, Error> {
        let mut fds = BTreeMap::new();
        let mut open = |name| -> Result<(&'static str, Map), Error> {
            let map = take(name)?;
            if let Map::HashMap(data) = &map {
                let fd = data.fd().as_fd().try_clone_to_owned();
                fds.insert(name, fd.map_err(|error| Error::map(name, MapError::IoError(error)))?);
            }
            Ok((name, map))
        };
        Ok(Self {
            limits,
            config: typed(open(maps::CONFIG)?)?,
            cgroups: typed(open(maps::CGROUPS)?)?,
            workloads: typed(open(maps::WORKLOADS)?)?,
            addresses: typed(open(maps::ADDRESSES)?)?,
            services: typed(open(maps::SERVICES)?)?,
            endpoints: typed(open(maps::ENDPOINTS)?)?,
            loads: typed(open(maps::LOADS)?)?,
            paces: typed(open(maps::PACES)?)?,
            turns: typed(open(maps::TURNS)?)?,
            affinities: typed(open(maps::AFFINITIES)?)?,
            identities: typed(open(maps::POLICY_IDENTITIES)?)?,
            ports: typed(open(maps::POLICY_PORTS)?)?,
            prefixes: typed(open(maps::POLICY_PREFIXES)?)?,
            verdicts: typed(open(maps::POLICY_VERDICTS)?)?,
            tickets: typed(open(maps::TICKETS)?)?,
            ticket_counts: typed(open(maps::TICKET_COUNTS)?)?,
            connections: typed(open(maps::CONNECTIONS)?)?,
            exchanges: typed(open(maps::EXCHANGES)?)?,
            exchange_counts: typed(open(maps::EXCHANGE_COUNTS)?)?,
            veths: typed(open(maps::VETHS)?)?,
            counters: typed(open(maps::COUNTERS)?)?,
            fds,
        })
    }

    pub(crate) fn write_all(&mut self, writes: &[Write]) -> Result<(), Error> {
        for run in batch::runs(writes) {
            let fd = run.map.and_then(|name| Some((name, self.fds.get(name)?)));
            if let Some((name, fd)) = fd
                && batch::execute(fd.as_fd(), name, &run).map_err(|error| self.with_limit(error))?
            {
                continue;
            }
            run.writes.iter().try_for_each(|write| self.write(write))?;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, write: &Write) -> Result<(), Error> {
        self.put(write).map_err(|error| self.with_limit(error))
    }

    fn with_limit(&self, error: Error) -> Error {
        if let Error::Full { map, .. } = error {
            return Error::Full { map, limit: self.limits.get(map).copied().unwrap_or(0).into() };
        }
        error
    }

    fn put(&mut self, write: &Write) -> Result<(), Error> {
        match write {
            Write::Config(config) => {
                self.config.set(0, Wire(**config), 0).map_err(|error| Error::map(maps::CONFIG, error))
            }
            Write::Cgroup(key, row) => put(&mut self.cgroups, maps::CGROUPS, key, *row),
            Write::Workload(key, row) => put(&mut self.workloads, maps::WORKLOADS, key, row.map(Wire)),
            Write::Address(key, row) => put(&mut self.addresses, maps::ADDRESSES, &Wire(*key), *row),
            Write::Service(key, row) => put(&mut self.services, maps::SERVICES, &Wire(*key), row.map(Wire)),
            Write::Endpoint(key, row) => {
                put(&mut self.endpoints, maps::ENDPOINTS, &Wire(*key), row.map(Wire))
            }
            Write::IdentityClass(key, row) => {
                put(&mut self.identities, maps::POLICY_IDENTITIES, &Wire(*key), *row)
            }
            Write::PortClass(key, row) => put(&mut self.ports, maps::POLICY_PORTS, &Wire(*key), *row),
            Write::PrefixClass(key, row) => self.write_prefix(key, *row),
            Write::Verdict(key, row) => {
                put(&mut self.verdicts, maps::POLICY_VERDICTS, &Wire(*key), row.map(Wire))
            }
            Write::Veth(key, row) => put(&mut self.veths, maps::VETHS, key, row.map(Wire)),
            Write::ResetLoad(id) => {
                let reset = self.loads.set(*id, Wire(EndpointLoad::default()), 0);
                reset.map_err(|error| Error::map(maps::LOADS, error))?;
                let reset = self.paces.set(*id, Wire(Pace::default()), 0);
                reset.map_err(|error| Error::map(maps::PACES, error))
            }
        }
    }

    fn write_prefix(&mut self, key: &PrefixKey, row: Option<u32>) -> Result<(), Error> {
        let key = trie_key(key);
        let result = match row {
            Some(class) => self.prefixes.insert(&key, class, 0),
            None => self.prefixes.remove(&key),
        };
        settle(maps::POLICY_PREFIXES, row.is_none(), result)
    }

    pub(crate) fn contents(&self) -> Result<Vec<Write>, Error> {
        let config = self.config.get(&0, 0).map_err(|error| Error::map(maps::CONFIG, error))?.0;
        let mut all = vec![Write::Config(Box::new(config))];
        self.each(maps::CGROUPS, &self.cgroups, |k, v| all.push(Write::Cgroup(k, Some(v))))?;
        self.each(maps::WORKLOADS, &self.workloads, |k, v| all.push(Write::Workload(k, Some(v.0))))?;
        self.each(maps::ADDRESSES, &self.addresses, |k, v| all.push(Write::Address(k.0, Some(v))))?;
        self.each(maps::SERVICES, &self.services, |k, v| all.push(Write::Service(k.0, Some(v.0))))?;
        self.each(maps::ENDPOINTS, &self.endpoints, |k, v| all.push(Write::Endpoint(k.0, Some(v.0))))?;
        self.each(maps::POLICY_IDENTITIES, &self.identities, |k, v| {
            all.push(Write::IdentityClass(k.0, Some(v)));
        })?;
        self.each(maps::POLICY_PORTS, &self.ports, |k, v| all.push(Write::PortClass(k.0, Some(v))))?;
        self.each(maps::POLICY_VERDICTS, &self.verdicts, |k, v| {
            all.push(Write::Verdict(k.0, Some(v.0)));
        })?;
        for row in self.prefixes.iter() {
            let (key, class) = row.map_err(|error| Error::map(maps::POLICY_PREFIXES, error))?;
            all.extend(prefix_key(&key).map(|key| Write::PrefixClass(key, Some(class))));
        }
        self.each(maps::VETHS, &self.veths, |k, v| all.push(Write::Veth(k, Some(v.0))))?;
        Ok(all)
    }

    pub(crate) fn connections(&self) -> Result<Vec<(Tuple, Connection)>, Error> {
        let mut all = Vec::new();
        self.each(maps::CONNECTIONS, &self.connections, |k, v| all.push((k.0, v.0)))?;
        Ok(all)
    }

    pub(crate) fn exchanges(&self) -> Result<Vec<(Tuple, Exchange)>, Error> {
        let mut all = Vec::new();
        self.each(maps::EXCHANGES, &self.exchanges, |k, v| all.push((k.0, v.0)))?;
        Ok(all)
    }

    /// Hands over each row of a map.
    fn each<K, V>(
        &self,
        name: &'static str,
        map: &HashMap<MapData, K, V>,
        mut take: impl FnMut(K, V),
    ) -> Result<(), Error>
    where
        K: aya::Pod + FromBytes,
        V: aya::Pod + FromBytes,
    {
        let dump = self.fds.get(name).map_or(Ok(None), |fd| batch::dump(fd.as_fd(), name))?;
        let Some((keys, values)) = dump else {
            return map.iter().try_for_each(|row| {
                let (key, value) = row.map_err(|error| Error::map(name, error))?;
                take(key, value);
                Ok(())
            });
        };
        let (keys, values) = (keys.chunks_exact(size_of::<K>()), values.chunks_exact(size_of::<V>()));
        for (key, value) in keys.zip(values) {
            let (Ok(key), Ok(value)) = (K::read_from_bytes(key), V::read_from_bytes(value)) else { continue };
            take(key, value);
        }
        Ok(())
    }

    /// How many rows a map has.
    fn count<K, V>(&self, name: &'static str, map: &HashMap<MapData, K, V>) -> Result<usize, Error>
    where
        K: aya::Pod + FromBytes,
        V: aya::Pod + FromBytes,
    {
        let mut count = 0;
        self.each(name, map, |_, _| count += 1)?;
        Ok(count)
    }

    /// Removes what is over by `now`, in nanoseconds of the monotonic clock. A caller that comes back meanwhile and
    /// loses its fresh row is chosen for anew, as the row's promise had ended.
    pub(crate) fn sweep_affinities(&mut self, now: u64) -> Result<(), Error> {
        let mut gone = Vec::new();
        self.each(maps::AFFINITIES, &self.affinities, |key, affinity| {
            if affinity.0.until <= now {
                gone.push(key);
            }
        })?;
        gone.iter().try_for_each(|key| put(&mut self.affinities, maps::AFFINITIES, key, None))
    }

    pub(crate) fn load_of(&self, endpoint: u32) -> Result<EndpointLoad, Error> {
        Ok(self.loads.get(&endpoint, 0).map_err(|error| Error::map(maps::LOADS, error))?.0)
    }

    pub(crate) fn counters(&self) -> Result<Vec<u64>, Error> {
        self.counters.iter().collect::<Result<_, _>>().map_err(|error| Error::map(maps::COUNTERS, error))
    }

    /// How full the maps are that programs write; of the others only what they have room for.
    pub(crate) fn usage_of_programs(&self) -> Result<Vec<MapUse>, Error> {
        // Tickets, exchanges and connections are counted where they are made, so nobody has to go through them.
        let tickets = sum(maps::TICKET_COUNTS, &self.ticket_counts)?;
        let exchanges = sum(maps::EXCHANGE_COUNTS, &self.exchange_counts)?;
        let live = maps::counter::CONNECTIONS_LIVE;
        let connections = self.counters.get(&live, 0).map_err(|error| Error::map(maps::COUNTERS, error))?;
        Ok(self.usage_of(&BTreeMap::from([
            (maps::TICKETS, tickets),
            (maps::EXCHANGES, exchanges),
            (maps::CONNECTIONS, connections),
        ])))
    }

    /// How full all maps are, by reading all of them.
    pub(crate) fn usage(&self) -> Result<Vec<MapUse>, Error> {
        let used = BTreeMap::from([
            (maps::CGROUPS, self.count(maps::CGROUPS, &self.cgroups)?),
            (maps::WORKLOADS, self.count(maps::WORKLOADS, &self.workloads)?),
            (maps::ADDRESSES, self.count(maps::ADDRESSES, &self.addresses)?),
            (maps::SERVICES, self.count(maps::SERVICES, &self.services)?),
            (maps::ENDPOINTS, self.count(maps::ENDPOINTS, &self.endpoints)?),
            (maps::AFFINITIES, self.count(maps::AFFINITIES, &self.affinities)?),
            (maps::POLICY_IDENTITIES, self.count(maps::POLICY_IDENTITIES, &self.identities)?),
            (maps::POLICY_PORTS, self.count(maps::POLICY_PORTS, &self.ports)?),
            (maps::POLICY_PREFIXES, self.prefixes.keys().count()),
            (maps::POLICY_VERDICTS, self.count(maps::POLICY_VERDICTS, &self.verdicts)?),
            (maps::TICKETS, self.count(maps::TICKETS, &self.tickets)?),
            (maps::CONNECTIONS, self.count(maps::CONNECTIONS, &self.connections)?),
            (maps::EXCHANGES, self.count(maps::EXCHANGES, &self.exchanges)?),
            (maps::VETHS, self.count(maps::VETHS, &self.veths)?),
        ]);
        Ok(self.usage_of(&used.into_iter().map(|(name, count)| (name, count as u64)).collect()))
    }

    fn usage_of(&self, used: &BTreeMap<&'static str, u64>) -> Vec<MapUse> {
        let row = |spec: &maps::Spec| MapUse {
            name: spec.name,
            used: used.get(spec.name).copied(),
            limit: self.limits.get(spec.name).copied().unwrap_or(spec.limit).into(),
        };
        maps::SPECS.iter().map(row).collect()
    }
}

/// The trie's form of a key.
pub(crate) fn trie_key(key: &PrefixKey) -> Key<PrefixBytes> {
    let mut data = [0; 20];
    data[..4].copy_from_slice(&key.table.to_ne_bytes());
    data[4..].copy_from_slice(key.address.as_bytes());
    Key::new(key.bits, data)
}

/// The key of a trie's entry; `None` never happens, as the sizes are the types'.
fn prefix_key(key: &Key<PrefixBytes>) -> Option<PrefixKey> {
    let data = key.data();
    let (table, address) = data.split_first_chunk::<4>()?;
    let address = Ip::read_from_bytes(address).ok()?;
    Some(PrefixKey { bits: key.prefix_len(), table: u32::from_ne_bytes(*table), address })
}

fn typed<T: TryFrom<Map, Error = MapError>>((name, map): (&'static str, Map)) -> Result<T, Error> {
    map.try_into().map_err(|error| Error::map(name, error))
}

/// What a map's rows add up to.
fn sum(name: &'static str, map: &Array<MapData, u64>) -> Result<u64, Error> {
    map.iter().sum::<Result<u64, _>>().map_err(|error| Error::map(name, error))
}

fn put<K: aya::Pod, V: aya::Pod>(
    map: &mut HashMap<MapData, K, V>,
    name: &'static str,
    key: &K,
    row: Option<V>,
) -> Result<(), Error> {
    let result = match &row {
        Some(row) => map.insert(key, row, 0),
        None => map.remove(key),
    };
    settle(name, row.is_none(), result)
}

/// Removing what is not there is no error; a full map has a name of its own.
fn settle(name: &'static str, removal: bool, result: Result<(), MapError>) -> Result<(), Error> {
    match result {
        Ok(()) => Ok(()),
        Err(MapError::KeyNotFound | MapError::ElementNotFound) if removal => Ok(()),
        Err(MapError::SyscallError(error))
            if removal && error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        Err(MapError::SyscallError(error))
            if matches!(error.io_error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC)) =>
        {
            Err(Error::Full { map: name, limit: 0 })
        }
        Err(error) => Err(Error::map(name, error)),
    }
}
