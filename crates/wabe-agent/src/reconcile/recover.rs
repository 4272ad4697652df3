//! The first look: what an earlier agent left in the kernel, and what the keeper runs.

use std::fs;

use wabe_keeper::protocol::{self, InstanceState};

use super::{Engine, news::adopt};
use crate::{
    datapath::Datapath,
    plan::Installed,
    state::{Phase, Place},
    supervisor::Job,
};

/// An instance that the keeper has, with the way into it.
pub struct Running {
    /// What the keeper says of it.
    pub state: InstanceState,
    /// Its handles; `None` if the keeper could not give them.
    pub handles: Option<crate::supervisor::Handles>,
}

/// Why an agent can't take over. What is in the kernel stays in force.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] wabe_datapath::Error),
    /// The tables have no rows yet, so no program may read them.
    #[error("the tables could not be filled: {0}")]
    NotInstalled(String),
}

impl<D: Datapath> Engine<D> {
    /// Looks at kernel and keeper. Connections and workloads go on meanwhile.
    pub fn recover(&mut self, running: Vec<Running>) -> Result<(), RecoverError> {
        self.installed = Installed::found(&self.datapath.contents()?, self.state.last);
        // An earlier agent may have died between telling the proxy and remembering that it had.
        self.briefed_generation = self.told();
        self.installed.last.generation = self.installed.last.generation.max(self.briefed_generation);
        let known = std::mem::take(&mut self.state.instances);
        for Running { state, handles } in running {
            let id = state.spec.id;
            let (Some(mut instance), Some(handles)) = (known.get(&id).cloned(), handles) else {
                self.give(Job::Remove(id));
                continue;
            };
            // It was in the tables once, so what is counted is its own.
            if instance.phase != Phase::Making {
                self.installed.counted.insert(id);
            }
            instance.place = Some(Place {
                v4: state.spec.v4,
                v6: state.spec.v6,
                cgroup: state.cgroup_id,
                node_ifindex: state.node_ifindex,
            });
            adopt(&mut instance, &state);
            if state.phase == protocol::Phase::Created {
                instance.rehouse(state.cgroup_id);
            }
            match instance.phase {
                // Guarded again, in case an earlier agent died before it was; started if it was not.
                Phase::Making => drop(self.to_start.insert(id)),
                Phase::Starting => {
                    instance.phase = Phase::Making;
                    self.to_start.insert(id);
                }
                Phase::Started => drop(self.to_start.insert(id)),
                Phase::Draining => {
                    self.drains.insert(id, self.now + instance.spec.grace);
                    self.timers.add(self.now, super::Later::Drained(id));
                }
                Phase::Ending => self.give(Job::Remove(id)),
            }
            self.handles.insert(id, handles);
            self.state.instances.insert(id, instance);
        }
        self.all_are_warm();
        self.changed = true;
        self.settle();
        // Not before: an earlier agent's programs stay in force, with its tables, until these have their rows.
        if self.generation() == 0 {
            let why = self.warnings.iter().next().cloned().unwrap_or_default();
            return Err(RecoverError::NotInstalled(why));
        }
        Ok(self.datapath.engage()?)
    }

    /// The generation of what the proxy was told last, by whichever agent; 0 if there is nothing that can be read.
    fn told(&self) -> u64 {
        #[derive(serde::Deserialize)]
        struct Told {
            generation: u64,
        }
        let told =
            fs::read(&self.proxy_file).ok().and_then(|text| serde_json::from_slice::<Told>(&text).ok());
        told.map_or(0, |it| it.generation)
    }
}
