//! Agent, dns and proxy: their starts, and the end of everything.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::protocol::ExitStatus;

use super::{
    Answer, Supervisor,
    role::{Role, RoleLife},
    runs::Owner,
};

/// What agent, dns and proxy get to end in.
const GRACE: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Starts a process of the mesh, now and whenever it ends.
    pub(crate) fn keep(&mut self, role: Role) {
        self.roles.push(role);
    }

    pub(super) fn role_ended(&mut self, place: usize, result: Result<ExitStatus, String>) {
        let closing = self.closing.is_some();
        self.roles[place].ended(result, closing);
    }

    pub(super) fn tick_roles(&mut self, now: Instant) {
        let ending = self.closing.is_some() && self.instances.is_empty();
        for place in 0..self.roles.len() {
            let role = &mut self.roles[place];
            match role.life {
                RoleLife::Waiting { .. } if self.closing.is_some() => role.life = RoleLife::Ended,
                RoleLife::Waiting { until } if until <= now => match role.start(&self.launcher) {
                    Ok(shim) => self.watch(shim, Owner::Role(place)),
                    Err(error) => role.ended(Err(format!("can't start: {error}")), false),
                },
                RoleLife::Alive { pid, kill_at: None } if ending => {
                    role.life = RoleLife::Alive { pid, kill_at: Some(now + GRACE) };
                    self.signal(pid, Signal::TERM);
                }
                RoleLife::Alive { pid, kill_at: Some(at) } if at <= now => {
                    role.life = RoleLife::Alive { pid, kill_at: Some(now + GRACE) };
                    self.signal(pid, Signal::KILL);
                }
                RoleLife::Waiting { .. } | RoleLife::Alive { .. } | RoleLife::Ended => {}
            }
        }
    }

    /// Begins the end: workloads first, then agent, dns and proxy.
    pub(super) fn close(&mut self, answer: Option<Answer>) {
        if self.closing.is_none() {
            self.stop_and_remove_all();
        }
        self.closing.get_or_insert_default().extend(answer);
    }

    /// Those who wait for the end, when it has come.
    pub(super) fn closed(&mut self) -> Option<Vec<Answer>> {
        let ended = self.instances.is_empty() && self.roles.iter().all(|role| role.life == RoleLife::Ended);
        if ended { self.closing.take() } else { None }
    }
}

pub(super) fn deadline(role: &Role) -> Option<Instant> {
    match role.life {
        RoleLife::Waiting { until } => Some(until),
        RoleLife::Alive { kill_at, .. } => kill_at,
        RoleLife::Ended => None,
    }
}
