//! What machine the figures are from.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::command::run;

/// Everything that may explain a figure. `cores` are the client's and the server's.
pub(crate) fn describe(cores: (usize, usize)) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|it| it.1);
    let git = |words: &[&str]| run(Command::new("git").args(words)).map(|text| text.trim().to_owned()).ok();
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": model,
        "cores": std::thread::available_parallelism().map(usize::from).ok(),
        "clientCore": cores.0,
        "serverCore": cores.1,
        "loadavg": read("/proc/loadavg"),
        "revision": git(&["rev-parse", "HEAD"]),
        "changed": git(&["status", "--porcelain", "--untracked-files=no"]).map(|text| !text.is_empty()),
    })
}

/// Time of all cores since start, in ticks: all of it, and that which the hypervisor gave to others (proc_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    pub(crate) all: u64,
    pub(crate) stolen: u64,
}

impl Ticks {
    pub(crate) fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        // The last two, guests' time, are in the first two already.
        let numbers: Vec<u64> =
            line.split_whitespace().skip(1).take(8).filter_map(|it| it.parse().ok()).collect();
        Self { all: numbers.iter().sum(), stolen: numbers.get(7).copied().unwrap_or(0) }
    }

    /// Share of time stolen since, percent.
    pub(crate) fn steal_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        100.0 * self.stolen.saturating_sub(before.stolen) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_the_eighth_number() {
        let before = Ticks::parse("cpu  1 1 1 1 1 1 1 3 9 9\n");
        let after = Ticks::parse("cpu  46 1 1 1 1 1 1 8 9 9\n");
        assert_eq!(before, Ticks { all: 10, stolen: 3 });
        assert!((after.steal_since(before) - 10.0).abs() < 1e-9);
    }
}
