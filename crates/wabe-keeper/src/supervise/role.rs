//! The processes of the mesh itself: agent, dns and proxy. They are always started again.

use std::{
    collections::BTreeMap,
    env, io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    confine::{DEFAULT_PATH, Given, Launch, Launcher, Mounts, Shim},
    logs::{FULL, Pump},
    net::namespace,
    protocol::{ChildState, ExitStatus},
    vend::Vendor,
};

use super::{
    Answer,
    backoff::Backoff,
    instance::milliseconds,
    shift::{Process, Shift, Was},
};

/// Short: while dns is away all questions wait, and those that find no room in its socket are lost; while the proxy is away
/// requests wait.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500)).first_at_once();

/// What the agent keeps of root's powers: it loads programs and changes the mesh's own namespaces.
const AGENT_CAPABILITIES: [&str; 3] = ["BPF", "PERFMON", "NET_ADMIN"];

/// What both get of the keeper's environment.
const INHERITED: [&str; 3] = ["PATH", "RUST_LOG", "RUST_BACKTRACE"];

/// Agent, dns or proxy.
pub(crate) struct Role {
    name: &'static str,
    launch: Launch,
    network: Option<OwnedFd>,
    /// Its stdin and stdout, if they are sockets for it to serve. Kept here, so that what arrives while it restarts
    /// waits for it.
    pub(super) sockets: Option<(OwnedFd, OwnedFd)>,
    /// Its stdin, if that is a socket and its stdout is not.
    pub(super) listener: Option<OwnedFd>,
    /// Who gives it sockets, over its stdin.
    pub(super) vendor: Option<Arc<Vendor>>,
    /// What it runs, if not the keeper's own program.
    program: Option<OwnedFd>,
    /// What its relief runs.
    relief_program: Option<OwnedFd>,
    /// Who waits for the relief.
    pub(super) asked_by: Option<Answer>,
    log: Pump,
    pub(super) shift: Shift,
    started: Instant,
    since: SystemTime,
    starts: u32,
    last_exit: Option<ExitStatus>,
    problem: Option<String>,
    backoff: Backoff,
}

impl Role {
    /// The agent: root with few capabilities, in the node's network namespace, with the host's files. Its stdin is a
    /// listener of the host's namespace, which outlives it.
    pub(crate) fn agent(
        command: Vec<String>,
        cgroup: PathBuf,
        logs: &Path,
        network: OwnedFd,
        listener: OwnedFd,
        log: Option<(OwnedFd, OwnedFd)>,
    ) -> io::Result<Self> {
        let launch = Launch {
            capabilities: AGENT_CAPABILITIES.map(Into::into).into(),
            mounts: Mounts::Host,
            ..base(command, cgroup)
        };
        let role = Self::new("agent", launch, Some(network), None, logs, log)?;
        Ok(Self { listener: Some(listener), ..role })
    }

    /// dns: nobody, without capabilities, in the host's network namespace (where it asks the servers that the host
    /// asks), with sockets of the node's; of the mesh's files it sees the names.
    pub(crate) fn dns(
        command: Vec<String>,
        cgroup: PathBuf,
        logs: &Path,
        names: PathBuf,
        sockets: (OwnedFd, OwnedFd),
        log: Option<(OwnedFd, OwnedFd)>,
    ) -> io::Result<Self> {
        let launch = Launch {
            user: Some("nobody".into()),
            mounts: Mounts::Own { hide: crate::layout::RUN.into(), expose: vec![names], private_tmp: false },
            ..base(command, cgroup)
        };
        Self::new("dns", launch, None, Some(sockets), logs, log)
    }

    /// The proxy: a user of its own, without capabilities, in a network namespace in which nothing is: all its sockets come
    /// from the keeper. Of the mesh's files it sees its snapshot.
    pub(crate) fn proxy(
        user: String,
        command: Vec<String>,
        cgroup: PathBuf,
        logs: &Path,
        snapshot: PathBuf,
        vendor: Arc<Vendor>,
        log: Option<(OwnedFd, OwnedFd)>,
    ) -> io::Result<Self> {
        let launch = Launch {
            user: Some(user),
            mounts: Mounts::Own {
                hide: crate::layout::RUN.into(),
                expose: vec![snapshot],
                private_tmp: false,
            },
            keeps_signals_in: true,
            ..base(command, cgroup)
        };
        let (nowhere, ()) = namespace::create(|| ())?;
        let role = Self::new("proxy", launch, Some(nowhere), None, logs, log)?;
        Ok(Self { vendor: Some(vendor), ..role })
    }

    fn new(
        name: &'static str,
        launch: Launch,
        network: Option<OwnedFd>,
        sockets: Option<(OwnedFd, OwnedFd)>,
        logs: &Path,
        log: Option<(OwnedFd, OwnedFd)>,
    ) -> io::Result<Self> {
        let path = logs.join(format!("{name}.log"));
        let log = match log {
            Some((input, output)) => Pump::resume(&path, FULL, input, output)?,
            None => Pump::start(&path, FULL)?,
        };
        Ok(Self {
            name,
            launch,
            network,
            sockets,
            listener: None,
            vendor: None,
            program: None,
            relief_program: None,
            asked_by: None,
            log,
            shift: Shift::new(Instant::now()),
            started: Instant::now(),
            since: SystemTime::now(),
            starts: 0,
            last_exit: None,
            problem: None,
            backoff: BACKOFF,
        })
    }

