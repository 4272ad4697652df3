//! From nothing to a running instance and back: making, starting, draining, ending.

use std::{os::fd::AsFd, time::Duration};

use wabe_model::Workload;

use super::{Engine, Later, RETRY};
use crate::{
    datapath::Datapath,
    instance_spec,
    rollout::{Step, steps},
    state::{Instance, Phase, Place},
    supervisor::{Done, Job, Made},
};

/// How often it is looked whether a draining instance has come to rest.
const DRAIN_TICK: Duration = Duration::from_millis(50);
/// How much longer than its grace an instance may take to end.
const PATIENCE: Duration = Duration::from_secs(3);

impl<D: Datapath> Engine<D> {
    /// Makes what is missing and ends what is too much.
    pub(super) fn roll(&mut self) {
        for step in steps(&self.state) {
            match step {
                Step::Make { workload, replica } => self.make(*workload, replica),
                Step::End(id) => self.retire(id),
            }
        }
    }

    /// What became of a job of the keeper's.
    pub(super) fn done(&mut self, done: Done) {
        let id = done.job.id();
        self.busy.remove(&id);
        match (done.job, done.result) {
            (Job::Create(_), Ok(Some(made))) => self.made(id, made),
            (Job::Find(_) | Job::Start(_) | Job::Stop(..), Ok(_)) | (Job::Create(_), Ok(None)) => {}
            (Job::Remove(_), Ok(_)) | (Job::Find(_), Err(_)) => self.gone(id),
            (job @ (Job::Create(_) | Job::Start(_)), Err(message)) => self.failed(job, message),
            (Job::Stop(..), Err(message)) => {
                tracing::warn!(instance = id, message, "stopping failed; removing it");
                self.give(Job::Remove(id));
            }
            (job @ Job::Remove(_), Err(message)) => {
                tracing::warn!(instance = id, message, "removing failed; trying again");
                self.timers.add(self.now + RETRY, Later::Again(job));
            }
        }
    }

