//! What happens to workloads: made, started, ended, stopped, removed.

use std::{
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        atomic::Ordering,
        mpsc::{RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    cgroup::Cgroup,
    confine::{Given, is_reserved},
    logs::{FULL, Pump},
    probe::{Inside, Probe},
    protocol::{EventKind, ExitStatus, InstanceSpec, Response},
    server::NEXT_CLIENT,
};

use super::{
    Answer, LOOK_AGAIN, Message, Reply, Supervisor, descriptors,
    instance::{Instance, Life, Next, Stopping, Then},
    runs::Owner,
    tell,
};

type WithDescriptors = Result<(Response, Vec<OwnedFd>), String>;

impl Supervisor {
    pub(super) fn instance(&self, id: u32) -> Result<&Instance, String> {
        self.instances.get(&id).ok_or_else(|| unknown(id))
    }

    fn instance_mut(&mut self, id: u32) -> Result<&mut Instance, String> {
        self.instances.get_mut(&id).ok_or_else(|| unknown(id))
    }

    pub(super) fn create(&mut self, spec: InstanceSpec) -> WithDescriptors {
        if self.closing.is_some() {
            return Err("the mesh is being stopped: start it again with `wabe up`".into());
        }
        if let Some(existing) = self.instances.get(&spec.id) {
            if existing.spec == spec {
                return self.find(spec.id);
            }
            return Err(format!(
                "workload {} is another one ({}): remove it first",
                spec.id, existing.spec.name
            ));
        }
        not_reserved(&spec.user)?;
        if !is_file_name(&spec.name) {
            return Err(format!("`{}` can't name a log: use letters, digits, `.`, `-` and `_`", spec.name));
        }
        descriptors::must_be_left().map_err(|why| format!("can't make {}: {why}", spec.name))?;
        let id = spec.id;
        let log = Pump::start(&self.mesh.logs_dir().join(format!("{}.log", spec.name)), FULL)
            .map_err(|error| format!("can't write the log of {}: {error}", spec.name))?;
        let cgroup = Cgroup::create(self.file.workloads_cgroup().join(id.to_string()))
            .map_err(|error| format!("can't make the cgroup of {}: {error}", spec.name))?;
        let made = cgroup.id().map_err(|error| error.to_string()).and_then(|cgroup_id| {
            let network = self.network.add_workload(id, spec.v4, spec.v6, spec.egress_masquerade);
            Ok((cgroup_id, network.map_err(|error| error.to_string())?))
        });
        let (cgroup_id, network) = match made {
            Ok(made) => made,
            Err(error) => {
                // It is empty; if it stays all the same, the next `create` takes it.
                let _ = cgroup.remove();
                return Err(format!("can't make the network of {}: {error}", spec.name));
            }
        };
        self.instances.insert(id, Instance::new(spec, cgroup, cgroup_id, network, log));
        self.vendor.made(id);
        self.find(id)
    }

    pub(super) fn find(&self, id: u32) -> WithDescriptors {
        let instance = self.instance(id)?;
        let copy = |descriptor: &OwnedFd| descriptor.try_clone().map_err(|error| error.to_string());
        let mut descriptors = vec![copy(&instance.network.netns)?, copy(&instance.network.diag)?];
        if let Some(listener) = self.network.outlets().listener(id) {
            descriptors.push(copy(&listener)?);
        }
        Ok((Response::Created(instance.created()), descriptors))
    }

    pub(super) fn start(&mut self, id: u32) -> Result<(), String> {
        if self.closing.is_some() {
            return Err("the mesh is being stopped: start it again with `wabe up`".into());
        }
        let instance = self.instance_mut(id)?;
        match &mut instance.life {
            Life::Starting { .. } | Life::Running { .. } => Ok(()),
            Life::Stopping(stopping) => match &mut stopping.then {
                then @ (Then::Rest | Then::Start) => {
                    *then = Then::Start;
                    Ok(())
                }
                Then::Remove(_) => Err(format!("{} is being removed: create it again", instance.spec.name)),
            },
            Life::Created | Life::BackingOff { .. } | Life::Exited | Life::Failed { .. } | Life::Stopped => {
                instance.forgive();
                self.launch(id);
                Ok(())
            }
        }
    }

    pub(super) fn stop(&mut self, id: u32, grace_ms: Option<u64>) -> Result<(), String> {
        let instance = self.instance_mut(id)?;
        let grace = Duration::from_millis(grace_ms.unwrap_or(instance.spec.grace_ms));
        match &mut instance.life {
            Life::Created | Life::Stopped => self.subscribers.tell(EventKind::Stopped { id }),
            Life::Stopping(stopping) => {
                if let Then::Start = stopping.then {
                    stopping.then = Then::Rest;
                }
                stopping.kill_at = stopping.kill_at.min(Instant::now().checked_add(grace));
            }
            Life::Starting { .. }
            | Life::Running { .. }
            | Life::BackingOff { .. }
            | Life::Exited
            | Life::Failed { .. } => self.begin_stop(id, grace, Then::Rest),
        }
        Ok(())
    }

    pub(super) fn restart(&mut self, id: u32) -> Result<(), String> {
        let instance = self.instance_mut(id)?;
        match &instance.life {
            Life::Starting { .. } | Life::Running { .. } => {
                instance.forgive();
                let grace = Duration::from_millis(instance.spec.grace_ms);
                self.begin_stop(id, grace, Then::Start);
                Ok(())
            }
            Life::Created
            | Life::BackingOff { .. }
            | Life::Exited
            | Life::Failed { .. }
            | Life::Stopping(_)
            | Life::Stopped => self.start(id),
        }
    }

    pub(super) fn remove(&mut self, id: u32, answer: Answer) {
        match self.instances.get_mut(&id).map(|it| &mut it.life) {
            None => tell(&answer, Reply::Response(Response::Done, Vec::new())),
            Some(Life::Stopping(Stopping { kill_at, then, .. })) => {
                *kill_at = kill_at.map(|_| Instant::now());
                match then {
                    Then::Remove(answers) => answers.push(answer),
                    Then::Rest | Then::Start => *then = Then::Remove(vec![answer]),
                }
            }
            Some(_) => self.begin_stop(id, Duration::ZERO, Then::Remove(vec![answer])),
        }
    }

    pub(super) fn stop_and_remove_all(&mut self) {
        let ids: Vec<_> = self.instances.keys().copied().collect();
        for id in ids {
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            if let Life::Stopping(stopping) = &mut instance.life {
                if let Then::Rest | Then::Start = stopping.then {
                    stopping.then = Then::Remove(Vec::new());
                }
            } else {
                let grace = Duration::from_millis(instance.spec.grace_ms);
                self.begin_stop(id, grace, Then::Remove(Vec::new()));
            }
        }
    }

    /// Its command was executed.
    pub(super) fn instance_runs(&mut self, id: u32, pid: u32) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        // It may have been stopped meanwhile.
        if !matches!(instance.life, Life::Starting { .. }) {
            return;
        }
        instance.turn(Life::Running { pid });
        self.subscribers.tell(EventKind::Started { id, pid });
        if instance.spec.probe.is_none() {
            return self.set_readiness(id, Ok(()));
        }
        if let Err(error) = self.begin_probe(id) {
            self.set_readiness(id, Err(format!("can't probe: {error}")));
        }
    }

    /// Its main process ended; whatever it left behind ends too.
    pub(super) fn instance_ended(&mut self, id: u32, result: Result<ExitStatus, String>) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        instance.probe = None;
        instance.readiness = Err(None);
        // It can't be gone: it is removed after the last process only.
        let _ = instance.cgroup.kill();
        if let Ok(status) = result {
            instance.last_exit = Some(status);
            self.subscribers.tell(EventKind::Exited { id, status });
        }
        if let Life::Stopping(stopping) = &mut instance.life {
            (stopping.pid, stopping.look_at) = (None, Instant::now());
            return;
        }
        match result.map(|status| instance.after(status)) {
            Ok(Next::StartAgain(pause)) => {
                instance.turn(Life::BackingOff { until: Instant::now() + pause });
                let in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                self.subscribers.tell(EventKind::Restarting { id, in_ms });
            }
            Ok(Next::Leave) => instance.turn(Life::Exited),
            Err(message) => self.fail(id, message),
        }
    }

    pub(super) fn probed(&mut self, id: u32, start: u32, result: Result<(), String>) {
        let current =
            |instance: &Instance| instance.starts == start && matches!(instance.life, Life::Running { .. });
        if self.instances.get(&id).is_some_and(current) {
            self.set_readiness(id, result);
        }
    }

    pub(super) fn tick_instances(&mut self, now: Instant) {
        let due = |(id, it): (&u32, &Instance)| deadline(it).is_some_and(|at| at <= now).then_some(*id);
        let ids: Vec<_> = self.instances.iter().filter_map(due).collect();
        for id in ids {
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            let populated = instance.cgroup.is_populated().unwrap_or(false);
            match &mut instance.life {
                // What the last process left behind is being killed: it may hold a port that the next one wants.
                Life::BackingOff { until } if populated => *until = now + LOOK_AGAIN,
                Life::BackingOff { .. } => self.launch(id),
                Life::Stopping(stopping) => {
                    stopping.look_at = now + LOOK_AGAIN;
                    let impatient = stopping.kill_at.take_if(|at| *at <= now).is_some();
                    match stopping.pid {
                        None if !populated => self.end_stop(id),
                        pid if impatient => {
                            let _ = instance.cgroup.kill();
                            // It may not have got as far as its cgroup.
                            pid.iter().for_each(|pid| self.signal(*pid, Signal::KILL));
                        }
                        _ => {}
                    }
                }
                Life::Created
                | Life::Starting { .. }
                | Life::Running { .. }
                | Life::Exited
                | Life::Failed { .. }
                | Life::Stopped => {}
            }
        }
    }

    fn launch(&mut self, id: u32) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        match instance.house() {
            Ok(None) => {}
            Ok(Some(cgroup_id)) => {
                // Whoever rules the kernel's tables has to know it first: sockets of unknown cgroups are refused.
                instance.turn(Life::Created);
                self.subscribers.tell(EventKind::Rehoused { id, cgroup_id });
                return;
            }
            Err(error) => return self.fail(id, format!("can't make its cgroup: {error}")),
        }
        let opened = self.network.open(id).map_err(|error| error.to_string());
        let started = opened.and_then(|()| {
            let output = instance.log.writer().and_then(|out| Ok((out, instance.log.writer()?)));
            let network = instance.network.netns.as_fd();
            let shim = output.and_then(|(stdout, stderr)| {
                let given = Given { network: Some(network), ..Given::default() };
                self.launcher.start(&instance.launch(), given, stdout, stderr)
            });
            shim.map_err(|error| format!("can't start a process: {error}"))
        });
        match started {
            Ok(shim) => {
                instance.starts += 1;
                instance.started = Instant::now();
                instance.readiness = Err(None);
                instance.turn(Life::Starting { pid: shim.pid });
                self.watch(shim, Owner::Instance(id));
            }
            Err(message) => self.fail(id, message),
        }
    }

    fn fail(&mut self, id: u32, message: String) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.turn(Life::Failed { message: message.clone() });
            self.subscribers.tell(EventKind::Failed { id, message });
        }
    }

    fn begin_stop(&mut self, id: u32, grace: Duration, then: Then) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let pid = instance.pid();
        instance.probe = None;
        let was_ready = instance.readiness.is_ok();
        instance.readiness = Err(None);
        let look_at = Instant::now();
        let kill_at = look_at.checked_add(grace);
        instance.turn(Life::Stopping(Stopping { pid, kill_at, look_at, then }));
        if was_ready {
            self.subscribers.tell(EventKind::NotReady { id, why: "it is being stopped".into() });
        }
        if let Some(pid) = pid {
            self.signal(pid, Signal::TERM);
        }
    }

    /// Nothing of it runs any more.
    fn end_stop(&mut self, id: u32) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let Life::Stopping(stopping) = &mut instance.life else { return };
        match std::mem::replace(&mut stopping.then, Then::Rest) {
            Then::Start => self.launch(id),
            Then::Remove(answers) => self.take_away(id, answers),
            Then::Rest => {
                instance.turn(Life::Stopped);
                self.subscribers.tell(EventKind::Stopped { id });
            }
        }
    }

    fn take_away(&mut self, id: u32, answers: Vec<Answer>) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if instance.cgroup.remove().is_err() {
            // The kernel needs a moment after the last process.
            let look_at = Instant::now() + LOOK_AGAIN;
            let then = Then::Remove(answers);
            instance.life = Life::Stopping(Stopping { pid: None, kill_at: None, look_at, then });
            return;
        }
        // At the end all interfaces go at once with the node namespace; one by one takes the kernel 40 ms each.
        let removed = if self.closing.is_some() { Ok(()) } else { self.network.remove(id) };
        let response = match removed {
            Ok(()) => Response::Done,
            Err(error) => Response::Error { message: error.to_string() },
        };
        self.instances.remove(&id);
        self.vendor.gone(id);
        self.subscribers.tell(EventKind::Removed { id });
        for answer in answers {
            tell(&answer, Reply::Response(response.clone(), Vec::new()));
        }
    }

    pub(super) fn begin_probe(&mut self, id: u32) -> std::io::Result<()> {
        let Some(instance) = self.instances.get_mut(&id) else { return Ok(()) };
        let Some(spec) = instance.spec.probe.clone() else { return Ok(()) };
        let inside = Inside {
            network: instance.network.netns.try_clone()?,
            addresses: [IpAddr::from(instance.spec.v4), IpAddr::from(instance.spec.v6)],
            execute: Box::new({
                let outbox = self.outbox.clone();
                move |command, patience| {
                    let (answer, result) = channel();
                    let client = NEXT_CLIENT.fetch_add(1, Ordering::Relaxed);
                    let command = command.to_owned();
                    let _ = outbox.send(Message::ProbeCommand { client, id, command, answer });
                    match result.recv_timeout(patience) {
                        Ok(Ok(status)) if status.success() => Ok(()),
                        Ok(Ok(status)) => Err(format!("the probe's command ended with {status}")),
                        Ok(Err(message)) => Err(message),
                        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                            let _ = outbox.send(Message::Left { client });
                            Err("the probe's command did not end in time".into())
                        }
                    }
                }
            }),
        };
        let (outbox, start) = (self.outbox.clone(), instance.starts);
        let report = move |result| drop(outbox.send(Message::Probed { id, start, result }));
        instance.probe = Some(Probe::start(spec, inside, report)?);
        Ok(())
    }

    pub(super) fn set_readiness(&mut self, id: u32, result: Result<(), String>) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        instance.readiness = result.clone().map_err(Some);
        self.subscribers.tell(match result {
            Ok(()) => EventKind::Ready { id },
            Err(why) => EventKind::NotReady { id, why },
        });
    }
}

