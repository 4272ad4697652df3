//! The words of `wabe lab`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::Plain;
use crate::lab::load::Load;

#[derive(Debug, Subcommand)]
pub(crate) enum Lab {
    /// Show scenarios, data paths, what this machine can run and what not, and why.
    List(Plain),
    /// Measure data paths side by side.
    Run(Run),
    /// The thesis' experiment, Envoy sidecars by iptables against eBPF, and what it left open.
    Thesis(Thesis),
    /// Make report.html, figures and Markdown of results.
    Report {
        /// The folder with results.json.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Compare two runs on one machine.
    Compare(Compare),
    /// Fill a namespace's tables with services, say how long it takes, and remove it again.
    Flood(Flood),
    /// Make load, and say how long answers take.
    Load(Load),
    #[command(hide = true)]
    Echo { at: SocketAddr },
    #[command(hide = true)]
    Hold { url: String, count: usize },
}

#[derive(Debug, Args)]
pub(crate) struct Measuring {
    /// Four arms, three rounds, a tenth of the rules: it shows where it goes, with wide intervals.
    #[arg(long)]
    pub(crate) quick: bool,
    /// How many rounds; six are needed for a verdict.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) repeat: Option<u32>,
    /// Where results go; a new folder here unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Only these data paths, separated by commas; `wabe lab list` has their names.
    #[arg(long, value_name = "ARM,...", value_delimiter = ',')]
    pub(crate) arms: Vec<String>,
    /// What random orders are drawn from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// What to measure; `wabe lab list` has their names.
    #[arg(required = true, value_name = "SCENARIO")]
    pub(crate) scenarios: Vec<String>,
    #[command(flatten)]
    pub(crate) measuring: Measuring,
}

#[derive(Debug, Args)]
pub(crate) struct Thesis {
    #[command(flatten)]
    pub(crate) measuring: Measuring,
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The older run's folder.
    #[arg(value_name = "DIR1")]
    pub(crate) old: PathBuf,
    /// The newer run's folder.
    #[arg(value_name = "DIR2")]
    pub(crate) new: PathBuf,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

#[derive(Debug, Args)]
pub(crate) struct Flood {
    /// How many services.
    #[arg(long)]
    pub(crate) services: u32,
    /// How many endpoints each has.
    #[arg(long)]
    pub(crate) pods: u32,
    /// What carries them.
    #[arg(long, value_enum, default_value_t = Technology::Iptables)]
    pub(crate) tech: Technology,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

/// What carries services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Technology {
    /// kube-proxy's chains, iptables legacy.
    Iptables,
    /// kube-proxy's chains, iptables on nftables.
    IptablesNft,
    /// kube-proxy's nftables maps.
    Nftables,
    /// kube-proxy's IPVS mode, where the kernel has IPVS.
    Ipvs,
    /// Wabe's maps.
    Ebpf,
}

impl Lab {
    /// How the command prints, if it prints.
    pub(super) fn output(&self) -> Option<super::Output> {
        match self {
            Self::List(it) => Some(it.output),
            Self::Compare(it) => Some(it.plain.output),
            Self::Flood(it) => Some(it.plain.output),
            Self::Load(it) => Some(it.plain.output),
            Self::Run(_) | Self::Thesis(_) | Self::Report { .. } | Self::Echo { .. } | Self::Hold { .. } => {
                None
            }
        }
    }
}
