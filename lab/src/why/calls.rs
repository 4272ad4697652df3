//! Counting system calls.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

use super::{profile, roles::Roles};
use crate::tools::{Tool, run};

/// System calls per second of all processes with a role, by the kernel's tracepoint. Needs root and tracefs. Counting costs
/// some time at every call, so it should not run while a load is measured.
///
/// # Errors
/// `perf` can't be run or fails, as without tracefs; no process has a role.
pub fn calls(perf: &Tool, roles: &Roles, time: Duration) -> Result<f64> {
    let processes: Vec<u32> = roles.processes().collect();
    ensure!(!processes.is_empty() && !time.is_zero(), "no process or no time to count system calls of");
    let mut stat = profile::command(perf, Path::new("/nonexistent"));
    // To stdout, where nothing else goes.
    stat.args(["stat", "-x", ",", "--log-fd", "1", "-e", "raw_syscalls:sys_enter"]);
    stat.args(["-p", &profile::list(&processes), "--", "sleep", &time.as_secs_f64().to_string()]);
    let text = run(&mut stat).context("counting system calls")?;
    Ok(count(&text)? as f64 / time.as_secs_f64())
}

/// `728,,raw_syscalls:sys_enter,4241292,100.00,,`.
fn count(text: &str) -> Result<u64> {
    let Some(line) = text.lines().find(|line| line.contains("raw_syscalls:sys_enter")) else {
        bail!("perf tells no number of system calls");
    };
    let count = line.split(',').next().unwrap_or_default();
    count.parse().with_context(|| format!("perf's {count:?} is no number of system calls"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_read_and_what_is_none_is_an_error() {
        for (text, number) in [
            ("728,,raw_syscalls:sys_enter,4241292,100.00,,\n", Some(728)),
            ("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n", None),
            ("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n", None),
            ("", None),
        ] {
            assert_eq!(count(text).ok(), number, "{text}");
        }
    }
}