/// When something is to be done about it though nothing is heard.
pub(super) fn deadline(instance: &Instance) -> Option<Instant> {
    match &instance.life {
        Life::BackingOff { until } => Some(*until),
        // Its cgroup is about to be empty.
        Life::Stopping(Stopping { pid: None, look_at, .. }) => Some(*look_at),
        Life::Stopping(Stopping { pid: Some(_), kill_at, .. }) => *kill_at,
        Life::Created
        | Life::Starting { .. }
        | Life::Running { .. }
        | Life::Exited
        | Life::Failed { .. }
        | Life::Stopped => None,
    }
}

/// Processes of the mesh itself have users that nobody else is.
pub(super) fn not_reserved(user: &str) -> Result<(), String> {
    if is_reserved(user) {
        return Err(format!("user {user} is kept for processes of the mesh itself: choose another"));
    }
    Ok(())
}

fn unknown(id: u32) -> String {
    format!("there is no workload {id}: create it first")
}

/// Whether it names a file, in the folder that it is meant for.
fn is_file_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !name.is_empty() && name.len() <= 200 && name.bytes().all(allowed) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        assert!(is_file_name("default.web-0"));
        for bad in ["", "../../etc/passwd", "a/b", ".hidden", "a b"] {
            assert!(!is_file_name(bad), "{bad}");
        }
    }
}
