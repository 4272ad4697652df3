//! `wabe exec`: a command inside a workload, with this terminal.

use std::{io, os::fd::AsFd, process::ExitCode};

use wabe_keeper::{client::Client, layout::Mesh, protocol::ExecSpec};

use crate::{
    cli::Exec,
    failure::{Failure, require_root},
    workload,
};

pub(crate) fn run(mesh: &Mesh, arguments: &Exec) -> Result<ExitCode, Failure> {
    require_root()?;
    let instance = workload::instance(mesh, &arguments.workload, arguments.replica)?;
    let spec = ExecSpec {
        id: instance.spec.id,
        command: arguments.command.clone(),
        environment: Default::default(),
        working_directory: None,
        user: None,
    };
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let status = Client::connect(mesh)?.exec(spec, [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
    Ok(ExitCode::from(u8::try_from(status.shell()).unwrap_or(u8::MAX)))
}
