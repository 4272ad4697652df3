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
    confine::{DEFAULT_PATH, Launch, Launcher, Mounts, Shim},
    logs::{FULL, Pump},
    net::namespace,
    protocol::{ChildState, ExitStatus},
    vend::Vendor,
};

use super::{backoff::Backoff, instance::milliseconds};

/// Short: while dns is away all questions wait, and those that find no room in its socket are lost.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

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
    vendor: Option<Arc<Vendor>>,
    log: Pump,
    pub(super) life: RoleLife,
    started: Instant,
    since: SystemTime,
    starts: u32,
    last_exit: Option<ExitStatus>,
    problem: Option<String>,
    backoff: Backoff,
}

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoleLife {
    Waiting { until: Instant },
    Alive { pid: u32, kill_at: Option<Instant> },
    Ended,
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
            mounts: Mounts::Own { hide: crate::layout::RUN.into(), expose: vec![names] },
            ..base(command, cgroup)
        };
        Self::new("dns", launch, None, Some(sockets), logs, log)
    }

    /// The proxy: nobody, without capabilities, in a network namespace in which nothing is: all its sockets come from the
    /// keeper. Of the mesh's files it sees its snapshot.
    pub(crate) fn proxy(
        command: Vec<String>,
        cgroup: PathBuf,
        logs: &Path,
        snapshot: PathBuf,
        vendor: Arc<Vendor>,
        log: Option<(OwnedFd, OwnedFd)>,
    ) -> io::Result<Self> {
        let launch = Launch {
            user: Some("nobody".into()),
            mounts: Mounts::Own { hide: crate::layout::RUN.into(), expose: vec![snapshot] },
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
            log,
            life: RoleLife::Waiting { until: Instant::now() },
            started: Instant::now(),
            since: SystemTime::now(),
            starts: 0,
            last_exit: None,
            problem: None,
            backoff: BACKOFF,
        })
    }

    pub(super) fn start(&mut self, launcher: &Launcher) -> io::Result<Shim> {
        self.started = Instant::now();
        self.since = SystemTime::now();
        self.starts += 1;
        let network = self.network.as_ref().map(|it| it.as_fd());
        let link = self.vendor.as_ref().map(|vendor| vendor.link()).transpose()?;
        let (stdin, stdout): (_, Stdio) = match &self.sockets {
            Some((stdin, stdout)) => (Some(stdin.as_fd()), stdout.try_clone()?.into()),
            None => (self.listener.as_ref().or(link.as_ref()).map(|it| it.as_fd()), self.log.writer()?),
        };
        let shim = launcher.start(&self.launch, network, stdin, stdout, self.log.writer()?)?;
        self.life = RoleLife::Alive { pid: shim.pid, kill_at: None };
        Ok(shim)
    }

    /// It ended, or could not be started. It will be again, unless `closing`.
    pub(super) fn ended(&mut self, result: Result<ExitStatus, String>, closing: bool) {
        match result {
            Ok(status) => (self.last_exit, self.problem) = (Some(status), None),
            Err(message) => self.problem = Some(message),
        }
        let pause = self.backoff.pause(self.started.elapsed());
        self.life =
            if closing { RoleLife::Ended } else { RoleLife::Waiting { until: Instant::now() + pause } };
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
        let pid = match self.life {
            RoleLife::Alive { pid, .. } => Some(pid),
            RoleLife::Waiting { .. } | RoleLife::Ended => None,
        };
        ChildState {
            name: self.name.into(),
            pid,
            restarts: self.starts.saturating_sub(1),
            since_ms: milliseconds(self.since),
            last_exit: self.last_exit,
            problem: self.problem.clone(),
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
        has_stdin: false,
    }
}
