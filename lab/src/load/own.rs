//! The generator's own core and time.

use std::fs;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Binds this thread, and those that it starts, to a core.
///
/// # Errors
/// There is no such core.
pub fn pin(core: u32) -> Result<()> {
    let core = core as usize;
    anyhow::ensure!(core < CpuSet::MAX_CPU, "core {core}: there is no such core");
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
        .with_context(|| format!("core {core} can't be had; nproc tells how many there are"))
}

/// This process' time: all of it in nanoseconds, and its shares in ticks, as the kernel tells them apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    nanoseconds: u64,
    user: u64,
    system: u64,
}

impl Own {
    pub(super) fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let stat = read("/proc/self/stat");
        // Behind the name: state is field 3, utime 14, stime 15.
        let fields: Vec<&str> = stat.rsplit_once(") ").map_or_else(Vec::new, |it| it.1.split(' ').collect());
        let field = |number: usize| fields.get(number - 3).and_then(|it| it.parse().ok()).unwrap_or(0);
        let running = read("/proc/self/schedstat");
        Self {
            nanoseconds: running.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0),
            user: field(14),
            system: field(15),
        }
    }

    /// Seconds in user space and in the kernel since `before`.
    pub(super) fn since(self, before: Self) -> (f64, f64) {
        let all = self.nanoseconds.saturating_sub(before.nanoseconds) as f64 / 1e9;
        let (user, system) =
            (self.user.saturating_sub(before.user), self.system.saturating_sub(before.system));
        let share = if user + system == 0 { 0.5 } else { user as f64 / (user + system) as f64 };
        (all * share, all * (1.0 - share))
    }
}
