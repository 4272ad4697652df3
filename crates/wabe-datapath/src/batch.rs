//! Many rows of one map with one call. Each row costs a system call otherwise, which is most of what it costs.

use std::{io, os::fd::BorrowedFd};

use wabe_abi::maps;
use zerocopy::IntoBytes;

use crate::{Error, Write, sys};

/// Rows of one call: enough for the call not to count, and little enough for its buffers to stay in the cache.
const MOST: usize = 4096;
/// Fewer than this are written one by one.
const LEAST: usize = 4;

/// How a write looks to the kernel: which map, what key, and what value unless it is a removal.
type Raw<'a> = (&'static str, &'a [u8], Option<&'a [u8]>);

/// The bytes of all keys, and those of all values.
type Dump = (Vec<u8>, Vec<u8>);

/// Writes that follow one another, go to the same map and are all additions or all removals: one call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run<'a> {
    /// The map; `None` if these are to be written one by one.
    pub(crate) map: Option<&'static str>,
    /// Removals.
    pub(crate) removal: bool,
    /// The writes.
    pub(crate) writes: &'a [Write],
}

/// Cuts changes into runs; their order stays.
pub(crate) fn runs(mut writes: &[Write]) -> impl Iterator<Item = Run<'_>> {
    std::iter::from_fn(move || {
        let first = kind(writes.first()?);
        let same = writes.iter().take(MOST).take_while(|write| kind(write) == first).count();
        let (run, rest) = writes.split_at(same);
        writes = rest;
        let (map, removal) = first.filter(|_| same >= LEAST).unzip();
        Some(Run { map, removal: removal.unwrap_or(false), writes: run })
    })
}

/// Executes a run; `false` if this map or kernel can't, and nothing was done.
pub(crate) fn execute(map: BorrowedFd<'_>, name: &'static str, run: &Run<'_>) -> Result<bool, Error> {
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for (_, key, value) in run.writes.iter().filter_map(raw) {
        keys.extend_from_slice(key);
        values.extend_from_slice(value.unwrap_or_default());
    }
    let (key, value) = (keys.len() / run.writes.len(), values.len() / run.writes.len());
    let count = run.writes.len();
    let mut at = 0;
    while at < count {
        let left = (count - at) as u32;
        let (done, result) = if run.removal {
            sys::delete_batch(map, left, &keys[at * key..])
        } else {
            sys::update_batch(map, left, &keys[at * key..], &values[at * value..])
        };
        at += done as usize;
        match result {
            Ok(()) => {}
            // Removing what is not there is no error.
            Err(error) if run.removal && error.raw_os_error() == Some(libc::ENOENT) => at += 1,
            Err(error) if at == 0 && sys::is_unsupported(&error) => return Ok(false),
            Err(error) => return Err(Error::batch(name, error)),
        }
    }
    Ok(true)
}

/// All rows of a map as bytes of keys and of values; `None` if this map or kernel can't tell them so.
pub(crate) fn dump(map: BorrowedFd<'_>, name: &'static str) -> Result<Option<Dump>, Error> {
    let Some(spec) = maps::SPECS.iter().find(|spec| spec.name == name) else { return Ok(None) };
    let (key, value) = (spec.key as usize, (spec.value as usize).next_multiple_of(8));
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let mut place = None;
    let mut count = MOST;
    loop {
        let mut next: sys::Place = [0; 64];
        let (have, had) = (keys.len(), values.len());
        keys.resize(have + count * key, 0);
        values.resize(had + count * value, 0);
        let (found, result) = sys::lookup_batch(
            map,
            place.as_ref(),
            &mut next,
            count as u32,
            &mut keys[have..],
            &mut values[had..],
        );
        // Values lie as close to each other as they are long; the room behind them was for a kernel that rounds up.
        keys.truncate(have + found as usize * key);
        values.truncate(had + found as usize * spec.value as usize);
        match result {
            Ok(()) => place = Some(next),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Some((keys, values))),
            // A bucket with more rows than fit.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => count *= 2,
            Err(error) if place.is_none() && sys::is_unsupported(&error) => return Ok(None),
            Err(error) => return Err(Error::batch(name, error)),
        }
    }
}

