//! The loaded data plane: the agent's handle.

mod replace;
mod tables;

use std::{
    collections::BTreeMap,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, RingBuf, SockMap},
};
use wabe_abi::{Connection, EndpointLoad, Exchange, Tuple, maps};

use crate::{
    Error, Events, OBJECT, Sizes, Write, attach,
    object::{GUARD, UPLINK},
    pins::{self, Pins},
    sys,
};
pub use tables::MapUse;
pub(crate) use tables::{Tables, trie_key};

/// Where the data plane goes.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// A folder on a bpffs of the mesh's own: `maps/` and `links/` are made in it.
    pub pin_dir: PathBuf,
    /// The cgroup that holds all workloads' cgroups.
    pub workloads_cgroup: PathBuf,
    /// The cgroup where sockets for the node's proxy are made; `None` for a data plane without a proxy.
    pub vend_cgroup: Option<PathBuf>,
    /// The name of the interface towards the host in the current network namespace, to be guarded; `None` for a
    /// data plane without one.
    pub uplink: Option<String>,
}

/// The data plane, loaded and pinned. Dropping it leaves everything in the kernel as it is.
pub struct Kernel {
    ebpf: Ebpf,
    tables: Tables,
    pins: Pins,
    options: LoadOptions,
    /// Workloads' interfaces on the node's side. A filter, where the kernel has no links for interfaces, has no pin.
    guarded: BTreeMap<u32, u32>,
    /// The programs are in force.
    engaged: bool,
}

impl Kernel {
    /// Loads the object. Finds what an earlier agent pinned: maps are kept if they have this version's layout, and made
    /// anew beside the others if not, empty. What is attached stays as it is until [`Kernel::engage`].
    ///
    /// # Errors
    /// The kernel lacks a feature, the verifier refuses a program, or a pin can't be made. [`Error::OtherLayout`] if
    /// living connections have their state in a layout that this version does not know.
    pub fn load(options: &LoadOptions) -> Result<Self, Error> {
        let pins = Pins::below(&options.pin_dir);
        pins.prepare()?;
        pins.check_kept()?;
        let mut loader = EbpfLoader::new();
        for spec in &maps::SPECS {
            if pins.has_other_layout(spec) {
                tracing::warn!(map = spec.name, "pinned in another version's layout: made anew");
            }
            loader.map_pin_path(spec.name, pins.map(spec));
        }
        let mut ebpf = loader.load(OBJECT)?;
        attach::load_programs(&mut ebpf)?;
        let tables = Tables::of(&mut ebpf, pins.limits())?;
        Ok(Self { ebpf, tables, pins, options: options.clone(), guarded: BTreeMap::new(), engaged: false })
    }

    /// Puts the programs in force: attaches them, or puts them into the links of an earlier agent, each without a
    /// moment in which none is attached. The tables should have their rows by now. Then removes what only an earlier version
    /// used. Called again, it repairs what is not attached any more.
    ///
    /// # Errors
    /// A program can't be attached.
    pub fn engage(&mut self) -> Result<(), Error> {
        let Self { ebpf, pins, options, guarded, .. } = self;
        attach::cgroup(ebpf, &options.workloads_cgroup, &pins.links)?;
        if let Some(vend) = &options.vend_cgroup {
            attach::vend(ebpf, vend, &pins.links)?;
        }
        if let Some(uplink) = &options.uplink {
            let index = sys::interface_index(uplink)
                .map_err(|error| Error::pin(format!("interface {uplink}"), error))?;
            attach::ingress(ebpf, UPLINK, index, &pins.links.join(UPLINK))?;
        }
        attach::workloads(ebpf, &pins.links)?;
        if attach::clsact::is_needed() {
            // An interface that is gone needs no guard: its workload is about to be forgotten.
            for (id, interface) in guarded.iter().filter(|(_, it)| sys::interface_name(**it).is_ok()) {
                attach::ingress(ebpf, GUARD, *interface, &workload_pin(&pins.links, attach::GUARD_PIN, *id))?;
            }
        }
        attach::remove_unknown(&pins.links)?;
        pins.remove_other_layouts()?;
        self.engaged = true;
        Ok(())
    }

