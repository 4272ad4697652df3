//! Service rules of a node: written into its network namespace, counted, changed.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::kube::{self, Flood, Service};
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

impl Technology {
    fn restore(self) -> Option<&'static str> {
        match self {
            Self::IptablesLegacy => Some("iptables-legacy-restore"),
            Self::IptablesNft => Some("iptables-nft-restore"),
            Self::Nftables => None,
        }
    }

    /// Its name with its version, as it tells it.
    fn describe(self) -> Result<String> {
        let (name, program) = match self {
            Self::IptablesLegacy => ("iptables-legacy", "iptables-legacy"),
            Self::IptablesNft => ("iptables-nft", "iptables-nft"),
            Self::Nftables => ("nftables", "nft"),
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
        let text = match technology {
            Technology::Nftables => kube::table(&services),
            Technology::IptablesLegacy | Technology::IptablesNft => kube::chains(&services),
        };
        let first = kube::flood(flood).next();
        let mut rules = Self { namespace: namespace.to_owned(), technology, flood, first, turn: 0 };
        let start = Instant::now();
        rules
            .restore(&text, &[])
            .with_context(|| format!("writing the rules of {} services", services.len()))?;
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
        let text = match self.technology {
            Technology::Nftables => kube::change_maps(&old, &new),
            Technology::IptablesLegacy | Technology::IptablesNft => kube::change_chains(&old, &new),
        };
        let start = Instant::now();
        self.restore(&text, &["--noflush"]).context("changing one endpoint")?;
        let took = start.elapsed();
        self.first = Some(new);
        Ok(Some(took))
    }

    /// Rules and chains, as the thesis counts the lines of `iptables-save`; for nftables rules, chains and elements of maps.
    fn count(&self) -> Result<u64> {
        let save = match self.technology {
            Technology::IptablesLegacy => "iptables-legacy-save",
            Technology::IptablesNft => "iptables-nft-save",
            Technology::Nftables => {
                let listed = run(&mut self.command(&["nft", "list", "table", "ip", "kube-proxy"]))?;
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
                return Ok(listed.lines().map(counted).sum());
            }
        };
        let saved = run(&mut self.command(&[save]))?;
        Ok(saved.lines().filter(|it| it.starts_with(':') || it.starts_with("-A")).count() as u64)
    }

    fn restore(&self, text: &str, options: &[&str]) -> Result<()> {
        let mut command = match self.technology.restore() {
            Some(program) => {
                let mut command = self.command(&[program]);
                command.args(options);
                command
            }
            None => self.command(&["nft", "-f", "-"]),
        };
        feed(&mut command, Some(text)).map(drop)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).args(words);
        command
    }
}