    /// Guards and starts the instances that the tables know now.
    pub(super) fn start_installed(&mut self) {
        for id in std::mem::take(&mut self.to_start) {
            let Some(instance) = self.state.instances.get_mut(&id) else { continue };
            let (Some(place), Some(handles)) = (instance.place, self.handles.get(&id)) else { continue };
            if self.installed.mirror.cgroups.get(&place.cgroup) != Some(&id) {
                // The tables could not be written; it stays outside until they can.
                self.to_start.insert(id);
                continue;
            }
            let proxy = handles.proxy.as_ref().map(|it| it.as_fd());
            match self.datapath.attach_workload(id, handles.netns.as_fd(), place.node_ifindex, proxy) {
                Ok(()) if instance.phase == Phase::Making => {
                    instance.phase = Phase::Starting;
                    self.give(Job::Start(id));
                }
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(instance = id, %error, "it can't be guarded and is not started");
                    instance.trouble = Some(error.to_string());
                    self.to_start.insert(id);
                    self.timers.add(self.now + RETRY, Later::Install);
                }
            }
        }
    }

    /// A draining instance has come to rest, or its grace has ended.
    pub(super) fn drained(&mut self, id: u32) {
        let Some(instance) = self.state.instances.get(&id).filter(|it| it.phase == Phase::Draining) else {
            return;
        };
        let grace = instance.spec.grace;
        let live = self.datapath.load_of(id).map_or(0, |load| load.live);
        let deadline = self.drains.get(&id).copied().unwrap_or(self.now);
        if live > 0 && self.now < deadline {
            self.timers.add((self.now + DRAIN_TICK).min(deadline), Later::Drained(id));
            return;
        }
        self.drains.remove(&id);
        self.set_phase(id, Phase::Ending);
        self.give(Job::Stop(id, grace));
        self.timers.add(self.now + grace + PATIENCE, Later::Overdue(id));
    }

    /// Stopping was asked for, but no word came that it happened.
    pub(super) fn overdue(&mut self, id: u32) {
        if self.state.instances.get(&id).is_some_and(|it| it.phase == Phase::Ending)
            && !self.busy.contains(&id)
        {
            self.give(Job::Remove(id));
        }
    }

    /// Gives a job again, if it still has a point.
    pub(super) fn again(&mut self, job: Job) {
        let phase = self.state.instances.get(&job.id()).map(|it| it.phase);
        let wanted = match &job {
            Job::Create(_) => phase == Some(Phase::Making),
            Job::Start(_) => phase == Some(Phase::Starting),
            Job::Find(_) => false,
            Job::Stop(..) | Job::Remove(_) => phase == Some(Phase::Ending) || phase.is_none(),
        };
        if wanted && !self.busy.contains(&job.id()) {
            self.give(job);
        }
    }

    /// Its process has ended on request: its namespaces go.
    pub(super) fn stopped(&mut self, id: u32) {
        if self.state.instances.get(&id).is_some_and(|it| it.phase == Phase::Ending) {
            self.give(Job::Remove(id));
        }
    }

    /// Nothing is left of it but rows in the kernel's tables, which the next plan removes.
    pub(super) fn gone(&mut self, id: u32) {
        if let Err(error) = self.datapath.detach_workload(id) {
            tracing::warn!(instance = id, %error, "its links could not be removed");
        }
        self.handles.remove(&id);
        self.to_start.remove(&id);
        self.drains.remove(&id);
        if self.state.instances.remove(&id).is_some() {
            self.changed = true;
        }
    }

    pub(super) fn set_phase(&mut self, id: u32, phase: Phase) {
        if let Some(instance) = self.state.instances.get_mut(&id) {
            instance.phase = phase;
            self.changed = true;
        }
    }

    fn make(&mut self, workload: Workload, replica: u32) {
        let (instances, datapath) = (&self.state.instances, &self.datapath);
        // A number whose former owner's callers have not closed yet would inherit their count.
        let used = |id| instances.contains_key(&id) || datapath.load_of(id).is_ok_and(|load| load.live > 0);
        let Some(id) = self.state.ids.instance(used) else {
            let text = format!(
                "workload {}: no room for another replica on this node; scale something down",
                workload.name
            );
            self.warnings.insert(text);
            return;
        };
        let revision = self.state.revision(&workload.name);
        let mut instance = Instance::new(id, replica, revision, workload);
        match self.node.ranges.addresses(id) {
            Some(addresses) => {
                self.give(Job::Create(Box::new(instance_spec::of(&instance, addresses))));
            }
            None => {
                let range = self.node.ranges.workloads_v4;
                instance.trouble =
                    Some(format!("no address is left in {range}; set a larger workloadRangeV4"));
                instance.hopeless = true;
            }
        }
        self.state.instances.insert(id, instance);
        self.changed = true;
    }

    /// Takes an instance out of service.
    fn retire(&mut self, id: u32) {
        let Some(instance) = self.state.instances.get_mut(&id) else { return };
        tracing::info!(instance = id, workload = %instance.spec.name, "takes no more connections");
        match (instance.phase, self.busy.contains(&id)) {
            // When the job is done, what it made is removed.
            (Phase::Making, true) => self.set_phase(id, Phase::Ending),
            (Phase::Making, false) => {
                self.set_phase(id, Phase::Ending);
                self.give(Job::Remove(id));
            }
            (Phase::Starting | Phase::Started, _) => {
                let grace = instance.spec.grace;
                self.set_phase(id, Phase::Draining);
                self.drains.insert(id, self.now + grace);
                self.timers.add(self.now + DRAIN_TICK / 2, Later::Drained(id));
            }
            (Phase::Draining | Phase::Ending, _) => {}
        }
    }

    fn made(&mut self, id: u32, made: Made) {
        self.handles.insert(id, made.handles);
        let addresses = self.node.ranges.addresses(id);
        let Some(instance) = self.state.instances.get_mut(&id).filter(|it| it.phase == Phase::Making) else {
            // It is not wanted any more.
            self.give(Job::Remove(id));
            return;
        };
        let Some((v4, v6)) = addresses else { return };
        instance.place = Some(Place { v4, v6, cgroup: made.cgroup, node_ifindex: made.node_ifindex });
        instance.trouble = None;
        instance.hopeless = false;
        self.to_start.insert(id);
        self.changed = true;
    }

    fn failed(&mut self, job: Job, message: String) {
        let Some(instance) = self.state.instances.get_mut(&job.id()) else { return };
        tracing::warn!(instance = job.id(), workload = %instance.spec.name, message, "it could not be made or started");
        self.changed = true;
        if instance.is_leaving() {
            self.give(Job::Remove(job.id()));
            return;
        }
        instance.trouble = Some(message);
        // What the machine lacks may come, hence the next try; who waits should be told now.
        instance.hopeless |= matches!(job, Job::Create(_));
        self.timers.add(self.now + RETRY, Later::Again(job));
    }
}
