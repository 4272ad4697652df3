//! The words of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) mod lab;

/// A service mesh whose data plane lives in the Linux kernel.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUSES)]
pub(crate) struct Cli {
    /// Which mesh on this machine.
    #[arg(long, global = true, default_value = "default")]
    pub(crate) name: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_STATUSES: &str = "\
Exit statuses: 0 done; 1 refused, not ready, or invalid input; 2 wrong usage; 3 the mesh does not run or this machine \
lacks something (root, a kernel feature). `wabe exec` passes on the command's. WORKLOAD is NAME or NAMESPACE/NAME.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the mesh and what the manifests describe; returns when all is ready.
    Up(Up),
    /// Stop the mesh; nothing is left.
    Down(Plain),
    /// Show workloads, services, lanes, maps and processes.
    Status(Plain),
    /// Run a command inside a workload.
    Exec(Exec),
    /// Print what a workload prints, or the mesh's own `agent`, `dns` or `proxy`.
    Logs(Logs),
    /// Replace a workload's replicas, each new one ready before the old one ends.
    Restart(Restart),
    /// Set a workload's number of replicas.
    Scale(Scale),
    /// Say what would happen to a connection, hook by hook.
    Explain(Explain),
    /// Show connections that were opened, closed and refused.
    Flows(Flows),
    /// Add or replace what manifests describe.
    Apply(Apply),
    /// Remove what manifests describe.
    Delete(Files),
    /// Print objects as they are in the mesh.
    Get(Get),
    /// Validate manifests; changes nothing.
    Check(Files),
    /// Print the metrics of a mesh, as a scrape gets them.
    Metrics,
    /// Say what is wrong with the meshes of this machine, or left of them, and what to do about it.
    Doctor(Doctor),
    /// End every mesh on this machine, and remove all that there is of it.
    Uninstall(Uninstall),
    /// Make a running mesh, or its proxy alone, this version of `wabe`, without a gap.
    Upgrade(Upgrade),
    /// Measure every data path of a service mesh side by side, on this machine.
    #[command(subcommand)]
    Lab(lab::Lab),
    /// For tests, and for those who size a machine.
    #[command(subcommand)]
    Debug(Debug),
    #[command(hide = true)]
    Keeper {
        /// Takes over from the program that this process was before.
        #[arg(long, conflicts_with = "rehearse")]
        succeed: bool,
        /// Only reads what would be left to it.
        #[arg(long)]
        rehearse: bool,
    },
    #[command(hide = true)]
    Agent,
    #[command(hide = true)]
    Dns {
        #[arg(long)]
        names: PathBuf,
    },
    #[command(hide = true)]
    Proxy {
        #[arg(long)]
        snapshot: PathBuf,
    },
    #[command(hide = true)]
    Confine,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON value, documented in docs/json.md.
    Json,
    /// YAML manifests (`get` only).
    Yaml,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Repair what can be repaired without harm to what runs: remove what dead meshes left, attach what is missing.
    #[arg(long)]
    pub(crate) fix: bool,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Also with meshes that run.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Args)]
pub(crate) struct Plain {
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// Only this process of the mesh.
    pub(crate) only: Option<Upgraded>,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

/// What can be upgraded by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Upgraded {
    /// Starts another one on the same listeners; the old one drains.
    Proxy,
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    /// A manifest, or a folder of manifests; may be repeated.
    #[arg(short, long = "file", required = true, value_name = "FILE|DIR")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Seconds to wait until workloads are ready.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// A manifest, or a folder of manifests; may be repeated. Without, the mesh starts empty.
    #[arg(short, long = "file", value_name = "FILE|DIR")]
    pub(crate) files: Vec<PathBuf>,
    /// Leave the mesh running if not everything becomes ready.
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Also wait until the workloads are ready.
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    pub(crate) workload: String,
    /// Which replica; the first that runs unless given.
    #[arg(long)]
    pub(crate) replica: Option<u32>,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    pub(crate) workload: String,
    /// Go on with what comes.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this replica's.
    #[arg(long)]
    pub(crate) replica: Option<u32>,
    /// Only the last lines of each replica.
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<usize>,
    /// Of `proxy`: only the access log, a JSON object a line whatever -o says, so that others can read it.
    #[arg(long)]
    pub(crate) access: bool,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Args)]
pub(crate) struct Restart {
    pub(crate) workload: String,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Args)]
pub(crate) struct Scale {
    pub(crate) workload: String,
    /// How many, 0 to 1000.
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) replicas: u32,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The caller: a workload.
    pub(crate) from: String,
    /// A service or workload (NAME, NAMESPACE/NAME, NAME.NAMESPACE) or an address, and a port: `shop/payment:80`,
    /// `10.129.3.7:80`, `[fd77::1]:80`.
    #[arg(value_name = "TO[:PORT]")]
    pub(crate) to: String,
    /// Which replica of the caller; the first unless given.
    #[arg(long)]
    pub(crate) replica: Option<u32>,
    /// A datagram instead of a TCP connection.
    #[arg(long)]
    pub(crate) udp: bool,
    /// By the destination's IPv6 address.
    #[arg(short = '6', long)]
    pub(crate) ipv6: bool,
    /// A request over that connection: `GET /path?query`. Says which route and rule hold for it and where it may go.
    #[arg(long, value_name = "METHOD PATH", conflicts_with = "udp")]
    pub(crate) http: Option<String>,
    /// A header of the request: `name: value`; `host` is what is dialled unless given.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", requires = "http")]
    pub(crate) headers: Vec<String>,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Args)]
