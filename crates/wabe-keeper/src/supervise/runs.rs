//! Processes that the keeper started, and what is known about each.
//!
//! Two things are heard about a process, in either order: whether its command was executed, and how it ended. A command
//! that ends at once is often heard of as ended first.

use std::collections::HashMap;

use crate::protocol::ExitStatus;

/// One process. Unlike process ids, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RunId(u64);

/// Whose process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The main process of the workload with this id.
    Instance(u32),
    /// Agent, dns or proxy, by its place, with the number that the process has there.
    Role { place: usize, number: u32 },
    /// A command inside a workload, by its number.
    Command(u64),
}

/// What became known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Its command was executed.
    Executed { owner: Owner, pid: u32 },
    /// It ended; with a message if its command was never executed. The last that is heard of it.
    Ended { owner: Owner, result: Result<ExitStatus, String> },
}

#[derive(Debug, Default)]
pub(super) struct Runs {
    last: u64,
    runs: HashMap<RunId, Run>,
    by_pid: HashMap<u32, RunId>,
}

#[derive(Debug)]
struct Run {
    owner: Owner,
    pid: u32,
    executed: Option<Result<(), String>>,
    ended: Option<ExitStatus>,
}

impl Runs {
    /// A process was started.
    pub(super) fn add(&mut self, pid: u32, owner: Owner) -> RunId {
        self.last += 1;
        let id = RunId(self.last);
        self.runs.insert(id, Run { owner, pid, executed: None, ended: None });
        self.by_pid.insert(pid, id);
        id
    }

    /// Whether this is the number of a process of ours that was not waited for: it can't be another's by now.
    pub(super) fn is_alive(&self, pid: u32) -> bool {
        self.by_pid.contains_key(&pid)
    }

    /// Its command was executed, or could not be.
    pub(super) fn executed(&mut self, id: RunId, result: Result<(), String>) -> Vec<Turn> {
        let Some(run) = self.runs.get_mut(&id) else { return Vec::new() };
        let first = result.is_ok().then_some(Turn::Executed { owner: run.owner, pid: run.pid });
        run.executed = Some(result);
        first.into_iter().chain(self.end(id)).collect()
    }

    /// A process was waited for. It may be a stranger: an orphan that came to the keeper.
    pub(super) fn exited(&mut self, pid: u32, status: ExitStatus) -> Vec<Turn> {
        let Some(id) = self.by_pid.remove(&pid) else { return Vec::new() };
        if let Some(run) = self.runs.get_mut(&id) {
            run.ended = Some(status);
        }
        self.end(id).into_iter().collect()
    }

    fn end(&mut self, id: RunId) -> Option<Turn> {
        let run = self.runs.get(&id)?;
        let (executed, status) = (run.executed.clone()?, run.ended?);
        let owner = run.owner;
        self.runs.remove(&id);
        Some(Turn::Ended { owner, result: executed.map(|()| status) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner::Instance(1);
    const STATUS: ExitStatus = ExitStatus::Code(3);

    #[test]
    fn an_end_is_told_after_the_beginning_whatever_is_heard_first() {
        let executed = Turn::Executed { owner: OWNER, pid: 7 };
        let ended = Turn::Ended { owner: OWNER, result: Ok(STATUS) };

        let mut runs = Runs::default();
        let id = runs.add(7, OWNER);
        assert_eq!(runs.executed(id, Ok(())), std::slice::from_ref(&executed));
        assert_eq!(runs.exited(7, STATUS), std::slice::from_ref(&ended));

        let id = runs.add(7, OWNER);
        assert_eq!(runs.exited(7, STATUS), []);
        assert_eq!(runs.executed(id, Ok(())), [executed, ended]);
        assert!(runs.runs.is_empty() && runs.by_pid.is_empty());
    }

    #[test]
    fn what_was_not_executed_ends_with_its_message() {
        let mut runs = Runs::default();
        let id = runs.add(7, OWNER);
        assert_eq!(runs.executed(id, Err("no".into())), []);
        assert_eq!(runs.exited(7, STATUS), [Turn::Ended { owner: OWNER, result: Err("no".into()) }]);
    }

    #[test]
    fn a_process_id_used_again_is_another_process() {
        let mut runs = Runs::default();
        let old = runs.add(7, OWNER);
        assert_eq!(runs.exited(7, STATUS), []);
        let new = runs.add(7, Owner::Instance(2));
        assert_eq!(runs.executed(new, Ok(())), [Turn::Executed { owner: Owner::Instance(2), pid: 7 }]);
        assert_eq!(runs.executed(old, Ok(())).len(), 2);
        assert_eq!(runs.exited(7, STATUS), [Turn::Ended { owner: Owner::Instance(2), result: Ok(STATUS) }]);
    }

    #[test]
    fn strangers_are_nobodys() {
        assert_eq!(Runs::default().exited(7, STATUS), []);
    }
}
