//! Requests that change objects: all or nothing, and in force when they are answered.

use std::{sync::mpsc::Sender, time::Duration};

use wabe_model::{Kind, MeshConfig, Object, ObjectKey, ObjectName, Objects};

use super::Engine;
use crate::{
    api::{Changed, Reply, Request},
    datapath::Datapath,
};

impl<D: Datapath> Engine<D> {
    pub(super) fn request(&mut self, request: Request, replies: Sender<Reply>) {
        let reply = match request {
            Request::Apply { objects } => self.apply(objects),
            Request::Delete { keys } => self.delete(&keys),
            Request::Scale { workload, replicas } => self.scale(&workload, replicas),
            Request::Restart { workload } => self.restart(&workload),
            Request::Get { kind } => {
                let wanted = |object: &&Object| kind.is_none_or(|kind| object.key().kind == kind);
                Ok(Reply::Objects { objects: self.state.objects.iter().filter(wanted).cloned().collect() })
            }
            Request::Status => self.status().map(|status| Reply::Status(Box::new(status))),
            Request::WaitReady { workloads, timeout } => {
                return self.wait(workloads, Duration::from_millis(timeout), replies);
            }
            Request::Simulate(simulate) => return self.simulate(simulate, replies),
            Request::Flows { .. } => Err("flows are not answered here".to_owned()),
        };
        // Whoever asked may have gone meanwhile.
        let _ = replies.send(reply.unwrap_or_else(|message| Reply::Refused { message }));
    }

    fn apply(&mut self, objects: Vec<Object>) -> Result<Reply, String> {
        let mut changed = Changed::default();
        let mut all = self.state.objects.clone();
        for object in objects {
            if let Object::MeshConfig(config) = &object {
                self.check_settings(config)?;
            }
            let key = object.key();
            let before = all.insert(object);
            let list = match before {
                None => &mut changed.created,
                Some(before) if all.find(&key) == Some(&before) => &mut changed.unchanged,
                Some(_) => &mut changed.changed,
            };
            list.push(key);
        }
        self.replace(all, changed)
    }

    fn delete(&mut self, keys: &[ObjectKey]) -> Result<Reply, String> {
        let is_settings = |key: &&ObjectKey| key.kind == Kind::MeshConfig;
        if keys.iter().filter(is_settings).any(|key| self.state.objects.find(key).is_some()) {
            return Err(
                "MeshConfig: the mesh goes by it as long as it is up; leave it out of what is deleted, \
                 apply one with other settings to change them, or take the mesh down"
                    .into(),
            );
        }
        let mut all = self.state.objects.clone();
        let deleted = keys.iter().filter(|key| all.remove(key).is_some()).cloned().collect();
        self.replace(all, Changed { deleted, ..Changed::default() })
    }

    fn scale(&mut self, name: &ObjectName, replicas: u32) -> Result<Reply, String> {
        let key = ObjectKey { kind: Kind::Workload, name: name.clone() };
        let Some(Object::Workload(workload)) = self.state.objects.find(&key) else {
            return Err(unknown(name));
        };
        let scaled = wabe_model::Workload { replicas, ..workload.clone() };
        self.apply(vec![Object::Workload(scaled)])
    }

    fn restart(&mut self, name: &ObjectName) -> Result<Reply, String> {
        let key = ObjectKey { kind: Kind::Workload, name: name.clone() };
        if self.state.objects.find(&key).is_none() {
            return Err(unknown(name));
        }
        *self.state.revisions.entry(name.to_string()).or_default() += 1;
        self.changed = true;
        let generation = self.generation();
        Ok(Reply::Changed(Changed { changed: vec![key], generation, ..Changed::default() }))
    }

    /// What was decided when the mesh began can't be changed while it is up.
    fn check_settings(&self, config: &MeshConfig) -> Result<(), String> {
        let ranges = &self.node.ranges;
        let fits = config.trust_domain == self.node.trust_domain
            && config.root_namespace == self.node.root_namespace
            && config.workload_range_v4.is_none_or(|range| range == ranges.workloads_v4)
            && config.service_range_v4.is_none_or(|range| range == ranges.services_v4)
            && config.workload_range_v6.is_none_or(|range| range == ranges.workloads_v6)
            && config.service_range_v6.is_none_or(|range| range == ranges.services_v6);
        if fits {
            return Ok(());
        }
        Err("MeshConfig: trust domain, root namespace and address ranges are fixed while a mesh is up; \
             take it down and up again to change them"
            .into())
    }

    /// Puts other objects in force, or leaves everything as it is.
    fn replace(&mut self, objects: Objects, mut changed: Changed) -> Result<Reply, String> {
        let objects_before = std::mem::replace(&mut self.state.objects, objects);
        let instances_before = self.state.instances.clone();
        self.update_specs();
        match self.install() {
            Ok(executed) => {
                changed.warnings = executed.warnings.into_iter().collect();
                changed.generation = self.generation();
                changed.microseconds = executed.in_force.as_micros() as u64;
                self.changed = true;
                Ok(Reply::Changed(changed))
            }
            Err(error) => {
                self.state.objects = objects_before;
                self.state.instances = instances_before;
                self.changed = true;
                Err(error.to_string())
            }
        }
    }

    /// What needs no new process holds for running instances at once: labels, ports, weights.
    fn update_specs(&mut self) {
        for workload in self.state.objects.workloads() {
            let revision = self.state.revisions.get(&workload.name.to_string()).copied().unwrap_or(0);
            let same = self.state.instances.values_mut().filter(|it| it.is_copy_of(workload, revision));
            same.filter(|it| it.spec.name == workload.name).for_each(|it| it.spec = workload.clone());
        }
    }
}

fn unknown(name: &ObjectName) -> String {
    format!("there is no workload {name}; `wabe get workload` lists those that there are")
}