    /// Applies changes in their order, those of one kind that follow one another with one call; stops at the first that
    /// fails.
    ///
    /// # Errors
    /// [`Error::Full`] where a map has no room, [`Error::Map`] otherwise.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), Error> {
        self.tables.write_all(writes)
    }

    /// What the tables that the agent writes contain, as the changes that would make them so; counters are left
    /// out.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn contents(&self) -> Result<Vec<Write>, Error> {
        self.tables.contents()
    }

    /// Guards a workload's network namespace and its interface on the node's side (in the current namespace), and opens
    /// its way to the node's proxy, whose listener there is given.
    ///
    /// # Errors
    /// A program can't be attached.
    pub fn attach_workload(
        &mut self,
        id: u32,
        netns: BorrowedFd<'_>,
        node_ifindex: u32,
        proxy: Option<BorrowedFd<'_>>,
    ) -> Result<(), Error> {
        let (guard, admission) = (self.guard_pin(id), self.admission_pin(id));
        attach::ingress(&mut self.ebpf, GUARD, node_ifindex, &guard)?;
        self.guarded.insert(id, node_ifindex);
        attach::admission(&mut self.ebpf, netns, &admission)?;
        // Last: it may have been ended by a proxy that somebody took over, which must not keep the guards away.
        let Some(listener) = proxy else { return Ok(()) };
        let map = self.ebpf.map_mut(maps::PROXIES).ok_or(Error::Missing(maps::PROXIES))?;
        let set = SockMap::try_from(map).and_then(|mut proxies| proxies.set(id, &listener, 0));
        set.map_err(|error| Error::map(maps::PROXIES, error))
    }

    /// Forgets a workload's links; its namespace and interface are gone or about to go.
    ///
    /// # Errors
    /// A pin can't be removed.
    pub fn detach_workload(&mut self, id: u32) -> Result<(), Error> {
        self.guarded.remove(&id);
        [self.guard_pin(id), self.admission_pin(id)].iter().try_for_each(|pin| pins::remove(pin))
    }

    /// Every accepted connection that is open between workloads, or from a stranger to one.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn connections(&self) -> Result<Vec<(Tuple, Connection)>, Error> {
        self.tables.connections()
    }

    /// Every exchange of datagrams that is open.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn exchanges(&self) -> Result<Vec<(Tuple, Exchange)>, Error> {
        self.tables.exchanges()
    }

    /// Forgets where callers stayed whose time is over, by the monotonic clock now.
    ///
    /// # Errors
    /// The clock or the map can't be read.
    pub fn sweep_affinities(&mut self) -> Result<(), Error> {
        self.tables.sweep_affinities(crate::pinned::monotonic())
    }

    /// Counters of an endpoint.
    ///
    /// # Errors
    /// The id is out of range.
    pub fn load_of(&self, endpoint: u32) -> Result<EndpointLoad, Error> {
        self.tables.load_of(endpoint)
    }

    /// All counters, indexed by [`maps::counter`].
    ///
    /// # Errors
    /// The map can't be read.
    pub fn counters(&self) -> Result<Vec<u64>, Error> {
        self.tables.counters()
    }

    /// How full the maps are that programs write. Of those that only the agent writes, it knows better itself: counting
    /// them here would mean reading them.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn usage(&self) -> Result<Vec<MapUse>, Error> {
        self.tables.usage_of_programs()
    }

    /// How many rows the tables have room for.
    pub fn sizes(&self) -> Sizes {
        Sizes::from_limits(&self.tables.limits)
    }

    /// The ring buffer's reading end; there is one.
    ///
    /// # Errors
    /// It was taken before.
    pub fn events(&mut self) -> Result<Events, Error> {
        let map = self.ebpf.take_map(maps::EVENTS).ok_or(Error::Missing(maps::EVENTS))?;
        let ring = RingBuf::<MapData>::try_from(map).map_err(|error| Error::map(maps::EVENTS, error))?;
        Ok(Events::new(ring))
    }

    fn guard_pin(&self, id: u32) -> PathBuf {
        workload_pin(&self.pins.links, attach::GUARD_PIN, id)
    }

    fn admission_pin(&self, id: u32) -> PathBuf {
        workload_pin(&self.pins.links, attach::ADMISSION_PIN, id)
    }
}

fn workload_pin(links: &Path, kind: &str, id: u32) -> PathBuf {
    links.join(format!("{kind}{id}"))
}
