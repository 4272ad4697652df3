//! The keeper's mind: one thread that owns all state, and hears everything through one channel.
//!
//! It alone starts processes and waits for them, so that no end can be missed or taken for another's. It never waits
//! for a workload or a client; what may take time is done by short-lived threads that send a [`Message`].

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, wait};

use crate::{
    confine::{Launcher, Shim},
    layout::{Mesh, MeshFile},
    net::NodeNetwork,
    protocol::{Event, ExitStatus, KeeperState, PROTOCOL_VERSION, Request, Response},
    vend::Vendor,
};

mod backoff;
mod commands;
mod descriptors;
mod heir;
mod instance;
mod lives;
mod reconnect;
mod role;
mod roles;
mod runs;
mod shift;
mod subscribers;

pub(crate) use role::Role;

use commands::Command;
use instance::Instance;
use runs::{Owner, RunId, Runs, Turn};
use subscribers::Subscribers;

/// Pause between looks at a cgroup that is about to be empty; most ends are heard of by signal before.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What the supervisor hears.
pub(crate) enum Message {
    /// A client asks.
    Asked { client: u64, request: Request, descriptors: Vec<OwnedFd>, answer: Answer },
    /// A client has gone.
    Left { client: u64 },
    /// A child may have ended.
    ChildEnded,
    /// The keeper is to end.
    Terminate,
    /// A command was executed, or could not be.
    Executed { run: RunId, result: Result<(), String> },
    /// The proxy of this number said something.
    ProxySaid { number: u32, word: Word },
    /// A probe has news. `start` counts the instance's starts, so that old news is known.
    Probed { id: u32, start: u32, result: Result<(), String> },
    /// A probe wants a command to be run.
    ProbeCommand { client: u64, id: u32, command: Vec<String>, answer: Sender<Result<ExitStatus, String>> },
}

/// What the proxy says of itself.
#[derive(Debug)]
pub(crate) enum Word {
    /// It serves all listeners.
    Ready,
    /// It accepts no more.
    Draining,
    /// It did what no proxy of ours does: this.
    Overreached(String),
}

/// Where an answer goes. If the client has gone, nowhere.
pub(crate) type Answer = Sender<Reply>;

/// An answer.
pub(crate) enum Reply {
    /// One response, and descriptors to go with it.
    Response(Response, Vec<OwnedFd>),
    /// The same; when it was written, or can't be, the sender is dropped.
    Last(Response, Sender<()>),
    /// Events, until they end.
    Events(Receiver<Event>),
}

/// All state of the keeper.
pub(crate) struct Supervisor {
    mesh: Mesh,
    file: MeshFile,
    network: NodeNetwork,
    vendor: Arc<Vendor>,
    launcher: Launcher,
    inbox: Receiver<Message>,
    outbox: Sender<Message>,
    since: SystemTime,
    /// Where clients connect: kept for the program that replaces this one.
    listener: OwnedFd,
    instances: BTreeMap<u32, Instance>,
    roles: Vec<Role>,
    commands: BTreeMap<u64, Command>,
    runs: Runs,
    subscribers: Subscribers,
    /// Those who wait for the end, once it has begun.
    closing: Option<Vec<Answer>>,
    /// The mesh's own processes were asked to end.
    ending: bool,
}

impl Supervisor {
    pub(crate) fn new(
        mesh: Mesh,
        file: MeshFile,
        network: NodeNetwork,
        vendor: Arc<Vendor>,
        launcher: Launcher,
        listener: OwnedFd,
        (outbox, inbox): (Sender<Message>, Receiver<Message>),
    ) -> Self {
        Self {
            mesh,
            file,
            network,
            vendor,
            launcher,
            inbox,
            outbox,
            since: SystemTime::now(),
            listener,
            instances: BTreeMap::new(),
            roles: Vec::new(),
            commands: BTreeMap::new(),
            runs: Runs::default(),
            subscribers: Subscribers::default(),
            closing: None,
            ending: false,
        }
    }

