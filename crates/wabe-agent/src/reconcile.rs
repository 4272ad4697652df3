//! Makes the node what users wrote: takes requests, the keeper's news and the time, and turns them into changes in the
//! kernel and jobs for the keeper. One thread, no lock, and the only place with a mesh's state.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use wabe_abi::{Connection, Exchange, Tuple};
use wabe_datapath::Write;
use wabe_keeper::protocol::EventKind;

use crate::{
    api::{Reply, Request},
    balance::outcomes::{Outcome, Watched},
    datapath::Datapath,
    flows::SharedNames,
    judged::Judged,
    plan::Installed,
    published::Published,
    simulation::Simulation,
    snapshot::{Compiler, Node},
    state::State,
    supervisor::{Done, Handles, Job},
    timers::Timers,
};

mod balance;
mod change;
mod follow;
mod install;
mod lifecycle;
mod news;
mod recover;
mod revoke;
mod simulate;
mod status;
#[cfg(test)]
mod tests;
mod wait;

use follow::Receiving;
pub use recover::{RecoverError, Running};
use simulate::Simulating;
use wait::Wait;

/// Between replacing something in the kernel and removing what nobody names any more: no program runs that long.
const GRACE: Duration = Duration::from_millis(100);
/// After which what failed for reasons outside the mesh is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Between looks for callers whose time at their endpoint is over.
const SWEEP: Duration = Duration::from_secs(10);

/// What the engine reacts to.
#[derive(Debug)]
pub enum Input {
    /// Somebody asks for something. The conversation ends when the sender is dropped.
    Request(Request, Sender<Reply>),
    /// Something happened to an instance.
    Keeper(EventKind),
    /// The keeper did a job, or could not.
    Done(Done),
    /// A connection to a service fared so.
    Outcome(Outcome),
    /// The keeper ended, and with it all instances.
    KeeperGone,
}

/// What happens later.
#[derive(Debug)]
enum Later {
    /// Rows that nobody names any more go.
    Remove(Vec<Write>),
    /// Live connections of these workloads are examined once more.
    Examine(BTreeSet<u32>),
    /// Connected UDP sockets whose endpoint is lost are looked for once more.
    Follow,
    /// A draining instance may have come to rest.
    Drained(u32),
    /// An instance that should have stopped may hang.
    Overdue(u32),
    /// The keeper's job is given once more.
    Again(Job),
    /// What could not be written is tried again.
    Install,
    /// Where callers stayed is forgotten if their time is over.
    SweepAffinities,
    /// New endpoints get a larger share.
    Warm,
    /// Somebody's patience may have ended.
    Waits,
    /// The next part of what is being simulated, or of what is no longer.
    Simulate,
}

/// Ends connections, in the network namespace whose `sock_diag` socket is given.
pub type Close = Box<dyn FnMut(&Handles, &[(Tuple, Connection)]) -> std::io::Result<()> + Send>;

/// Sees to a workload's connected UDP sockets whose receiver is lost: moves or disconnects them, in its own time.
pub type Follow = Box<dyn FnMut(u32, &Handles, Vec<(Tuple, Exchange)>) -> std::io::Result<()> + Send>;

/// What the engine is made of; the rest of its fields are its own.
pub struct Parts<D> {
    /// The mesh's name.
    pub mesh: String,
    /// The mesh's run directory.
    pub directory: PathBuf,
    /// The file that `wabe dns` reads.
    pub names_file: PathBuf,
    /// The file that `wabe proxy` reads.
    pub proxy_file: PathBuf,
    /// The node.
    pub node: Node,
    /// What an earlier agent remembered.
    pub state: State,
    /// The kernel.
    pub datapath: D,
    /// Where the keeper's jobs go.
    pub jobs: Sender<Job>,
    /// How connections are ended.
    pub close: Close,
    /// How UDP sockets follow their service.
    pub follow: Follow,
    /// The names for lines of flows.
    pub names: SharedNames,
    /// Where metrics are served over TCP.
    pub metrics: Option<SocketAddr>,
    /// The services whose connections' outcomes matter.
    pub watched: Watched,
}

