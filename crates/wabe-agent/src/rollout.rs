//! Which instances to make and which to end, so that what runs becomes what users wrote. Pure.
//!
//! A workload that changed is replaced copy by copy: the new one must be ready before the old one of the same place
//! gets no more connections. A new one that never becomes ready leaves the old one serving.

use std::collections::BTreeMap;

use wabe_model::{ObjectName, Workload};

use crate::state::{Instance, State};

/// One change of what runs.
#[must_use]
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Makes a copy.
    Make {
        /// Of this workload, as it is now.
        workload: Box<Workload>,
        /// The copy's place.
        replica: u32,
    },
    /// Takes this instance out of service and ends it.
    End(u32),
}

/// Computes the steps from the objects and what runs now. Instances on their way out are left alone.
pub fn steps(state: &State) -> Vec<Step> {
    let mut running: BTreeMap<&ObjectName, Vec<&Instance>> = BTreeMap::new();
    for instance in state.instances.values().filter(|instance| !instance.is_leaving()) {
        running.entry(instance.workload()).or_default().push(instance);
    }
    let mut steps = Vec::new();
    for workload in state.objects.workloads() {
        let instances = running.remove(&workload.name).unwrap_or_default();
        of_workload(workload, state.revision(&workload.name), &instances, &mut steps);
    }
    // What is left has no object any more.
    steps.extend(running.into_values().flatten().map(|instance| Step::End(instance.id)));
    steps
}

fn of_workload(workload: &Workload, revision: u64, instances: &[&Instance], steps: &mut Vec<Step>) {
    let mut current: BTreeMap<u32, &Instance> = BTreeMap::new();
    let mut outdated = Vec::new();
    for instance in instances {
        let fits = instance.replica < workload.replicas && instance.is_copy_of(workload, revision);
        if !fits {
            outdated.push(*instance);
        } else if current.insert(instance.replica, instance).is_some() {
            // Two for one place can only be left over from an agent that died; the later one stays.
            steps.push(Step::End(instance.id));
        }
    }
    for replica in (0..workload.replicas).filter(|replica| !current.contains_key(replica)) {
        steps.push(Step::Make { workload: Box::new(workload.clone()), replica });
    }
    for instance in outdated {
        let successor_ready = current.get(&instance.replica).is_some_and(|it| it.takes_connections());
        if instance.replica >= workload.replicas || successor_ready || !instance.takes_connections() {
            steps.push(Step::End(instance.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{instance, workload};

    fn state(workload: Workload, instances: Vec<Instance>) -> State {
        let mut state = State::default();
        state.objects.insert(wabe_model::Object::Workload(workload));
        state.instances = instances.into_iter().map(|instance| (instance.id, instance)).collect();
        state
    }

    fn makes(steps: &[Step]) -> Vec<u32> {
        let replica = |step: &Step| if let Step::Make { replica, .. } = step { Some(*replica) } else { None };
        steps.iter().filter_map(replica).collect()
    }

    fn ends(steps: &[Step]) -> Vec<u32> {
        let id = |step: &Step| if let Step::End(id) = step { Some(*id) } else { None };
        steps.iter().filter_map(id).collect()
    }

    fn replicas(count: u32) -> Workload {
        Workload { replicas: count, ..workload("shop", "web") }
    }

    #[test]
    fn makes_what_is_missing_and_ends_what_is_too_much() {
        let steps_up = steps(&state(replicas(3), vec![instance(1, &replicas(3), 1)]));
        assert_eq!((makes(&steps_up), ends(&steps_up)), (vec![0, 2], vec![]));
        let three = (0..3).map(|replica| instance(replica + 1, &replicas(3), replica)).collect();
        let steps_down = steps(&state(replicas(1), three));
        assert_eq!((makes(&steps_down), ends(&steps_down)), (vec![], vec![2, 3]));
    }

    #[test]
    fn ends_what_no_object_names() {
        let mut state = state(replicas(1), vec![instance(1, &replicas(1), 0)]);
        state.objects = Default::default();
        assert_eq!(ends(&steps(&state)), [1]);
    }

    #[test]
    fn the_old_one_serves_until_the_new_one_is_ready() {
        let mut changed = replicas(1);
        changed.command = vec!["other".into()];
        let old = instance(1, &replicas(1), 0);
        let first = steps(&state(changed.clone(), vec![old.clone()]));
        assert_eq!((makes(&first), ends(&first)), (vec![0], vec![]));
        let mut new = instance(2, &changed, 0);
        new.ready = false;
        assert_eq!(steps(&state(changed.clone(), vec![old.clone(), new.clone()])), []);
        new.ready = true;
        assert_eq!(ends(&steps(&state(changed, vec![old, new]))), [1]);
    }

    #[test]
    fn an_old_one_that_serves_nobody_goes_at_once() {
        let mut changed = replicas(1);
        changed.command = vec!["other".into()];
        let mut old = instance(1, &replicas(1), 0);
        old.ready = false;
        let steps = steps(&state(changed, vec![old]));
        assert_eq!((makes(&steps), ends(&steps)), (vec![0], vec![1]));
    }

    #[test]
    fn labels_and_weights_need_no_new_process() {
        let mut changed = replicas(1);
        changed.labels.insert("version".into(), "v2".into());
        changed.weight = 7;
        assert_eq!(steps(&state(changed, vec![instance(1, &replicas(1), 0)])), []);
    }

    #[test]
    fn a_restart_replaces() {
        let mut state = state(replicas(1), vec![instance(1, &replicas(1), 0)]);
        state.revisions.insert("shop/web".into(), 1);
        assert_eq!(makes(&steps(&state)), [0]);
    }

    #[test]
    fn what_is_leaving_is_left_alone_and_not_counted() {
        let mut leaving = instance(1, &replicas(1), 0);
        leaving.phase = crate::state::Phase::Draining;
        let steps = steps(&state(replicas(1), vec![leaving]));
        assert_eq!((makes(&steps), ends(&steps)), (vec![0], vec![]));
    }
}