    /// Works until the end of everything; returns those who wait for it, and the network, which is still there.
    pub(crate) fn run(mut self) -> (NodeNetwork, Vec<Answer>) {
        loop {
            self.tick(Instant::now());
            if let Some(waiting) = self.closed() {
                return (self.network, waiting);
            }
            let message = match self.next_deadline() {
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("invariant: we hold a sender ourselves"),
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Asked { client, request, descriptors, answer } => {
                self.asked(client, request, descriptors, answer);
            }
            Message::Left { client } => {
                self.subscribers.remove(client);
                self.kill_commands_of(client);
            }
            Message::ChildEnded => self.reap(),
            Message::Terminate => self.close(None),
            Message::Executed { run, result } => {
                let turns = self.runs.executed(run, result);
                self.follow(turns);
            }
            Message::ProxySaid { number, word } => self.proxy_said(number, word),
            Message::Probed { id, start, result } => self.probed(id, start, result),
            Message::ProbeCommand { client, id, command, answer } => {
                self.run_probe_command(client, id, command, answer);
            }
        }
    }

    fn asked(&mut self, client: u64, request: Request, descriptors: Vec<OwnedFd>, answer: Answer) {
        let done = |result: Result<(), String>| (result.map(|()| Response::Done), Vec::new());
        let (result, descriptors) = match request {
            Request::Hello => (Ok(Response::Hello(self.state())), Vec::new()),
            Request::Create(spec) => with_descriptors(self.create(*spec)),
            Request::Find { id } => with_descriptors(self.find(id)),
            Request::Start { id } => done(self.start(id)),
            Request::Stop { id, grace_ms } => done(self.stop(id, grace_ms)),
            Request::Restart { id } => done(self.restart(id)),
            Request::Remove { id } => return self.remove(id, answer),
            Request::List => {
                (Ok(Response::List(self.instances.values().map(Instance::state).collect())), Vec::new())
            }
            Request::Reconnect { id, sockets } => {
                (self.instance(id).map(|it| reconnect::all(&it.cgroup, &sockets)), Vec::new())
            }
            Request::Exec(spec) => return self.exec(client, spec, descriptors, answer),
            Request::Subscribe => {
                let state = self.instances.values().map(Instance::state).collect();
                return tell(&answer, Reply::Events(self.subscribers.add(client, state)));
            }
            Request::RelieveProxy { program } => return self.relieve_proxy(program.as_deref(), answer),
            Request::Shutdown => return self.close(Some(answer)),
            Request::Replace { program } => match self.replace(&program) {
                Ok(never) => match never {},
                Err(message) => (Err(message), Vec::new()),
            },
        };
        let response = result.unwrap_or_else(|message| Response::Error { message });
        tell(&answer, Reply::Response(response, descriptors));
    }

    fn state(&self) -> KeeperState {
        KeeperState {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            mesh: self.mesh.name().into(),
            since_ms: instance::milliseconds(self.since),
            children: self.roles.iter().map(Role::state).collect(),
        }
    }

    /// Waits for all children that ended: ours, and orphans that came to us.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(status) = exit_status(status) {
                let turns = self.runs.exited(pid.as_raw_nonzero().get().unsigned_abs(), status);
                self.follow(turns);
            }
        }
    }

    fn follow(&mut self, turns: Vec<Turn>) {
        for turn in turns {
            match turn {
                Turn::Executed { owner: Owner::Instance(id), pid } => self.instance_runs(id, pid),
                Turn::Executed { owner: Owner::Role { .. } | Owner::Command(_), .. } => {}
                Turn::Ended { owner: Owner::Instance(id), result } => self.instance_ended(id, result),
                Turn::Ended { owner: Owner::Role { place, number }, result } => {
                    self.role_ended(place, number, result);
                }
                Turn::Ended { owner: Owner::Command(number), result } => {
                    self.command_ended(number, result);
                }
            }
        }
    }

    /// Takes note of a process, and of whether it gets as far as its command.
    fn watch(&mut self, shim: Shim, owner: Owner) {
        let run = self.runs.add(shim.pid, owner);
        let outbox = self.outbox.clone();
        let report = move || {
            let result = shim.executed();
            // At the end of the keeper nobody listens any more.
            let _ = outbox.send(Message::Executed { run, result });
        };
        let builder = thread::Builder::new().name("start".into()).stack_size(128 << 10);
        if let Err(error) = builder.spawn(report) {
            let turns = self.runs.executed(run, Err(format!("can't start a thread: {error}")));
            self.follow(turns);
        }
    }

    /// Signals a process that we started, with all of its group.
    fn signal(&self, pid: u32, signal: Signal) {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| self.runs.is_alive(pid));
        if let Some(pid) = number {
            // It has a group of its own only from a certain point on. If it has ended we'll hear of it.
            let _ = kill_process_group(pid, signal).or_else(|_| kill_process(pid, signal));
        }
    }

    fn tick(&mut self, now: Instant) {
        self.tick_instances(now);
        self.tick_roles(now);
    }

    /// When something is to be done though nothing is heard.
    fn next_deadline(&self) -> Option<Instant> {
        let instances = self.instances.values().filter_map(lives::deadline);
        let closing = self.closing.is_some();
        instances.chain(self.roles.iter().filter_map(|role| role.shift.deadline(closing))).min()
    }
}

fn with_descriptors(
    result: Result<(Response, Vec<OwnedFd>), String>,
) -> (Result<Response, String>, Vec<OwnedFd>) {
    match result {
        Ok((response, descriptors)) => (Ok(response), descriptors),
        Err(message) => (Err(message), Vec::new()),
    }
}

fn tell(answer: &Answer, reply: Reply) {
    // A client that has gone wants no answer.
    let _ = answer.send(reply);
}

fn exit_status(status: WaitStatus) -> Option<ExitStatus> {
    let code = status.exit_status().map(ExitStatus::Code);
    code.or_else(|| status.terminating_signal().map(ExitStatus::Signal))
}
