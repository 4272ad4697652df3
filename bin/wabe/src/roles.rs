//! The mesh's own processes. The keeper starts agent, dns, proxy and confine; `wabe up` starts the keeper.

use std::{
    io,
    net::{TcpListener, UdpSocket},
    os::fd::AsFd,
    path::PathBuf,
    process::ExitCode,
};

use tracing_subscriber::EnvFilter;
use wabe_keeper::{Programs, layout::Mesh, rehearsal, resume_keeper, run_keeper};

use crate::failure::Failure;

/// Where the host's name servers are written.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Namespaces, sockets and processes.
pub(crate) fn keeper(mesh: Mesh) -> Result<ExitCode, Failure> {
    start_log();
    // A session of its own: no terminal ends it.
    let _ = rustix::process::setsid();
    let programs = Programs::wabe(&mesh);
    run_keeper(mesh, programs, || {}).map_err(Failure::environment)?;
    Ok(ExitCode::SUCCESS)
}

/// The same, for the program that this process was before.
pub(crate) fn succeed_keeper(mesh: Mesh) -> Result<ExitCode, Failure> {
    start_log();
    let programs = Programs::wabe(&mesh);
    resume_keeper(mesh, programs).map_err(Failure::environment)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether this program would understand what a running keeper leaves.
pub(crate) fn rehearse_keeper() -> Result<ExitCode, Failure> {
    rehearsal(io::stdin().lock()).map_err(Failure::environment)?;
    Ok(ExitCode::SUCCESS)
}

/// The brains.
pub(crate) fn agent(mesh: &Mesh) -> Result<ExitCode, Failure> {
    start_log();
    wabe_agent::run(mesh).map_err(Failure::environment)?;
    Ok(ExitCode::SUCCESS)
}

/// Names. The sockets are stdin (UDP) and stdout (TCP).
pub(crate) fn dns(names: PathBuf) -> Result<ExitCode, Failure> {
    start_log();
    let udp = io::stdin().as_fd().try_clone_to_owned()?;
    let tcp = io::stdout().as_fd().try_clone_to_owned()?;
    let options = wabe_dns::Options { names, resolv_conf: RESOLV_CONF.into() };
    wabe_dns::run(UdpSocket::from(udp), TcpListener::from(tcp), options)?;
    Ok(ExitCode::SUCCESS)
}

/// Layer 7. Its link to the keeper is stdin.
pub(crate) fn proxy(snapshot: PathBuf) -> Result<ExitCode, Failure> {
    start_log();
    let keeper = io::stdin().as_fd().try_clone_to_owned()?;
    wabe_proxy::figures::bound_files();
    let options =
        wabe_proxy::Options { snapshot, bounds: wabe_proxy::Bounds::default(), drain: wabe_proxy::DRAIN };
    wabe_proxy::run(&options, keeper).map_err(Failure::environment)?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes a workload's process.
pub(crate) fn confine() -> Result<ExitCode, Failure> {
    match wabe_keeper::confine::run() {
        Ok(never) => match never {},
        Err(message) => Err(Failure::environment(message)),
    }
}

fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(io::stderr).init();
}
