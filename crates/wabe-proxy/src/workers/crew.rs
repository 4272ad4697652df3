//! Who starts workers, gives them listeners, and ends them: the thread that hears the keeper, and is the first worker itself.

use std::{
    collections::HashMap,
    io,
    net::TcpListener,
    rc::Rc,
    thread::{self, JoinHandle as Thread},
};

use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
    task::{JoinHandle, LocalSet, spawn_local},
};

use super::{
    MOST, Order,
    worker::{Lost, work},
};
use crate::serve::{Common, Proxy};

/// All workers.
pub(crate) struct Crew {
    common: Common,
    /// So many there are if nobody says how many.
    cores: usize,
    /// What the first worker, which is on this thread, has.
    pub(crate) first: Rc<Proxy>,
    first_works: JoinHandle<()>,
    others: Vec<Thread<()>>,
    /// No more can be started.
    is_short: bool,
    lost: mpsc::UnboundedSender<()>,
    /// Who accepts a workload's connections.
    accepts: HashMap<u32, usize>,
}

/// Where it is heard that a worker is gone.
pub(crate) struct Losses(mpsc::UnboundedReceiver<()>);

impl Losses {
    /// Completes when a worker ended, which is right only after [`Crew::end`].
    pub(crate) async fn lost(&mut self) {
        // The crew keeps a sender.
        let _ = self.0.recv().await;
    }
}

impl Crew {
    /// The first worker. To be called on the thread that hears the keeper.
    pub(crate) fn new(common: Common, cores: usize) -> (Self, Losses) {
        let (lost, losses) = mpsc::unbounded_channel();
        let (number, orders) = common.workers.begin();
        let first = Rc::new(Proxy::new(&common, number));
        let first_works = spawn_local(work(Rc::clone(&first), orders, Lost(lost.clone())));
        let (others, accepts) = (Vec::new(), HashMap::new());
        let crew = Self { common, cores, first, first_works, others, is_short: false, lost, accepts };
        (crew, Losses(losses))
    }

    /// Starts those that are missing, if there is anybody to accept from.
    pub(crate) fn fill(&mut self) {
        if !self.accepts.is_empty() {
            self.start_missing();
        }
    }

    /// As many as were asked for, or as there are cores, once there is a snapshot: it says how many. Those that are too many go on, so
    /// none is started before the first workload is there: a mesh that begins has no settings yet, and who wanted one worker would have
    /// two that take turns.
    ///
    /// What a thread was relieved of, those that it starts do not have either: none is to be confined by itself.
    fn start_missing(&mut self) {
        let read = self.common.source.look();
        let wanted = if read.is_there { read.workers.unwrap_or(self.cores).min(MOST) } else { 1 };
        while self.common.workers.count() < wanted && !self.is_short {
            if let Err(error) = self.start() {
                self.is_short = true;
                tracing::error!(%error, workers = self.common.workers.count(), "no more workers can be started");
            }
        }
    }

    fn start(&mut self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (common, lost) = (self.common.clone(), Lost(self.lost.clone()));
        let (begin, begun) = std::sync::mpsc::channel();
        let name = format!("worker-{}", self.common.workers.count());
        let thread = thread::Builder::new().name(name).spawn(move || {
            let Ok((number, orders)) = begun.recv() else { return };
            LocalSet::new().block_on(&runtime, async {
                work(Rc::new(Proxy::new(&common, number)), orders, lost).await;
            });
        })?;
        // Nobody gives it a connection before it is there.
        let _ = begin.send(self.common.workers.begin());
        self.others.push(thread);
        Ok(())
    }

    /// Has somebody accept a workload's connections.
    pub(crate) fn listen(&mut self, workload: u32, listener: TcpListener) {
        self.forget(workload);
        self.start_missing();
        let worker = workload as usize % self.common.workers.count();
        self.accepts.insert(workload, worker);
        self.common.workers.tell(worker, Order::Listen { workload, listener });
    }

    /// Has nobody do that any more.
    pub(crate) fn forget(&mut self, workload: u32) {
        if let Some(worker) = self.accepts.remove(&workload) {
            self.common.workers.tell(worker, Order::Forget { workload });
        }
    }

    /// Has all connections left to others.
    pub(crate) async fn deafen(&self) {
        let told = (0..self.common.workers.count()).map(|worker| {
            let (done, is_done) = oneshot::channel();
            self.common.workers.tell(worker, Order::Deafen(done));
            is_done
        });
        for is_done in told.collect::<Vec<_>>() {
            // One that is lost accepts nothing.
            let _ = is_done.await;
        }
    }

    /// Ends all of them, after the last connection.
    pub(crate) async fn end(self) {
        let Self { common, first_works, others, .. } = self;
        (0..common.workers.count()).for_each(|worker| common.workers.tell(worker, Order::End));
        let _ = first_works.await;
        for thread in others {
            let _ = thread.join();
        }
    }
}
