//! One replica of a workload: what it is doing, and what comes next.

use std::{
    io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    cgroup::Cgroup,
    confine::{Launch, Mounts},
    logs::Pump,
    net::WorkloadNetwork,
    probe::Probe,
    protocol::{Created, ExecSpec, ExitStatus, InstanceSpec, InstanceState, Phase, RestartPolicy},
};

use super::{Answer, backoff::Backoff};

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));

/// One replica of a workload.
pub(super) struct Instance {
    pub(super) spec: InstanceSpec,
    pub(super) cgroup: Cgroup,
    pub(super) cgroup_id: u64,
    pub(super) network: WorkloadNetwork,
    pub(super) log: Pump,
    pub(super) life: Life,
    pub(super) since: SystemTime,
    pub(super) started: Instant,
    /// Ready, or why not.
    pub(super) readiness: Result<(), Option<String>>,
    pub(super) probe: Option<Probe>,
    pub(super) starts: u32,
    pub(super) last_exit: Option<ExitStatus>,
    backoff: Backoff,
}

/// What it is doing.
pub(super) enum Life {
    Created,
    Starting { pid: u32 },
    Running { pid: u32 },
    BackingOff { until: Instant },
    Exited,
    Failed { message: String },
    Stopping(Stopping),
    Stopped,
}

/// On its way to an end.
pub(super) struct Stopping {
    /// Its main process, until that was waited for.
    pub(super) pid: Option<u32>,
    /// When patience ends; `None` after it has.
    pub(super) kill_at: Option<Instant>,
    /// When to look at its cgroup, once the main process has ended.
    pub(super) look_at: Instant,
    /// What comes after the end.
    pub(super) then: Then,
}

/// What comes after the end.
pub(super) enum Then {
    /// Nothing.
    Rest,
    /// Another start.
    Start,
    /// Its removal, of which these are told.
    Remove(Vec<Answer>),
}

/// What to do about a process that ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    StartAgain(Duration),
    Leave,
}

impl Instance {
    pub(super) fn new(
        spec: InstanceSpec,
        cgroup: Cgroup,
        cgroup_id: u64,
        network: WorkloadNetwork,
        log: Pump,
    ) -> Self {
        Self {
            spec,
            cgroup,
            cgroup_id,
            network,
            log,
            life: Life::Created,
            since: SystemTime::now(),
            started: Instant::now(),
            readiness: Err(None),
            probe: None,
            starts: 0,
            last_exit: None,
            backoff: BACKOFF,
        }
    }

    pub(super) fn turn(&mut self, life: Life) {
        self.life = life;
        self.since = SystemTime::now();
    }

    /// What its policy says to an end with this status.
    pub(super) fn after(&mut self, status: ExitStatus) -> Next {
        let again = match self.spec.restart {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => !status.success(),
            RestartPolicy::Never => false,
        };
        if again { Next::StartAgain(self.backoff.pause(self.started.elapsed())) } else { Next::Leave }
    }

    /// Somebody asked for a start: what went wrong before no longer counts.
    pub(super) fn forgive(&mut self) {
        self.backoff = BACKOFF;
    }

    /// Its main process, if there is one.
    pub(super) fn pid(&self) -> Option<u32> {
        match &self.life {
            Life::Starting { pid } | Life::Running { pid } => Some(*pid),
            Life::Stopping(stopping) => stopping.pid,
            Life::Created | Life::BackingOff { .. } | Life::Exited | Life::Failed { .. } | Life::Stopped => {
                None
            }
        }
    }

    /// Makes its cgroup anew if somebody removed it; then the number is another one, which is returned.
    pub(super) fn house(&mut self) -> io::Result<Option<u64>> {
        let cgroup_id = Cgroup::create(self.cgroup.path())?.id()?;
        let before = std::mem::replace(&mut self.cgroup_id, cgroup_id);
        Ok((before != cgroup_id).then_some(cgroup_id))
    }

    pub(super) fn created(&self) -> Created {
        Created { cgroup_id: self.cgroup_id, node_ifindex: self.network.node_ifindex }
    }

    pub(super) fn state(&self) -> InstanceState {
        let phase = match &self.life {
            Life::Created => Phase::Created,
            Life::Starting { pid } => Phase::Starting { pid: *pid },
            Life::Running { pid } => Phase::Running { pid: *pid },
            Life::BackingOff { .. } => Phase::BackingOff,
            Life::Exited => Phase::Exited,
            Life::Failed { message } => Phase::Failed { message: message.clone() },
            Life::Stopping(_) => Phase::Stopping,
            Life::Stopped => Phase::Stopped,
        };
        InstanceState {
            spec: self.spec.clone(),
            cgroup_id: self.cgroup_id,
            node_ifindex: self.network.node_ifindex,
            phase,
            ready: self.readiness.is_ok(),
            not_ready_because: self.readiness.clone().err().flatten(),
            restarts: self.starts.saturating_sub(1),
            last_exit: self.last_exit,
            since_ms: milliseconds(self.since),
        }
    }

    /// How to start its command.
    pub(super) fn launch(&self) -> Launch {
        Launch {
            name: None,
            command: self.spec.command.clone(),
            environment: self.spec.environment.clone(),
            working_directory: self.spec.working_directory.clone(),
            cgroup: self.cgroup.path().to_owned(),
            user: Some(self.spec.user.clone()),
            capabilities: self.spec.capabilities.clone(),
            mounts: Mounts::Own {
                hide: crate::layout::RUN.into(),
                expose: Vec::new(),
                private_tmp: self.spec.private_tmp,
            },
            owns_output: true,
            keeps_signals_in: true,
            has_network: true,
            has_mounts: false,
            has_stdin: false,
            has_program: false,
        }
    }

    /// How to start another command beside it.
    pub(super) fn launch_command(&self, command: &ExecSpec) -> Launch {
        let own = self.launch();
        let mut environment = own.environment;
        environment.extend(command.environment.clone());
        Launch {
            command: command.command.clone(),
            environment,
            working_directory: command.working_directory.clone().unwrap_or(own.working_directory),
            user: command.user.clone().or(own.user),
            owns_output: false,
            keeps_signals_in: false,
            has_stdin: true,
            ..own
        }
    }
}

/// Since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
