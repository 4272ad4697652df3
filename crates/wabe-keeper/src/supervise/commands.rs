//! Commands that run beside a workload's main process: for people, and for probes.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
    sync::mpsc::Sender,
};

use rustix::process::Signal;

use crate::{
    confine::Given,
    protocol::{ExecSpec, ExitStatus, Response},
};

use super::{Answer, Reply, Supervisor, instance::Life, lives::not_reserved, runs::Owner, tell};

/// A command that runs.
pub(super) struct Command {
    client: u64,
    pid: u32,
    /// Is told how it ended.
    answer: Box<dyn FnOnce(Result<ExitStatus, String>)>,
}

impl Supervisor {
    pub(super) fn exec(&mut self, client: u64, spec: ExecSpec, descriptors: Vec<OwnedFd>, answer: Answer) {
        let respond = move |result: Result<ExitStatus, String>| {
            let response = match result {
                Ok(status) => Response::Exited(status),
                Err(message) => Response::Error { message },
            };
            tell(&answer, Reply::Response(response, Vec::new()));
        };
        match <[OwnedFd; 3]>::try_from(descriptors) {
            Ok([stdin, stdout, stderr]) => {
                self.run_command(client, &spec, stdin, stdout.into(), stderr.into(), Box::new(respond));
            }
            Err(_) => respond(Err("a command comes with three descriptors: stdin, stdout, stderr".into())),
        }
    }

    pub(super) fn run_probe_command(
        &mut self,
        client: u64,
        id: u32,
        command: Vec<String>,
        answer: Sender<Result<ExitStatus, String>>,
    ) {
        let null = || -> io::Result<(OwnedFd, Stdio, Stdio)> {
            let output = OpenOptions::new().write(true).open("/dev/null")?;
            Ok((File::open("/dev/null")?.into(), output.try_clone()?.into(), output.into()))
        };
        // A probe that no longer waits has given up, or was stopped.
        let respond = move |result| drop(answer.send(result));
        let environment = Default::default();
        let spec = ExecSpec { id, command, environment, working_directory: None, user: None };
        match null() {
            Ok((stdin, stdout, stderr)) => {
                self.run_command(client, &spec, stdin, stdout, stderr, Box::new(respond));
            }
            Err(error) => respond(Err(format!("can't open /dev/null: {error}"))),
        }
    }

    fn run_command(
        &mut self,
        client: u64,
        spec: &ExecSpec,
        stdin: OwnedFd,
        stdout: Stdio,
        stderr: Stdio,
        answer: Box<dyn FnOnce(Result<ExitStatus, String>)>,
    ) {
        let allowed = spec.user.as_deref().map_or(Ok(()), not_reserved);
        let started =
            allowed.and_then(|()| self.instance(spec.id)).and_then(|instance| match instance.life {
                Life::Running { pid } => {
                    let launch = instance.launch_command(spec);
                    let network = instance.network.netns.as_fd();
                    // Nobody else has this number until its end was heard of.
                    let mounts = instance.spec.private_tmp.then(|| File::open(format!("/proc/{pid}/ns/mnt")));
                    let mounts =
                        mounts.transpose().map_err(|error| format!("can't look into it: {error}"))?;
                    let given = Given {
                        network: Some(network),
                        mounts: mounts.as_ref().map(AsFd::as_fd),
                        stdin: Some(stdin.as_fd()),
                        program: None,
                    };
                    self.launcher
                        .start(&launch, given, stdout, stderr)
                        .map_err(|error| format!("can't start a process: {error}"))
                }
                Life::Created
                | Life::Starting { .. }
                | Life::BackingOff { .. }
                | Life::Exited
                | Life::Failed { .. }
                | Life::Stopping(_)
                | Life::Stopped => Err(format!(
                    "{} does not run: `wabe status` says why, `wabe restart {}` starts it",
                    instance.spec.name, instance.spec.workload
                )),
            });
        match started {
            Ok(shim) => {
                let number = self.commands.last_key_value().map_or(0, |(last, _)| last + 1);
                self.commands.insert(number, Command { client, pid: shim.pid, answer });
                self.watch(shim, Owner::Command(number));
            }
            Err(message) => answer(Err(message)),
        }
    }

    pub(super) fn command_ended(&mut self, number: u64, result: Result<ExitStatus, String>) {
        if let Some(command) = self.commands.remove(&number) {
            (command.answer)(result);
        }
    }

    /// What runs for somebody who has gone.
    pub(super) fn kill_commands_of(&self, client: u64) {
        for command in self.commands.values().filter(|command| command.client == client) {
            self.signal(command.pid, Signal::KILL);
        }
    }
}
