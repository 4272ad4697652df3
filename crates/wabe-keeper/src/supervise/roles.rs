//! Agent, dns and proxy: their starts, the proxy's relief, and the end of everything.

use std::{
    fs::OpenOptions,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    path::Path,
    time::Instant,
};

use rustix::{fs::OFlags, process::Signal};

use crate::protocol::{ExitStatus, Response};

use super::{
    Answer, Reply, Supervisor, Word,
    role::Role,
    runs::Owner,
    shift::{READY, Was},
    tell,
};

impl Supervisor {
    /// Starts a process of the mesh, now and whenever it ends.
    pub(crate) fn keep(&mut self, role: Role) {
        self.roles.push(role);
    }

    pub(super) fn role_ended(&mut self, place: usize, number: u32, result: Result<ExitStatus, String>) {
        let closing = self.closing.is_some();
        let role = &mut self.roles[place];
        match role.ended(number, &result, closing) {
            Was::InCharge | Was::Draining => {}
            Was::Relief => {
                if let Some(answer) = role.asked_by.take() {
                    let how = match result {
                        Ok(status) => {
                            format!(
                                "ended before it served ({status}), or did not within {} s",
                                READY.as_secs()
                            )
                        }
                        Err(message) => format!("could not be executed: {message}"),
                    };
                    refuse(
                        &answer,
                        format!(
                            "the new proxy {how}; the one in charge goes on, `wabe logs proxy` may say more"
                        ),
                    );
                }
            }
        }
    }

    pub(super) fn tick_roles(&mut self, now: Instant) {
        let ending = self.closing.is_some() && self.instances.is_empty();
        for place in 0..self.roles.len() {
            if self.closing.is_none() && self.roles[place].shift.wants_one(now) {
                match self.roles[place].start(&self.launcher) {
                    Ok((shim, number)) => self.watch(shim, Owner::Role { place, number }),
                    Err(error) => self.roles[place].failed_to_start(&error),
                }
            }
            let shift = &mut self.roles[place].shift;
            let mut signals = shift.overdue(now);
            if ending && !self.ending {
                signals.extend(shift.end(now).into_iter().map(|pid| (pid, Signal::TERM)));
            }
            for (pid, signal) in signals {
                self.signal(pid, signal);
            }
        }
        self.ending = ending;
    }

    /// Starts another proxy on the same listeners. The answer comes when it serves, or has failed to.
    pub(super) fn relieve_proxy(&mut self, program: Option<&Path>, answer: Answer) {
        if let Err(message) = self.begin_relief(program, &answer) {
            refuse(&answer, message);
        }
    }

    fn begin_relief(&mut self, program: Option<&Path>, answer: &Answer) -> Result<(), String> {
        if self.closing.is_some() {
            return Err("the mesh is being stopped".into());
        }
        let program = program.map(open_program).transpose()?;
        let (place, role) = self
            .roles
            .iter_mut()
            .enumerate()
            .find(|(_, role)| role.vendor.is_some())
            .ok_or("this mesh has no proxy")?;
        role.shift
            .may_be_relieved(Instant::now())
            .map_err(|why| format!("no new proxy is started: {why}"))?;
        let (shim, number) = role
            .start_relief(&self.launcher, program)
            .map_err(|error| format!("the new proxy can't be started: {error}; the one in charge goes on"))?;
        role.asked_by = Some(answer.clone());
        self.watch(shim, Owner::Role { place, number });
        Ok(())
    }

    /// The proxy says something, and can't be trusted to say it once, or truly.
    pub(super) fn proxy_said(&mut self, number: u32, word: Word) {
        let Some(role) = self.roles.iter_mut().find(|role| role.vendor.is_some()) else { return };
        let now = Instant::now();
        match word {
            Word::Ready => {
                let (is_in_charge, relieved) = role.shift.ready(number, now);
                if is_in_charge {
                    role.relieved();
                    let answer = role.asked_by.take().zip(role.shift.in_charge());
                    if let Some((answer, process)) = answer {
                        tell(&answer, Reply::Response(Response::Relieved { pid: process.pid }, Vec::new()));
                    }
                }
                if let Some(pid) = relieved {
                    self.signal(pid, Signal::TERM);
                }
            }
            Word::Draining => role.leaves(number, now),
            Word::Overreached(what) => {
                let pid = role.shift.pid(number);
                tracing::error!(?pid, "a proxy {what}: it is none of ours any more, and is ended");
                if let Some(pid) = pid {
                    self.signal(pid, Signal::KILL);
                }
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
        let ended = self.instances.is_empty() && self.roles.iter().all(|role| role.shift.is_over());
        if ended { self.closing.take() } else { None }
    }
}

fn open_program(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::PATH.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    opened.map(OwnedFd::from).map_err(|error| format!("{} can't be opened: {error}", path.display()))
}

fn refuse(answer: &Answer, message: String) {
    tell(answer, Reply::Response(Response::Error { message }, Vec::new()));
}
