//! What the keeper reports of instances.

use std::collections::BTreeSet;

use wabe_keeper::protocol::{self, EventKind, InstanceState};

use super::Engine;
use crate::{
    datapath::Datapath,
    state::{Instance, Phase},
    supervisor::Job,
};

impl<D: Datapath> Engine<D> {
    pub(super) fn news(&mut self, event: EventKind) {
        match event {
            EventKind::State(all) => self.compare(&all),
            EventKind::Started { id, pid } => self.update(id, |it| {
                it.pid = Some(pid);
                if it.phase == Phase::Starting {
                    it.phase = Phase::Started;
                }
            }),
            EventKind::Ready { id } => self.update(id, |it| {
                it.ready = true;
                it.was_ready = true;
                it.trouble = None;
                if it.phase == Phase::Starting {
                    it.phase = Phase::Started;
                }
            }),
            EventKind::NotReady { id, why } => self.update(id, |it| {
                it.ready = false;
                it.trouble = Some(why);
            }),
            EventKind::Rehoused { id, cgroup_id } => self.rehoused(id, cgroup_id),
            EventKind::Exited { id, status } => self.update(id, |it| {
                it.pid = None;
                it.ready = false;
                it.completed = status.success() && it.spec.restart != wabe_model::RestartPolicy::Always;
                it.hopeless |= !status.success() && it.spec.restart == wabe_model::RestartPolicy::Never;
                it.trouble = Some(format!("its process ended with {status}"));
            }),
            EventKind::Restarting { id, .. } => self.update(id, |it| it.restarts += 1),
            EventKind::Failed { id, message } => self.update(id, |it| {
                it.ready = false;
                it.hopeless = true;
                it.trouble = Some(message);
            }),
            EventKind::Stopped { id } => self.stopped(id),
            EventKind::Removed { id } => self.removed(id),
        }
    }

    /// It is in another cgroup, which the tables have to know before its process is started.
    fn rehoused(&mut self, id: u32, cgroup: u64) {
        self.update(id, |it| it.rehouse(cgroup));
        self.to_start.insert(id);
    }

    /// The keeper's list against ours: it is right about what runs.
    fn compare(&mut self, all: &[InstanceState]) {
        let theirs: BTreeSet<u32> = all.iter().map(|it| it.spec.id).collect();
        for state in all {
            let id = state.spec.id;
            if self.state.instances.contains_key(&id) {
                self.update(id, |it| adopt(it, state));
                if state.phase == protocol::Phase::Created {
                    self.rehoused(id, state.cgroup_id);
                }
                if state.phase == protocol::Phase::Stopped {
                    self.stopped(id);
                }
            } else if !self.busy.contains(&id) {
                tracing::warn!(
                    instance = id,
                    workload = state.spec.workload,
                    "nobody wants it any more; removing it"
                );
                self.give(Job::Remove(id));
            }
        }
        let lost =
            |it: &&Instance| it.place.is_some() && !theirs.contains(&it.id) && !self.busy.contains(&it.id);
        let lost: Vec<u32> = self.state.instances.values().filter(lost).map(|it| it.id).collect();
        // The list may be older than the instance: only a question now tells.
        lost.into_iter().for_each(|id| self.give(Job::Find(id)));
    }

    fn removed(&mut self, id: u32) {
        // If it was our job, its answer says so too; else somebody else removed it, and a new one is due.
        if !self.busy.contains(&id) {
            self.gone(id);
        }
    }

    fn update(&mut self, id: u32, change: impl FnOnce(&mut Instance)) {
        let Some(instance) = self.state.instances.get_mut(&id) else { return };
        let before = instance.clone();
        change(instance);
        if *instance != before {
            self.changed = true;
        }
    }
}

/// Takes over what the keeper says of an instance.
pub(super) fn adopt(instance: &mut Instance, state: &InstanceState) {
    instance.ready = state.ready;
    instance.was_ready |= state.ready;
    instance.restarts = state.restarts;
    instance.pid = match &state.phase {
        protocol::Phase::Starting { pid } | protocol::Phase::Running { pid } => Some(*pid),
        protocol::Phase::Created
        | protocol::Phase::BackingOff
        | protocol::Phase::Exited
        | protocol::Phase::Failed { .. }
        | protocol::Phase::Stopping
        | protocol::Phase::Stopped => None,
    };
    if let protocol::Phase::Failed { message } = &state.phase {
        instance.trouble = Some(message.clone());
        instance.hopeless = true;
    } else if !state.ready {
        instance.trouble = state
            .not_ready_because
            .clone()
            .or_else(|| state.last_exit.map(|status| format!("its process ended with {status}")));
    } else {
        instance.trouble = None;
    }
    if instance.phase == Phase::Starting && state.phase != protocol::Phase::Created {
        instance.phase = Phase::Started;
    }
}