fn kind(write: &Write) -> Option<(&'static str, bool)> {
    raw(write).map(|(map, _, value)| (map, value.is_none()))
}

/// `None` for what is written one by one: single rows, counters, and the trie, which older kernels do so only.
fn raw(write: &Write) -> Option<Raw<'_>> {
    Some(match write {
        Write::Cgroup(key, row) => (maps::CGROUPS, key.as_bytes(), bytes(row)),
        Write::Workload(key, row) => (maps::WORKLOADS, key.as_bytes(), bytes(row)),
        Write::Address(key, row) => (maps::ADDRESSES, key.as_bytes(), bytes(row)),
        Write::Service(key, row) => (maps::SERVICES, key.as_bytes(), bytes(row)),
        Write::Endpoint(key, row) => (maps::ENDPOINTS, key.as_bytes(), bytes(row)),
        Write::IdentityClass(key, row) => (maps::POLICY_IDENTITIES, key.as_bytes(), bytes(row)),
        Write::PortClass(key, row) => (maps::POLICY_PORTS, key.as_bytes(), bytes(row)),
        Write::Verdict(key, row) => (maps::POLICY_VERDICTS, key.as_bytes(), bytes(row)),
        Write::Veth(key, row) => (maps::VETHS, key.as_bytes(), bytes(row)),
        Write::Config(_) | Write::PrefixClass(..) | Write::ResetLoad(_) => return None,
    })
}

fn bytes<T: IntoBytes + zerocopy::Immutable>(row: &Option<T>) -> Option<&[u8]> {
    row.as_ref().map(IntoBytes::as_bytes)
}

impl Error {
    /// A failed call for many rows.
    fn batch(map: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::E2BIG | libc::ENOSPC) => Self::Full { map, limit: 0 },
            Some(_) | None => Self::map(map, aya::maps::MapError::IoError(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use wabe_abi::{EndpointKey, EndpointRecord, PrefixKey, ServiceKey, ServiceRecord};

    use super::*;

    fn endpoint(index: u32) -> Write {
        Write::Endpoint(EndpointKey { set: 1, index }, Some(EndpointRecord::default()))
    }

    fn service() -> Write {
        Write::Service(ServiceKey::default(), Some(ServiceRecord::default()))
    }

    /// What the runs are, as (map, removal, length).
    fn shape(writes: &[Write]) -> Vec<(Option<&'static str>, bool, usize)> {
        runs(writes).map(|run| (run.map, run.removal, run.writes.len())).collect()
    }

    #[test]
    fn runs_keep_the_order_and_lose_nothing() {
        let mut writes: Vec<Write> = (0..10).map(endpoint).collect();
        writes.push(service());
        writes.extend((0..5).map(|index| Write::Endpoint(EndpointKey { set: 2, index }, None)));
        writes.extend((0..6).map(endpoint));
        assert_eq!(
            shape(&writes),
            [
                (Some(maps::ENDPOINTS), false, 10),
                (None, false, 1),
                (Some(maps::ENDPOINTS), true, 5),
                (Some(maps::ENDPOINTS), false, 6)
            ]
        );
        let again: Vec<Write> = runs(&writes).flat_map(|run| run.writes.iter().cloned()).collect();
        assert_eq!(again, writes);
    }

    #[test]
    fn a_run_is_never_longer_than_a_call() {
        let writes: Vec<Write> = (0..MOST as u32 + 7).map(endpoint).collect();
        assert_eq!(shape(&writes), [(Some(maps::ENDPOINTS), false, MOST), (Some(maps::ENDPOINTS), false, 7)]);
        assert!(shape(&[]).is_empty());
    }

    #[test]
    fn what_has_no_call_for_many_rows_goes_one_by_one() {
        let writes = vec![Write::PrefixClass(PrefixKey::default(), None); 20];
        assert_eq!(shape(&writes), [(None, false, 20)]);
    }
}
