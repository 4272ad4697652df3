//! Waiting until workloads are ready, with news on the way.

use std::{
    collections::BTreeMap,
    sync::mpsc::Sender,
    time::{Duration, Instant},
};

use wabe_model::{ObjectName, Workload};

use super::{Engine, Later};
use crate::{
    api::{NotReady, Reply},
    datapath::Datapath,
    state::Instance,
};

/// A process that ended this often without ever having been ready will not make it.
const ATTEMPTS: u32 = 5;
/// Without a probe a process counts as ready when it runs; one that exits at once does so within this.
const SETTLING: Duration = Duration::from_millis(250);

/// Somebody who waits.
pub(super) struct Wait {
    workloads: Vec<ObjectName>,
    until: Instant,
    replies: Sender<Reply>,
    told: BTreeMap<ObjectName, u32>,
    ready_since: Option<Instant>,
}

enum Outcome {
    Waiting,
    Over,
}

impl<D: Datapath> Engine<D> {
    pub(super) fn wait(&mut self, workloads: Vec<ObjectName>, patience: Duration, replies: Sender<Reply>) {
        let until = self.now + patience;
        self.timers.add(until, Later::Waits);
        self.waits.push(Wait { workloads, until, replies, told: BTreeMap::new(), ready_since: None });
        self.changed = true;
    }

    pub(super) fn answer_waits(&mut self) {
        let mut waits = std::mem::take(&mut self.waits);
        waits.retain_mut(|wait| match self.answer(wait) {
            Outcome::Waiting => true,
            Outcome::Over => false,
        });
        self.waits = waits;
    }

    fn answer(&mut self, wait: &mut Wait) -> Outcome {
        let (mut lacking, mut hopeless, mut probed) = (Vec::new(), false, true);
        for workload in self.state.objects.workloads() {
            if !wait.workloads.is_empty() && !wait.workloads.contains(&workload.name) {
                continue;
            }
            let revision = self.state.revision(&workload.name);
            let of_it = self.state.instances_of(&workload.name);
            let copies: Vec<&Instance> = of_it.filter(|it| it.is_copy_of(workload, revision)).collect();
            let ready = copies.iter().filter(|it| it.takes_connections() || it.completed).count() as u32;
            probed &= workload.readiness.is_some();
            if wait.told.insert(workload.name.clone(), ready) != Some(ready) && ready > 0 {
                let (workload, wanted) = (workload.name.clone(), workload.replicas);
                if wait.replies.send(Reply::Progress { workload, ready, wanted }).is_err() {
                    return Outcome::Over;
                }
            }
            if ready < workload.replicas {
                hopeless |= copies.iter().any(|it| is_hopeless(it));
                lacking.push(not_ready(workload, ready, &copies));
            }
        }
        if lacking.is_empty() {
            let since = *wait.ready_since.get_or_insert(self.now);
            if probed || self.now >= since + SETTLING {
                let _ = wait.replies.send(Reply::Ready);
                return Outcome::Over;
            }
            self.timers.add(since + SETTLING, Later::Waits);
            return Outcome::Waiting;
        }
        wait.ready_since = None;
        if hopeless || self.now >= wait.until {
            let _ = wait.replies.send(Reply::NotReady { workloads: lacking });
            return Outcome::Over;
        }
        Outcome::Waiting
    }
}

fn is_hopeless(instance: &Instance) -> bool {
    instance.hopeless || (instance.restarts >= ATTEMPTS && !instance.takes_connections())
}

fn not_ready(workload: &Workload, ready: u32, copies: &[&Instance]) -> NotReady {
    let mut lacking = copies.iter().filter(|it| !it.takes_connections() && !it.completed);
    let first = lacking.clone().find(|it| is_hopeless(it)).or_else(|| lacking.next());
    let why = first.and_then(|it| it.trouble.clone()).unwrap_or_else(|| "it is still being started".into());
    NotReady {
        workload: workload.name.clone(),
        ready,
        wanted: workload.replicas,
        why,
        instance: first.map(|it| it.log_name()),
    }
}
