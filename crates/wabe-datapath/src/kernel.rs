//! The loaded data plane: the agent's handle.

mod tables;

use std::{
    fs,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, MapInfo, RingBuf},
};
use wabe_abi::{Connection, EndpointLoad, Tuple, maps};

use crate::{Error, Events, OBJECT, Sizes, Write, attach};
pub use tables::MapUse;
pub(crate) use tables::{Tables, trie_key};

/// Where the data plane goes.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// A folder on a bpffs of the mesh's own: `maps/` and `links/` are made in it.
    pub pin_dir: PathBuf,
    /// The cgroup that holds all workloads' cgroups.
    pub workloads_cgroup: PathBuf,
}

/// The data plane, loaded, pinned and attached. Dropping it leaves everything in the kernel as it is.
pub struct Kernel {
    ebpf: Ebpf,
    tables: Tables,
    links: PathBuf,
}

impl Kernel {
    /// Loads the object and attaches it to the workloads' cgroup. Finds what an earlier agent pinned: its maps are
    /// kept if they have this version's layout and replaced if not; its links get the new programs without a gap.
    ///
    /// # Errors
    /// The kernel lacks a feature, the verifier refuses a program, or a pin can't be made.
    pub fn load(options: &LoadOptions) -> Result<Self, Error> {
        let (pins, links) = (options.pin_dir.join("maps"), options.pin_dir.join("links"));
        for folder in [&pins, &links] {
            fs::create_dir_all(folder).map_err(|error| Error::pin(folder, error))?;
        }
        discard_other_layouts(&pins)?;
        let mut loader = EbpfLoader::new();
        for spec in maps::SPECS {
            loader.map_pin_path(spec.name, pins.join(spec.name));
        }
        let mut ebpf = loader.load(OBJECT)?;
        attach::load_programs(&mut ebpf)?;
        attach::cgroup(&mut ebpf, &options.workloads_cgroup, &links)?;
        let tables = Tables::of(&mut ebpf)?;
        Ok(Self { ebpf, tables, links })
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

    /// Guards a workload's network namespace and its interface on the node's side (in the current namespace).
    ///
    /// # Errors
    /// A program can't be attached.
    pub fn attach_workload(
        &mut self,
        id: u32,
        netns: BorrowedFd<'_>,
        node_ifindex: u32,
    ) -> Result<(), Error> {
        let (guard, admission) = (self.guard_pin(id), self.admission_pin(id));
        attach::guard(&mut self.ebpf, node_ifindex, &guard)?;
        attach::admission(&mut self.ebpf, netns, &admission)
    }

    /// Forgets a workload's links; its namespace and interface are gone or about to go.
    ///
    /// # Errors
    /// A pin can't be removed.
    pub fn detach_workload(&mut self, id: u32) -> Result<(), Error> {
        for pin in [self.guard_pin(id), self.admission_pin(id)] {
            match fs::remove_file(&pin) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::pin(pin, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Every accepted connection that is open between workloads, or from a stranger to one.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn connections(&self) -> Result<Vec<(Tuple, Connection)>, Error> {
        self.tables.connections()
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
        Sizes::default()
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
        self.links.join(format!("guard-{id}"))
    }

    fn admission_pin(&self, id: u32) -> PathBuf {
        self.links.join(format!("admission-{id}"))
    }
}

/// Removes all pinned maps if one of them has another layout than this version's: they are never reinterpreted.
fn discard_other_layouts(pins: &Path) -> Result<(), Error> {
    let differs = maps::SPECS.iter().any(|spec| {
        MapInfo::from_pin(pins.join(spec.name)).is_ok_and(|info| {
            (info.key_size(), info.value_size(), info.max_entries()) != (spec.key, spec.value, spec.limit)
        })
    });
    if differs {
        tracing::warn!("the pinned maps have another version's layout: replaced");
        for spec in maps::SPECS {
            let pin = pins.join(spec.name);
            if pin.exists() {
                fs::remove_file(&pin).map_err(|error| Error::pin(pin, error))?;
            }
        }
    }
    Ok(())
}
