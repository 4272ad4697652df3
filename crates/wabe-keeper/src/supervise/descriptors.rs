//! Descriptors of the keeper, of which each replica takes several: nothing new is made when they run short, so that what
//! runs can be seen to.

use std::{fs, io};

use rustix::process::{Resource, getrlimit};

/// Share of its descriptors that the keeper uses for what is asked of it, in percent; the rest is for restarts, commands and
/// clients.
const MOST: u64 = 90;

/// Whether there are some for another replica; the error says what to do.
pub(super) fn must_be_left() -> Result<(), String> {
    // Descriptors are numbers below the soft limit.
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(()) };
    let used = in_use().map_err(|error| format!("its descriptors can't be counted: {error}"))?;
    if is_short(used, limit) {
        return Err(format!(
            "the keeper uses {used} of {limit} descriptors, and the last tenth is for what runs; run fewer replicas, or \
             start the mesh with a higher `ulimit -n`"
        ));
    }
    Ok(())
}

fn is_short(used: u64, limit: u64) -> bool {
    used.saturating_mul(100) >= limit.saturating_mul(MOST)
}

/// The one by which they are counted is not among them.
fn in_use() -> io::Result<u64> {
    let listed = fs::read_dir("/proc/self/fd")?.count() as u64;
    Ok(listed.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_tenths_are_enough() {
        for (used, limit, short) in
            [(0, 1024, false), (921, 1024, false), (922, 1024, true), (18_000, 20_000, true)]
        {
            assert_eq!(is_short(used, limit), short, "{used} of {limit}");
        }
    }
}
