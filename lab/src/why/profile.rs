//! Running the profiler.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::look::{Look, parse};
use crate::tools::{Tool, run};

/// Looks per second at each core. A prime, so that it does not keep step with the kernel's clock.
pub const FREQUENCY: u32 = 997;

/// Looks at these cores for a time, whoever runs there. Needs root. It takes that time and some seconds of work after it.
/// Ten seconds tell shares to less than one percent of the whole; a minute takes hundreds of megabytes of memory.
///
/// Looking costs: a closed loop gave a tenth fewer answers meanwhile. What [`super::breakdown`] is told of the load and the
/// machine is better measured under the same load without it.
///
/// `perf` writes into `scratch`, an existing folder, and what it wrote is removed.
///
/// # Errors
/// `perf` can't be run or fails; no core or no time was given.
pub fn profile(perf: &Tool, time: Duration, cores: &[u32], scratch: &Path) -> Result<Vec<Look>> {
    ensure!(!cores.is_empty() && !time.is_zero(), "no core or no time to look at");
    let data = scratch.join("perf.data");
    // One that a killed run left would be kept under another name. Most often there is none; and none if perf fails.
    let _ = fs::remove_file(&data);
    let text = record_and_print(perf, time, cores, scratch, &data);
    let _ = fs::remove_file(&data);
    let looks = parse(&text?);
    ensure!(!looks.is_empty(), "perf saw nothing in {time:?}");
    Ok(looks)
}

fn record_and_print(
    perf: &Tool,
    time: Duration,
    cores: &[u32],
    scratch: &Path,
    data: &Path,
) -> Result<String> {
    let frequency = FREQUENCY.to_string();
    // The last two keep it from copying every program that it saw into a cache at home.
    let mut record = command(perf, scratch);
    record.args(["record", "--quiet", "-e", "cpu-clock", "-F", &frequency, "-a", "-g", "-C", &list(cores)]);
    record.args(["--no-buildid", "--no-buildid-cache", "-o"]).arg(data);
    run(record.args(["--", "sleep", &time.as_secs_f64().to_string()])).context("looking at the cores")?;
    // Inlined functions would be looked up by another program, one by one.
    let mut print = command(perf, scratch);
    print.args(["script", "--no-inline", "-F", "comm,pid,tid,cpu,time,ip,sym,dso", "-i"]).arg(data);
    run(&mut print).context("reading what perf saw")
}

/// `perf` that reads nobody's settings, writes nothing at home, and asks no server for names.
pub(super) fn command(perf: &Tool, home: &Path) -> Command {
    let mut command = Command::new(&perf.path);
    command
        .env("HOME", home)
        .env("PERF_CONFIG", "/dev/null")
        .env_remove("DEBUGINFOD_URLS")
        .env("LC_ALL", "C");
    command
}

/// `0,1`.
pub(super) fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