pub(crate) struct Flows {
    /// Go on with those that come.
    #[arg(long)]
    pub(crate) follow: bool,
    /// At most this many of the past.
    #[arg(long, default_value_t = 100)]
    pub(crate) last: usize,
    /// Only refused ones.
    #[arg(long)]
    pub(crate) refused: bool,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// services, workloads, httproutes, grpcroutes, tlsroutes, tcproutes, routes (of all kinds), authorizationpolicies, destinationrules,
    /// referencegrants, requestlimits, faultinjections, namespaces, serviceaccounts, meshconfigs.
    pub(crate) kind: String,
    /// NAME or NAMESPACE/NAME.
    pub(crate) object: Option<String>,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Debug {
    /// Load simulated services and endpoints into the running mesh, change and remove them, and say what it costs.
    Load(DebugLoad),
}

#[derive(Debug, Args)]
pub(crate) struct DebugLoad {
    /// How many services, each with one address and port; instead of those that are simulated now.
    #[arg(long)]
    pub(crate) services: Option<u32>,
    /// How many endpoints of all services together; as many as services unless given.
    #[arg(long, requires = "services")]
    pub(crate) endpoints: Option<u32>,
    /// Then change one endpoint so often.
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) changes_per_second: Option<u32>,
    /// For so long.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) seconds: u32,
    /// Remove all that is simulated.
    #[arg(long, conflicts_with_all = ["services", "changes_per_second"])]
    pub(crate) clear: bool,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

impl Cli {
    /// How the command prints, if it prints.
    pub(crate) fn output(&self) -> Option<Output> {
        Some(match &self.command {
            Command::Up(it) => it.plain.output,
            Command::Down(it) | Command::Status(it) => it.output,
            Command::Upgrade(it) => it.plain.output,
            Command::Logs(it) => it.plain.output,
            Command::Doctor(it) => it.plain.output,
            Command::Uninstall(it) => it.plain.output,
            Command::Restart(it) => it.plain.output,
            Command::Scale(it) => it.plain.output,
            Command::Explain(it) => it.plain.output,
            Command::Flows(it) => it.plain.output,
            Command::Apply(it) => it.files.plain.output,
            Command::Delete(it) | Command::Check(it) => it.plain.output,
            Command::Get(it) => it.plain.output,
            Command::Debug(Debug::Load(it)) => it.plain.output,
            Command::Lab(it) => return it.output(),
            Command::Exec(_)
            | Command::Metrics
            | Command::Keeper { .. }
            | Command::Agent
            | Command::Dns { .. }
            | Command::Proxy { .. }
            | Command::Confine => {
                return None;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use wabe_model::Kind;

    use super::*;

    #[test]
    fn the_words_make_sense_to_their_parser() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_kind_is_in_the_help_of_get() {
        let mut command = Cli::command();
        let get = command.find_subcommand_mut("get").expect("the command");
        let help = get.render_long_help().to_string();
        for kind in Kind::ALL {
            let plural = format!("{}s", kind.as_str().to_ascii_lowercase());
            let plural = plural.replace("policys", "policies");
            assert!(help.contains(&plural), "{plural} is not in\n{help}");
            assert_eq!(plural.parse::<Kind>().ok(), Some(kind), "{plural}");
        }
    }

    #[test]
    fn commands_of_the_issue_are_understood() {
        for line in [
            "wabe up -f examples/shop",
            "wabe --name a status -o json",
            "wabe exec shop/a -- ls -l",
            "wabe logs -f a",
            "wabe logs proxy -f --access --tail 5",
            "wabe scale a 3",
            "wabe explain a b:80 -o json",
            "wabe flows --follow -o json",
            "wabe get workload a -o yaml",
            "wabe check -f a -f b",
            "wabe down --name a",
            "wabe upgrade",
            "wabe upgrade proxy -o json",
            "wabe debug load --services 10 --endpoints 100 --changes-per-second 5 --seconds 2",
            "wabe debug load --clear",
            "wabe lab list",
            "wabe lab run latency rules --quick --repeat 4 --out d",
            "wabe lab thesis --quick",
            "wabe lab report d",
            "wabe lab compare a b -o json",
            "wabe lab flood --services 500 --pods 50 --tech nftables",
            "wabe lab load http://127.0.0.1:1/get --rate 200 --duration 10s",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in ["wabe scale a 1001", "wabe exec a ls", "wabe check", "wabe upgrade dns", "wabe nonsense"]
        {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
