//! The kernel as the agent sees it. One trait, so that everything above it runs in a test without a kernel.

use std::os::fd::{AsFd, BorrowedFd};

use wabe_abi::{Connection, EndpointLoad, Event, Exchange, Tuple};
use wabe_datapath::{Error, Kernel, MapUse, Sizes, Write};

/// The data plane of one mesh.
pub trait Datapath: Send {
    /// Puts the programs in force, in place of an earlier agent's; the tables have their rows by now.
    fn engage(&mut self) -> Result<(), Error>;

    /// Applies changes in their order; stops at the first that fails.
    fn write(&mut self, writes: &[Write]) -> Result<(), Error>;

    /// What the tables contain now, as the changes that would make them so.
    fn contents(&self) -> Result<Vec<Write>, Error>;

    /// Guards a workload's network namespace and its interface on the node's side, and opens its way to the node's
    /// proxy, whose listener there is given.
    fn attach_workload(
        &mut self,
        id: u32,
        netns: BorrowedFd<'_>,
        node_ifindex: u32,
        proxy: Option<BorrowedFd<'_>>,
    ) -> Result<(), Error>;

    /// Forgets a workload's links.
    fn detach_workload(&mut self, id: u32) -> Result<(), Error>;

    /// Every accepted connection that is open.
    fn connections(&self) -> Result<Vec<(Tuple, Connection)>, Error>;

    /// Every exchange of datagrams that is open.
    fn exchanges(&self) -> Result<Vec<(Tuple, Exchange)>, Error>;

    /// Forgets where callers stayed whose time is over.
    fn sweep_affinities(&mut self) -> Result<(), Error>;

    /// Counters of an endpoint.
    fn load_of(&self, endpoint: u32) -> Result<EndpointLoad, Error>;

    /// All counters, indexed by [`wabe_abi::maps::counter`].
    fn counters(&self) -> Result<Vec<u64>, Error>;

    /// How full the maps are that programs write, and how large all of them are.
    fn usage(&self) -> Result<Vec<MapUse>, Error>;

    /// What the kernel lacks and the mesh does without, in words.
    fn lacking(&self) -> Vec<String>;

    /// How many rows the tables have room for.
    fn sizes(&self) -> Sizes;

    /// Makes room for more rows, without a moment in which a connection could miss one.
    fn resize(&mut self, sizes: &Sizes) -> Result<(), Error>;
}

/// Where events come from: readable when there are some.
pub trait EventSource: AsFd + Send {
    /// Hands over every event that is there now.
    fn drain(&mut self, take: &mut dyn FnMut(&Event));
}

impl Datapath for Kernel {
    fn engage(&mut self) -> Result<(), Error> {
        Self::engage(self)
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), Error> {
        Self::write(self, writes)
    }

    fn contents(&self) -> Result<Vec<Write>, Error> {
        Self::contents(self)
    }

    fn attach_workload(
        &mut self,
        id: u32,
        netns: BorrowedFd<'_>,
        node_ifindex: u32,
        proxy: Option<BorrowedFd<'_>>,
    ) -> Result<(), Error> {
        Self::attach_workload(self, id, netns, node_ifindex, proxy)
    }

    fn detach_workload(&mut self, id: u32) -> Result<(), Error> {
        Self::detach_workload(self, id)
    }

    fn connections(&self) -> Result<Vec<(Tuple, Connection)>, Error> {
        Self::connections(self)
    }

    fn exchanges(&self) -> Result<Vec<(Tuple, Exchange)>, Error> {
        Self::exchanges(self)
    }

    fn sweep_affinities(&mut self) -> Result<(), Error> {
        Self::sweep_affinities(self)
    }

    fn load_of(&self, endpoint: u32) -> Result<EndpointLoad, Error> {
        Self::load_of(self, endpoint)
    }

    fn counters(&self) -> Result<Vec<u64>, Error> {
        Self::counters(self)
    }

    fn usage(&self) -> Result<Vec<MapUse>, Error> {
        Self::usage(self)
    }

    fn lacking(&self) -> Vec<String> {
        wabe_datapath::lacking().into_iter().map(wabe_datapath::KernelFeature::lack).collect()
    }

    fn sizes(&self) -> Sizes {
        Self::sizes(self)
    }

    fn resize(&mut self, sizes: &Sizes) -> Result<(), Error> {
        Self::resize(self, sizes)
    }
}

impl EventSource for wabe_datapath::Events {
    fn drain(&mut self, take: &mut dyn FnMut(&Event)) {
        Self::drain(self, take);
    }
}
