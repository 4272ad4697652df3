//! The workers: threads that each serve callers by themselves. What they are told, and whose a connection is.
//!
//! A listener is accepted from by one worker, so that none is woken in vain; which one differs from workload to workload. A
//! connection then goes to the worker that has the fewest, and stays there: a burst of them is spread evenly.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot, watch,
};

pub(crate) mod busy_poll;
pub(crate) mod crew;
pub(crate) mod worker;

/// So many there can be.
pub(crate) const MOST: usize = 64;

/// All of them, as each sees them.
#[derive(Debug)]
pub(crate) struct Workers {
    desks: [Desk; MOST],
    /// So many desks are taken.
    count: AtomicUsize,
    /// Callers' connections that are open.
    open: AtomicU64,
    /// So many may be: each needs another descriptor for its endpoint.
    most: u64,
}

/// Of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Desk {
    open: AtomicU64,
    orders: OnceLock<UnboundedSender<Order>>,
}

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// To accept a workload's connections.
    Listen { workload: u32, listener: TcpListener },
    /// To accept them no more.
    Forget { workload: u32 },
    /// To accept none, and to say so.
    Deafen(oneshot::Sender<()>),
    /// To serve a connection.
    Serve(Accepted),
    /// To end. All connections have ended.
    End,
}

/// A connection that somebody else accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) workload: u32,
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) place: Place,
}

/// A caller's connection that is open; ends when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    workers: Arc<Workers>,
    pub(crate) worker: usize,
    /// The proxy ends when all have.
    _closing: watch::Receiver<bool>,
}

impl Workers {
    pub(crate) fn new(most: u64) -> Self {
        let desks = std::array::from_fn(|_| Desk::default());
        Self { desks, count: AtomicUsize::new(0), open: AtomicU64::new(0), most }
    }

    /// One more: its number, and where it hears its orders.
    fn begin(&self) -> (usize, UnboundedReceiver<Order>) {
        let number = self.count.load(Relaxed);
        let (sender, orders) = unbounded_channel();
        self.desks[number].orders.set(sender).expect("invariant: only one thread calls this");
        self.count.store(number + 1, Relaxed);
        (number, orders)
    }

    /// Callers' connections that are open.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Tells a worker something. One that is no more has nothing to do.
    pub(crate) fn tell(&self, worker: usize, order: Order) {
        if let Some(orders) = self.desks[worker].orders.get() {
            let _ = orders.send(order);
        }
    }

    /// A place for one more connection: with the worker that has the fewest, if possible with `mine`. `None` if there are too many.
    pub(crate) fn place(self: &Arc<Self>, mine: usize, closing: &watch::Sender<bool>) -> Option<Place> {
        let more = |open| (open < self.most).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, more).ok()?;
        let open = |worker: usize| self.desks[worker].open.load(Relaxed);
        let fewest = (0..self.count()).min_by_key(|it| (open(*it), *it != mine)).unwrap_or(mine);
        self.desks[fewest].open.fetch_add(1, Relaxed);
        Some(Place { workers: Arc::clone(self), worker: fewest, _closing: closing.subscribe() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.workers.desks[self.worker].open.fetch_sub(1, Relaxed);
        self.workers.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: usize, most: u64) -> Arc<Workers> {
        let workers = Arc::new(Workers::new(most));
        (0..count).for_each(|_| drop(workers.begin()));
        workers
    }

    #[test]
    fn a_burst_is_spread_evenly_whoever_accepts_it() {
        let (workers, closing) = (workers(2, 100), watch::Sender::new(false));
        let mut places: Vec<_> = (0..64).map(|_| workers.place(1, &closing).expect("room")).collect();
        let of = |places: &[Place], worker| places.iter().filter(|it| it.worker == worker).count();
        assert_eq!((of(&places, 0), of(&places, 1)), (32, 32));
        assert_eq!(places[0].worker, 1, "the first stays where it was accepted");
        places.retain(|it| it.worker == 0);
        let more: Vec<_> = (0..32).map(|_| workers.place(0, &closing).expect("room")).collect();
        assert_eq!(of(&more, 1), 32, "who has fewer gets all until they are even");
    }

    #[test]
    fn the_bound_is_of_all_workers_together() {
        let (workers, closing) = (workers(3, 4), watch::Sender::new(false));
        let mut places: Vec<_> = (0..4).map(|_| workers.place(0, &closing).expect("room")).collect();
        assert!(workers.place(1, &closing).is_none());
        places.pop();
        assert!(workers.place(1, &closing).is_some());
        drop(places);
        assert_eq!((workers.open(), closing.receiver_count()), (0, 0));
    }
}
