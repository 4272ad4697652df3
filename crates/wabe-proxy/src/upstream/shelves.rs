//! Where connections to endpoints are that nobody uses, or many use.
//!
//! Those that carry one request at a time are each worker's own: it finds them without waiting for anybody. A worker that has no
//! room for another one may close one of another worker's, as limits are of all workers together. Those that carry many requests
//! can be used by all; each worker makes its own as long as there is room.

use std::{
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Instant,
};

use rustc_hash::FxHashMap;

use super::{Connection, Kept, Shared, Way, is_open};
use crate::{balance::Limits, locked::lock, workers::MOST};

/// Connections that carry one request at a time.
type Idle = FxHashMap<Way, Vec<Kept>>;

/// All workers' connections.
#[derive(Debug)]
pub(crate) struct Shelves {
    idle: [Shelf; MOST],
    shared: Mutex<FxHashMap<Way, Vec<Shared>>>,
}

/// On a cache line of its own, as neighbours are used by others.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shelf(Mutex<Idle>);

impl Default for Shelves {
    fn default() -> Self {
        Self { idle: std::array::from_fn(|_| Shelf::default()), shared: Mutex::default() }
    }
}

impl Shelves {
    /// A worker's idle connections.
    pub(super) fn of(&self, worker: usize) -> &Mutex<Idle> {
        &self.idle[worker].0
    }

    /// Others may use it, too.
    pub(super) fn share(&self, way: Way, connection: Shared) {
        lock(&self.shared).entry(way).or_default().push(connection);
    }

    /// A place on a connection of one of these workers, if it has fewer than `most`.
    pub(super) fn place(
        &self,
        way: Way,
        now: Instant,
        most: usize,
        is_wanted: impl Fn(&Shared) -> bool,
    ) -> Option<Connection> {
        let mut shared = lock(&self.shared);
        let list = shared.get_mut(&way)?;
        let roomy = |it: &Shared| {
            let most = it.sender.current_max_send_streams().min(most);
            is_wanted(it) && it.taken.load(Relaxed) < most
        };
        while let Some(place) = list.iter().position(roomy) {
            let found = &mut list[place];
            if is_open(&mut found.sender) {
                found.used = now;
                let taken = found.place();
                if found.left == 0 {
                    list.swap_remove(place);
                }
                return Some(Connection::Http2(taken));
            }
            list.swap_remove(place);
        }
        None
    }

    /// Closes a connection under these limits that nobody uses: the one that was idle for the longest time, of `worker` first.
    pub(super) fn let_go_of_one(&self, worker: usize, limits: &Arc<Limits>) -> bool {
        let others = self.idle.iter().enumerate().filter(|(number, _)| *number != worker);
        let mut shelves = std::iter::once(&self.idle[worker]).chain(others.map(|it| it.1));
        if shelves.any(|shelf| oldest(&mut lock(&shelf.0), limits).is_some()) {
            return true;
        }
        lock(&self.shared).values_mut().any(|list| {
            let is_unused =
                |it: &Shared| it.taken.load(Relaxed) == 0 && Arc::ptr_eq(it.permit.limits(), limits);
            let unused = list.iter().position(is_unused);
            unused.map(|place| list.swap_remove(place)).is_some()
        })
    }

    /// Lets go of a worker's connections that nobody used for long, or that were closed.
    pub(super) fn sweep(&self, worker: usize, now: Instant) {
        lock(self.of(worker)).retain(|_, list| {
            list.retain(|it| {
                now.duration_since(it.since) < it.connection.idle && it.connection.reader.is_quiet()
            });
            !list.is_empty()
        });
        lock(&self.shared).retain(|_, list| {
            list.retain_mut(|it| it.worker != worker || (is_open(&mut it.sender) && !it.is_idle(now)));
            !list.is_empty()
        });
    }

    /// Lets go of those of a worker's connections that nobody is to begin anything on any more.
    pub(super) fn let_go(&self, worker: usize, is_outdated: impl Fn(Way, u64) -> bool) {
        lock(self.of(worker)).retain(|way, list| {
            list.retain(|it| !is_outdated(*way, it.connection.since));
            !list.is_empty()
        });
        lock(&self.shared).retain(|way, list| {
            list.retain(|it| it.worker != worker || !is_outdated(*way, it.since));
            !list.is_empty()
        });
    }

    /// Forgets what was connected on a workload's behalf.
    pub(crate) fn forget(&self, workload: u32) {
        for shelf in &self.idle {
            lock(&shelf.0).retain(|way, _| way.caller != workload);
        }
        lock(&self.shared).retain(|way, _| way.caller != workload);
    }
}

impl Shared {
    /// Whether nobody has used it for as long as it is kept.
    fn is_idle(&mut self, now: Instant) -> bool {
        if self.taken.load(Relaxed) > 0 {
            self.used = now;
        }
        now.saturating_duration_since(self.used) >= self.idle
    }
}

/// Takes out the one under these limits that was idle for the longest time.
fn oldest(idle: &mut Idle, limits: &Arc<Limits>) -> Option<Kept> {
    let all =
        idle.iter().flat_map(|(way, list)| list.iter().enumerate().map(move |(place, it)| (*way, place, it)));
    let these = all.filter(|(.., it)| Arc::ptr_eq(it.connection.permit.limits(), limits));
    let (way, place) = these.min_by_key(|(.., it)| it.since).map(|(way, place, _)| (way, place))?;
    idle.get_mut(&way).map(|list| list.remove(place))
}
