//! `wabe`: the command line of the mesh, and its processes as hidden subcommands.
//!
//! Parses arguments, asks keeper and agent, and prints; decides nothing that they could decide. Nothing depends on it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

mod apply;
mod ask;
mod check;
mod cli;
mod debug;
mod delete;
mod doctor;
mod down;
mod exec;
mod explain;
mod failure;
mod flows;
mod get;
mod lab;
mod logs;
mod manifests;
mod metrics;
mod roles;
mod scale;
mod screen;
mod status;
mod uninstall;
mod up;
mod upgrade;
mod workload;

use cli::{Cli, Command, Debug, Output};
use failure::Failure;

/// The proxy makes and frees some dozens of small things for each request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.output() == Some(Output::Json);
    match run(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(json),
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let mesh = wabe_keeper::layout::Mesh::new(cli.name).map_err(Failure::usage)?;
    match cli.command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Up(arguments) => up::run(&mesh, &arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Down(arguments) => down::run(&mesh, &arguments),
        Command::Status(arguments) => status::run(&mesh, &arguments),
        Command::Apply(arguments) => apply::run(&mesh, &arguments),
        Command::Delete(arguments) => delete::run(&mesh, &arguments),
        Command::Get(arguments) => get::run(&mesh, &arguments),
        Command::Scale(arguments) => scale::run(&mesh, &arguments),
        Command::Restart(arguments) => scale::restart(&mesh, &arguments),
        Command::Exec(arguments) => exec::run(&mesh, &arguments),
        Command::Logs(arguments) => logs::run(&mesh, &arguments),
        Command::Explain(arguments) => explain::run(&mesh, &arguments),
        Command::Flows(arguments) => flows::run(&mesh, &arguments),
        Command::Metrics => metrics::run(&mesh),
        Command::Uninstall(arguments) => uninstall::run(&arguments),
        Command::Upgrade(arguments) => upgrade::run(&mesh, &arguments),
        Command::Lab(arguments) => lab::run(&arguments),
        Command::Debug(Debug::Load(arguments)) => debug::run(&mesh, &arguments),
        Command::Keeper { rehearse: true, .. } => roles::rehearse_keeper(),
        Command::Keeper { succeed: true, .. } => roles::succeed_keeper(mesh),
        Command::Keeper { .. } => roles::keeper(mesh),
        Command::Agent => roles::agent(&mesh),
        Command::Dns { names } => roles::dns(names),
        Command::Proxy { snapshot } => roles::proxy(snapshot),
        Command::Confine => roles::confine(),
    }
}