/// The reconciler.
pub struct Engine<D> {
    mesh: String,
    directory: PathBuf,
    names_file: PathBuf,
    proxy_file: PathBuf,
    node: Node,
    state: State,
    datapath: D,
    jobs: Sender<Job>,
    close: Close,
    follow: Follow,
    names: SharedNames,
    metrics: Option<SocketAddr>,
    now: Instant,
    installed: Installed,
    compiler: Compiler,
    /// Whose requests the proxy judges, by the tables in force.
    judged: Judged,
    handles: BTreeMap<u32, Handles>,
    /// Instances with a job under way.
    busy: BTreeSet<u32>,
    /// Instances in the kernel's tables by the next plan, to be guarded and started after it.
    to_start: BTreeSet<u32>,
    /// Until when draining instances may keep their connections.
    drains: BTreeMap<u32, Instant>,
    timers: Timers<Later>,
    /// Where datagrams went when that was last looked at; `None` by an earlier agent.
    receivers: Option<BTreeSet<Receiving>>,
    balancing: balance::Balancing,
    waits: Vec<Wait>,
    published: Published,
    /// What the proxy was told last, of generation 0.
    briefed: Option<wabe_proxy::Snapshot>,
    /// The generation of what it was told last.
    briefed_generation: u64,
    warnings: BTreeSet<String>,
    simulation: Simulation,
    /// Loading or clearing under way, and who asked for it.
    simulating: Option<Simulating>,
    /// Something changed that the kernel's tables, the files or somebody who waits may have to follow.
    changed: bool,
    over: bool,
}

impl<D: Datapath> Engine<D> {
    /// An engine that has looked at nothing yet; see `recover`.
    pub fn new(parts: Parts<D>, now: Instant) -> Self {
        let Parts {
            mesh,
            directory,
            names_file,
            proxy_file,
            node,
            state,
            datapath,
            jobs,
            close,
            follow,
            names,
            metrics,
            watched,
        } = parts;
        Self {
            mesh,
            directory,
            names_file,
            proxy_file,
            node,
            state,
            datapath,
            jobs,
            close,
            follow,
            names,
            metrics,
            now,
            installed: Installed::default(),
            compiler: Compiler::default(),
            judged: Judged::default(),
            handles: BTreeMap::new(),
            busy: BTreeSet::new(),
            to_start: BTreeSet::new(),
            drains: BTreeMap::new(),
            timers: Timers::default(),
            receivers: None,
            balancing: balance::Balancing::new(watched),
            waits: Vec::new(),
            published: Published::default(),
            briefed: None,
            briefed_generation: 0,
            warnings: BTreeSet::new(),
            simulation: Simulation::default(),
            simulating: None,
            changed: true,
            over: false,
        }
    }

    /// Reacts until the keeper is gone.
    pub fn run(&mut self, inputs: &Receiver<Input>) {
        while !self.over {
            let wait = self
                .timers
                .next()
                .map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()));
            let first = match inputs.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // What came meanwhile is handled with it: many changes, one plan.
            let batch: Vec<Input> = first.into_iter().chain(inputs.try_iter()).collect();
            self.react(batch, Instant::now());
        }
    }

    /// Reacts to some inputs and to the time.
    pub fn react(&mut self, inputs: Vec<Input>, now: Instant) {
        self.now = now;
        for input in inputs {
            match input {
                Input::Request(request, replies) => self.request(request, replies),
                Input::Keeper(event) => self.news(event),
                Input::Done(done) => self.done(done),
                Input::Outcome(outcome) => self.outcome(outcome),
                Input::KeeperGone => self.over = true,
            }
        }
        while let Some(later) = self.timers.due(now) {
            self.later(later);
        }
        self.settle();
    }

    /// The generation in force.
    fn generation(&self) -> u64 {
        self.installed.mirror.config.generation
    }

    fn later(&mut self, later: Later) {
        match later {
            Later::Remove(writes) => self.remove_rows(&writes),
            Later::Examine(workloads) => self.examine(&workloads),
            Later::Follow => self.follow_once(),
            Later::Drained(id) => self.drained(id),
            Later::Overdue(id) => self.overdue(id),
            Later::Again(job) => self.again(job),
            Later::SweepAffinities => self.sweep_affinities(),
            Later::Warm => self.warm(),
            Later::Install | Later::Waits => self.changed = true,
            Later::Simulate => self.simulate_more(),
        }
    }

    /// Brings instances, tables and files in line with the state, if it changed.
    fn settle(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        self.roll();
        if let Err(error) = self.install() {
            tracing::error!(%error, "the kernel's tables could not be brought up to date");
            self.warnings.insert(error.to_string());
            self.timers.add(self.now + RETRY, Later::Install);
        }
        self.start_installed();
        self.answer_waits();
    }

    fn share_names(&mut self, published: Published) {
        let shared = published.clone().with_past(&self.published);
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shared.clone());
        self.published = shared;
    }

    fn give(&mut self, job: Job) {
        self.busy.insert(job.id());
        if self.jobs.send(job).is_err() {
            tracing::error!("nobody carries jobs to the keeper any more");
        }
    }
}
