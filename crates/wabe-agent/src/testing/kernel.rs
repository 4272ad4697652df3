//! A kernel in memory.

use std::{
    collections::BTreeMap,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard},
};

use wabe_abi::{Connection, EndpointLoad, Exchange, Tuple, maps::counter};
use wabe_datapath::{Error, MapUse, Sizes, Write};

use crate::{datapath::Datapath, mirror::Mirror};

/// What the fake kernel holds; the test looks at it and changes it behind the agent's back.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) mirror: Mirror,
    /// How often the programs were put in force.
    pub(crate) engaged: usize,
    pub(crate) guarded: Vec<u32>,
    pub(crate) connections: Vec<(Tuple, Connection)>,
    pub(crate) exchanges: Vec<(Tuple, Exchange)>,
    pub(crate) loads: BTreeMap<u32, EndpointLoad>,
    /// Writes until one fails, as if a map were full.
    pub(crate) fails_after: Option<usize>,
    /// Room; a resize changes it.
    pub(crate) sizes: Sizes,
    /// How often it was resized.
    pub(crate) resized: usize,
}

/// A kernel whose maps are in memory.
#[derive(Clone, Default)]
pub(crate) struct FakeKernel(Arc<Mutex<Memory>>);

impl FakeKernel {
    pub(crate) fn look(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().expect("no test panics while holding it")
    }
}

impl Datapath for FakeKernel {
    fn engage(&mut self) -> Result<(), Error> {
        let mut memory = self.look();
        assert!(memory.mirror.config.generation > 0, "put in force before the tables have their rows");
        memory.engaged += 1;
        Ok(())
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), Error> {
        let mut memory = self.look();
        for write in writes {
            match &mut memory.fails_after {
                Some(0) => return Err(Error::Full { map: wabe_abi::maps::ENDPOINTS, limit: 0 }),
                Some(left) => *left -= 1,
                None => {}
            }
            if let Write::ResetLoad(id) = write {
                memory.loads.remove(id);
            }
            memory.mirror.apply(write);
            let rows = memory.mirror.count();
            assert!(rows.endpoints <= memory.sizes.endpoints as usize, "no room was made for {write:?}");
            assert!(rows.services <= memory.sizes.services as usize, "no room was made for {write:?}");
        }
        Ok(())
    }

    fn contents(&self) -> Result<Vec<Write>, Error> {
        Ok(self.look().mirror.rows())
    }

    fn attach_workload(
        &mut self,
        id: u32,
        _: BorrowedFd<'_>,
        _: u32,
        _: Option<BorrowedFd<'_>>,
    ) -> Result<(), Error> {
        let mut memory = self.look();
        assert!(memory.mirror.workloads.contains_key(&id), "guarded before its policy is in the kernel");
        memory.guarded.push(id);
        Ok(())
    }

    fn detach_workload(&mut self, id: u32) -> Result<(), Error> {
        self.look().guarded.retain(|it| *it != id);
        Ok(())
    }

    fn connections(&self) -> Result<Vec<(Tuple, Connection)>, Error> {
        Ok(self.look().connections.clone())
    }

    fn exchanges(&self) -> Result<Vec<(Tuple, Exchange)>, Error> {
        Ok(self.look().exchanges.clone())
    }

    fn sweep_affinities(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn load_of(&self, endpoint: u32) -> Result<EndpointLoad, Error> {
        Ok(self.look().loads.get(&endpoint).copied().unwrap_or_default())
    }

    fn counters(&self) -> Result<Vec<u64>, Error> {
        Ok(vec![0; counter::LEN as usize])
    }

    fn usage(&self) -> Result<Vec<MapUse>, Error> {
        Ok(Vec::new())
    }

    fn lacking(&self) -> Vec<String> {
        Vec::new()
    }

    fn sizes(&self) -> Sizes {
        self.look().sizes
    }

    fn resize(&mut self, sizes: &Sizes) -> Result<(), Error> {
        let mut memory = self.look();
        memory.sizes = *sizes;
        memory.resized += 1;
        Ok(())
    }
}
