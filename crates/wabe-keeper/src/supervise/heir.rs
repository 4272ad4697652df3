//! Leaving everything to another program, and taking over from one.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use rustix::process::Signal;

use crate::{
    cgroup::Cgroup,
    logs::{FULL, Pump},
    net::WorkloadNetwork,
    protocol::{ChildState, InstanceState, Phase},
    succession::{self, Heirloom, LeftInstance},
};

use super::{
    Supervisor,
    instance::{self, Instance, Life},
    role::Role,
    runs::Owner,
    shift::Process,
};

impl Supervisor {
    /// Goes on as another program, with everything that runs. Returns only if that can't be; nothing has changed then.
    pub(super) fn replace(&mut self, program: &Path) -> Result<Infallible, String> {
        self.at_rest()?;
        let listeners = self.network.outlets().listeners().into_iter().collect();
        let links: Vec<_> = self.roles.iter().map(Role::links).collect();
        let heirlooms = self.heirlooms(&listeners, &links);
        let words: Vec<Heirloom> = heirlooms.iter().map(|(heirloom, _)| heirloom.clone()).collect();
        succession::rehearse(program, &self.mesh, &words)?;
        // What workloads print meanwhile waits in their pipes.
        let logs = self.instances.values().map(|it| &it.log).chain(self.roles.iter().map(Role::log));
        let _held: Vec<_> = logs.map(Pump::hold).collect();
        // And what proxies ask for, in their links.
        let _still = self.vendor.hold();
        let error = succession::succeed(program, &self.mesh, &heirlooms);
        Err(format!("{} can't be executed: {error}", program.display()))
    }

    /// What is under way needs this very program to its end.
    fn at_rest(&self) -> Result<(), String> {
        if self.closing.is_some() {
            return Err("the mesh is being stopped".into());
        }
        if self.roles.iter().any(|role| role.shift.relief().is_some()) {
            return Err("a proxy is being started: try again in a moment".into());
        }
        if !self.commands.is_empty() {
            return Err(format!(
                "{} commands run inside workloads (`wabe exec`, or probes): wait for them, or end them",
                self.commands.len()
            ));
        }
        let moving =
            self.instances.values().find(|it| matches!(it.life, Life::Starting { .. } | Life::Stopping(_)));
        match moving {
            Some(instance) => {
                Err(format!("{} is being started or stopped: try again in a moment", instance.spec.name))
            }
            None => Ok(()),
        }
    }

