//! Service rules of a node: written into its network namespace, counted, changed.

use std::{
    ffi::OsStr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::kube::{self, Flood, Service, ipvs};
use crate::{
    place::command::{feed, run},
    results,
};

/// Who carries the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Technology {
    /// The old iptables, as the thesis had.
    IptablesLegacy,
    /// The iptables that speaks nftables.
    IptablesNft,
    /// kube-proxy's nftables mode.
    Nftables,
    /// kube-proxy's IPVS mode.
    Ipvs,
}

/// The rules of one node.
#[derive(Debug)]
pub(crate) struct Rules {
    namespace: String,
    technology: Technology,
    flood: Flood,
    /// The first service of the flood, as it is now.
    first: Option<Service>,
    turn: u32,
}

/// A program, and what it reads.
struct Step {
    words: Vec<String>,
    text: String,
}

impl Step {
    fn new(words: &str, text: impl Into<String>) -> Self {
        Self { words: words.split(' ').map(String::from).collect(), text: text.into() }
    }
}

impl Technology {
    /// What writes everything.
    fn everything(self, services: &[Service]) -> Vec<Step> {
        match self {
            Self::IptablesLegacy => vec![Step::new("iptables-legacy-restore", kube::chains(services))],
            Self::IptablesNft => vec![Step::new("iptables-nft-restore", kube::chains(services))],
            Self::Nftables => vec![Step::new("nft -f -", kube::table(services))],
            Self::Ipvs => {
                let set = |it: &&str| Step::new(&format!("tee /proc/sys/net/ipv4/vs/{it}"), "1");
                let mut steps: Vec<Step> = ipvs::SETTINGS.iter().map(set).collect();
                steps.push(Step::new("ip -batch -", ipvs::addresses(services)));
                steps.push(Step::new("ipvsadm --restore", ipvs::servers(services)));
                steps.push(Step::new("ipset restore", ipvs::sets(services)));
                steps.push(Step::new("iptables-legacy-restore", ipvs::JUMPS));
                steps.push(Step::new("iptables-legacy-restore --noflush", ipvs::rules()));
                steps
            }
        }
    }

    /// What changes one service, as kube-proxy does.
    fn one_change(self, old: &Service, new: &Service) -> Vec<Step> {
        match self {
            Self::IptablesLegacy => {
                vec![Step::new("iptables-legacy-restore --noflush", kube::change_chains(old, new))]
            }
            Self::IptablesNft => {
                vec![Step::new("iptables-nft-restore --noflush", kube::change_chains(old, new))]
            }
            Self::Nftables => vec![Step::new("nft -f -", kube::change_maps(old, new))],
            Self::Ipvs => vec![
                Step::new("ipvsadm --restore", ipvs::one_change(old, new)),
                Step::new("iptables-legacy-restore --noflush", ipvs::rules()),
            ],
        }
    }

    /// Its name with its version, as it tells it.
    fn describe(self) -> Result<String> {
        let (name, program) = match self {
            Self::IptablesLegacy => ("iptables-legacy", "iptables-legacy"),
            Self::IptablesNft => ("iptables-nft", "iptables-nft"),
            Self::Nftables => ("nftables", "nft"),
            Self::Ipvs => ("ipvs by ipvsadm", "ipvsadm"),
        };
        let told = run(Command::new(program).arg("--version"))?;
        let version = told.split_whitespace().find(|it| it.starts_with('v')).unwrap_or_default();
        Ok(format!("{name} {}", version.trim_start_matches('v')))
    }
}

impl Rules {
    /// Writes the rules of `measured` and of a flood into a namespace; tells what it cost.
    pub(crate) fn program(
        namespace: &str,
        technology: Technology,
        measured: &[Service],
        flood: Flood,
    ) -> Result<(Self, results::Rules)> {
        let services = kube::all(measured, flood);
        let steps = technology.everything(&services);
        let first = kube::flood(flood).next();
        let mut rules = Self { namespace: namespace.to_owned(), technology, flood, first, turn: 0 };
        let start = Instant::now();
        rules.take(&steps).with_context(|| format!("writing the rules of {} services", services.len()))?;
        let programmed = start.elapsed().as_secs_f64();
        let changed = rules.change()?.map(|it| it.as_secs_f64());
        let facts = results::Rules {
            technology: technology.describe()?,
            services: flood.services,
            endpoints: flood.endpoints,
            count: rules.count()?,
            programmed,
            changed,
        };
        Ok((rules, facts))
    }

    /// Changes one endpoint of the flood, as kube-proxy does; tells how long it took. `None` without a flood.
    pub(crate) fn change(&mut self) -> Result<Option<Duration>> {
        self.turn += 1;
        let (Some(old), Some(new)) = (self.first.take(), kube::changed(self.flood, self.turn)) else {
            return Ok(None);
        };
        let steps = self.technology.one_change(&old, &new);
        let start = Instant::now();
        self.take(&steps).context("changing one endpoint")?;
        let took = start.elapsed();
        self.first = Some(new);
        Ok(Some(took))
    }

    /// Packets that came in by a virtual server; `None` if the technology is not IPVS.
    pub(crate) fn led_by_ipvs(&self) -> Result<Option<u64>> {
        match self.technology {
            Technology::IptablesLegacy | Technology::IptablesNft | Technology::Nftables => Ok(None),
            Technology::Ipvs => {
                let stats = run(&mut self.command(["cat", "/proc/net/ip_vs_stats_percpu"]))?;
                let packets = ipvs::packets(&stats);
                packets
                    .map(Some)
                    .with_context(|| format!("/proc/net/ip_vs_stats_percpu counts no packets: {stats}"))
            }
        }
    }

    /// Rules and chains, as the thesis counts the lines of `iptables-save`; for nftables rules, chains and elements of maps;
    /// for IPVS virtual and real servers, members of sets, rules and chains.
    fn count(&self) -> Result<u64> {
        match self.technology {
            Technology::IptablesLegacy => self.lines(&["iptables-legacy-save"], &[":", "-A"]),
            Technology::IptablesNft => self.lines(&["iptables-nft-save"], &[":", "-A"]),
            Technology::Nftables => self.maps(),
            Technology::Ipvs => Ok(self.lines(&["ipvsadm", "--save", "--numeric"], &["-A", "-a"])?
                + self.lines(&["ipset", "save"], &["add "])?
                + self.lines(&["iptables-legacy-save"], &[":", "-A"])?),
        }
    }

    /// How many lines that a program prints begin with one of these.
    fn lines(&self, words: &[&str], begins: &[&str]) -> Result<u64> {
        let saved = run(&mut self.command(words))?;
        Ok(saved.lines().filter(|line| begins.iter().any(|it| line.starts_with(it))).count() as u64)
    }

    fn maps(&self) -> Result<u64> {
        let listed = run(&mut self.command(["nft", "list", "table", "ip", "kube-proxy"]))?;
        // Elements stand two in a line at most; each has one verdict.
        let counted = |line: &str| {
            let words = line.trim();
            match words {
                "" | "}" => 0,
                _ if words.starts_with("type ") || words.starts_with("table ") => 0,
                _ if words.contains(" . ") && words.contains(": goto ") => {
                    words.matches(": goto ").count() as u64
                }
                _ => 1,
            }
        };
        Ok(listed.lines().map(counted).sum())
    }

    fn take(&self, steps: &[Step]) -> Result<()> {
        for Step { words, text } in steps {
            feed(&mut self.command(words), Some(text))?;
        }
        Ok(())
    }

    fn command(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).args(words);
        command
    }
}
