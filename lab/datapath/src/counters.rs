//! What the programs counted.

use aya::{Ebpf, maps::PerCpuArray};

use crate::{Error, counter};

const MAP: &str = "COUNTERS";

/// Sums over all processors, since the programs were attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections of the application that were led to its sidecar.
    pub redirected: u64,
    /// Times that a sidecar asked where a connection had been going, and was told.
    pub answered: u64,
    /// Arriving connections that were given to the sidecar's listener; one that is opened with a SYN cookie counts twice.
    pub steered: u64,
    /// Arriving connections that were refused because the sidecar's listener is gone. A measurement with any is void.
    pub orphaned: u64,
    /// Messages that went from socket to socket.
    pub moved: u64,
    /// Messages that went by TCP because the receiver has too much unread.
    pub bounded: u64,
    /// Messages that went by TCP because the receiver has not read what went by TCP before them.
    pub ordered: u64,
    /// Connections that were refused, or left to TCP, because a table was full. A measurement with any is void.
    pub refused: u64,
}

impl Counters {
    pub(crate) fn read(ebpf: &Ebpf) -> Result<Self, Error> {
        let map = ebpf.map(MAP).ok_or(Error::Missing(MAP))?;
        let map: PerCpuArray<_, u64> = map.try_into().map_err(|error| Error::map(MAP, error))?;
        let sum = |index| match map.get(&index, 0) {
            Ok(values) => Ok(values.iter().sum()),
            Err(error) => Err(Error::map(MAP, error)),
        };
        Ok(Self {
            redirected: sum(counter::REDIRECTED)?,
            answered: sum(counter::ANSWERED)?,
            steered: sum(counter::STEERED)?,
            orphaned: sum(counter::ORPHANED)?,
            moved: sum(counter::MOVED)?,
            bounded: sum(counter::BOUNDED)?,
            ordered: sum(counter::ORDERED)?,
            refused: sum(counter::REFUSED)?,
        })
    }
}