    fn heirlooms<'a>(
        &'a self,
        listeners: &'a BTreeMap<u32, Arc<OwnedFd>>,
        links: &'a [Vec<Arc<OwnedFd>>],
    ) -> Vec<(Heirloom, Vec<BorrowedFd<'a>>)> {
        let since = instance::milliseconds(self.since);
        let mut all = vec![(Heirloom::keeper(since), vec![self.listener.as_fd(), self.network.netns()])];
        all.extend(self.roles.iter().zip(links).map(|(role, links)| {
            let descriptors = role.descriptors().into_iter().chain(links.iter().map(|it| it.as_fd()));
            (Heirloom::Role(role.state()), descriptors.collect())
        }));
        all.extend(self.instances.values().map(|it| {
            let [input, output] = it.log.ends();
            let mut descriptors = vec![it.network.netns.as_fd(), it.network.diag.as_fd(), input, output];
            descriptors.extend(listeners.get(&it.spec.id).map(|listener| listener.as_fd()));
            (Heirloom::Instance(Box::new(it.state())), descriptors)
        }));
        all.push((Heirloom::End, Vec::new()));
        all
    }

    /// Takes over from an earlier program of this process; its children are ours.
    pub(crate) fn take_over(&mut self, since_ms: u64, instances: Vec<LeftInstance>) -> std::io::Result<()> {
        self.since = UNIX_EPOCH + Duration::from_millis(since_ms);
        for LeftInstance { state, descriptors, .. } in instances {
            let id = state.spec.id;
            let instance = self.adopt(state, descriptors)?;
            let pid = instance.pid();
            self.instances.insert(id, instance);
            if let Some(pid) = pid {
                let run = self.runs.add(pid, Owner::Instance(id));
                let turns = self.runs.executed(run, Ok(()));
                // Readiness stays what it was until a probe says otherwise.
                drop(turns);
                if self.instances.get(&id).is_some_and(|it| it.spec.probe.is_some())
                    && let Err(error) = self.begin_probe(id)
                {
                    self.set_readiness(id, Err(format!("can't probe: {error}")));
                }
            }
        }
        for (place, role) in self.roles.iter().enumerate() {
            for Process { number, pid } in role.shift.in_charge().into_iter().chain(role.shift.draining()) {
                let run = self.runs.add(pid, Owner::Role { place, number });
                drop(self.runs.executed(run, Ok(())));
            }
        }
        // Those that ended in between.
        self.reap();
        Ok(())
    }

    /// Agent and dns are to be started anew: by the program that took over. The proxy goes on until it is relieved, which is
    /// asked for once the new agent has written what a new proxy reads.
    pub(crate) fn renew_roles(&self) {
        for role in self.roles.iter().filter(|role| role.vendor.is_none()) {
            if let Some(Process { pid, .. }) = role.shift.in_charge() {
                self.signal(pid, Signal::TERM);
            }
        }
    }

    fn adopt(&self, state: InstanceState, descriptors: [OwnedFd; 4]) -> std::io::Result<Instance> {
        let [netns, diag, input, output] = descriptors;
        let path = self.mesh.logs_dir().join(format!("{}.log", state.spec.name));
        let log = Pump::resume(&path, FULL, input, output)?;
        let cgroup = Cgroup::at(self.file.workloads_cgroup().join(state.spec.id.to_string()));
        let network = WorkloadNetwork { netns, node_ifindex: state.node_ifindex, diag };
        let mut instance = Instance::new(state.spec, cgroup, state.cgroup_id, network, log);
        instance.life = match state.phase {
            Phase::Created => Life::Created,
            Phase::Running { pid } | Phase::Starting { pid } => Life::Running { pid },
            Phase::BackingOff => Life::BackingOff { until: Instant::now() },
            Phase::Exited => Life::Exited,
            Phase::Failed { message } => Life::Failed { message },
            Phase::Stopping | Phase::Stopped => Life::Stopped,
        };
        instance.since = UNIX_EPOCH + Duration::from_millis(state.since_ms);
        instance.readiness = if state.ready { Ok(()) } else { Err(state.not_ready_because) };
        instance.starts = state.restarts + u32::from(!matches!(instance.life, Life::Created));
        instance.last_exit = state.last_exit;
        Ok(instance)
    }
}

impl Role {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let sockets = self.sockets.iter().flat_map(|(one, other)| [one.as_fd(), other.as_fd()]);
        let listener = self.listener.iter().map(|it| it.as_fd());
        self.log().ends().into_iter().chain(sockets).chain(listener).collect()
    }

    /// Goes on with the process that an earlier program started.
    pub(crate) fn adopt(&mut self, state: &ChildState) {
        if let Some(pid) = state.pid {
            let number = self.shift.next_number();
            self.shift.take_charge(Process { number, pid });
        }
        self.resume(state);
    }

    /// Goes on with the proxies that an earlier program started, whose links these are in the order of [`Role::links`]. The
    /// proxy of a program that left no link hears that it is gone, and drains.
    pub(crate) fn adopt_proxies(&mut self, state: &ChildState, links: Vec<OwnedFd>) -> io::Result<()> {
        let Some(vendor) = self.vendor.clone() else { return Ok(()) };
        let now = Instant::now();
        let mut links = links.into_iter();
        if let Some(pid) = state.pid {
            let process = Process { number: self.shift.next_number(), pid };
            match links.next() {
                Some(link) => {
                    self.shift.take_charge(process);
                    vendor.adopt(process.number, link, true)?;
                }
                None => self.shift.drains(process, now),
            }
        }
        for pid in &state.draining {
            let process = Process { number: self.shift.next_number(), pid: *pid };
            self.shift.drains(process, now);
            if let Some(link) = links.next() {
                vendor.adopt(process.number, link, false)?;
            }
        }
        self.resume(state);
        Ok(())
    }

    /// Our ends of the links to its processes: the one in charge first, then those that drain.
    fn links(&self) -> Vec<Arc<OwnedFd>> {
        let Some(vendor) = &self.vendor else { return Vec::new() };
        let all = self.shift.in_charge().into_iter().chain(self.shift.draining());
        all.filter_map(|it| vendor.end_of(it.number)).collect()
    }
}