    /// Starts the process that is to be in charge; returns its number.
    pub(super) fn start(&mut self, launcher: &Launcher) -> io::Result<(Shim, u32)> {
        self.begins();
        let number = self.shift.next_number();
        let shim = self.launch(launcher, number, self.program.as_ref())?;
        self.shift.take_charge(Process { number, pid: shim.pid });
        Ok((shim, number))
    }

    /// Starts a process that is to relieve the one in charge, once it is ready; returns its number.
    pub(super) fn start_relief(
        &mut self,
        launcher: &Launcher,
        program: Option<OwnedFd>,
    ) -> io::Result<(Shim, u32)> {
        let number = self.shift.next_number();
        self.relief_program = program;
        let shim = self.launch(launcher, number, self.relief_program.as_ref().or(self.program.as_ref()))?;
        self.shift.begin_relief(Process { number, pid: shim.pid }, Instant::now());
        Ok((shim, number))
    }

    /// The relief is in charge.
    pub(super) fn relieved(&mut self) {
        self.begins();
        self.problem = None;
        if let Some(program) = self.relief_program.take() {
            self.program = Some(program);
        }
    }

    fn begins(&mut self) {
        self.started = Instant::now();
        self.since = SystemTime::now();
        self.starts += 1;
    }

    fn launch(&self, launcher: &Launcher, number: u32, program: Option<&OwnedFd>) -> io::Result<Shim> {
        let link = self.vendor.as_ref().map(|vendor| vendor.link(number)).transpose()?;
        let (stdin, stdout): (_, Stdio) = match &self.sockets {
            Some((stdin, stdout)) => (Some(stdin.as_fd()), stdout.try_clone()?.into()),
            None => (self.listener.as_ref().or(link.as_ref()).map(|it| it.as_fd()), self.log.writer()?),
        };
        let network = self.network.as_ref().map(|it| it.as_fd());
        let given = Given { network, mounts: None, stdin, program: program.map(|it| it.as_fd()) };
        launcher.start(&self.launch, given, stdout, self.log.writer()?)
    }

    /// One of its processes ended, or could not be executed. One that was in charge will be followed by another, unless `closing`.
    pub(super) fn ended(&mut self, number: u32, result: &Result<ExitStatus, String>, closing: bool) -> Was {
        if let Some(vendor) = &self.vendor {
            vendor.unlink(number);
        }
        let lived = self.started.elapsed();
        let was = self.shift.ended(number, Instant::now(), closing, || self.backoff.pause(lived));
        match was {
            Was::InCharge => match result {
                Ok(status) => (self.last_exit, self.problem) = (Some(*status), None),
                Err(message) => self.problem = Some(message.clone()),
            },
            Was::Relief => self.relief_program = None,
            Was::Draining => {}
        }
        was
    }

    /// One of its processes says that it drains.
    pub(super) fn leaves(&mut self, number: u32, now: Instant) {
        let lived = self.started.elapsed();
        self.shift.leaves(number, now, || self.backoff.pause(lived));
    }

    /// None of its processes could be made.
    pub(super) fn failed_to_start(&mut self, error: &io::Error) {
        self.problem = Some(format!("can't start: {error}"));
        let pause = self.backoff.pause(self.started.elapsed());
        self.shift.failed_to_start(Instant::now(), pause);
    }

    pub(super) fn log(&self) -> &Pump {
        &self.log
    }

    /// What an earlier program knew of it.
    pub(super) fn resume(&mut self, state: &ChildState) {
        self.since = UNIX_EPOCH + Duration::from_millis(state.since_ms);
        self.starts = state.restarts + 1;
        self.last_exit = state.last_exit;
        self.problem.clone_from(&state.problem);
    }

    pub(super) fn state(&self) -> ChildState {
        ChildState {
            name: self.name.into(),
            pid: self.shift.in_charge().map(|it| it.pid),
            restarts: self.starts.saturating_sub(1),
            since_ms: milliseconds(self.since),
            last_exit: self.last_exit,
            problem: self.problem.clone(),
            draining: self.shift.draining().map(|it| it.pid).collect(),
        }
    }
}

fn base(command: Vec<String>, cgroup: PathBuf) -> Launch {
    let mut environment: BTreeMap<_, _> =
        INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?))).collect();
    environment.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
    Launch {
        // Its program is a link in /proc, which tells nobody anything.
        name: Some("wabe".into()),
        command,
        environment,
        working_directory: "/".into(),
        cgroup,
        user: None,
        capabilities: Vec::new(),
        mounts: Mounts::Host,
        owns_output: false,
        keeps_signals_in: false,
        has_network: false,
        has_mounts: false,
        has_stdin: false,
        has_program: false,
    }
}
