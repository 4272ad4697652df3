//! The load generator against others: `wrk` for HTTP/1.1 and `h2load` for HTTP/2.
//!
//! A generator that is slower than the path measures itself. Both peers are asked for what ours is: as many requests as
//! possible on connections that are kept, from one thread on one core.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    stats::{Interval, paired_ratio},
    tools::{Tool, run},
};

mod h2load;
mod wrk;

/// How far two generators may be from each other and still agree.
const AGREE: std::ops::RangeInclusive<f64> = 0.9..=1.1;

/// How our generator and another one relate.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// Ours in units of theirs, round by round; `None` with less than two rounds.
    pub ratio: Option<Interval>,
    /// Whether the whole interval is between 0.9 and 1.1.
    pub agrees: bool,
    /// For people.
    pub sentence: String,
}

/// Requests per second by `wrk` on one thread, bound to `core`. `prefix` comes before the command:
/// `["ip", "netns", "exec", NAME]`.
///
/// # Errors
/// It can't be run, or fails; an answer was not a right one; what it prints is not understood; or no connection, or a time
/// below one second was asked for.
pub fn wrk(
    prefix: &[&str],
    tool: &Tool,
    url: &str,
    connections: u32,
    time: Duration,
    core: u32,
) -> Result<f64> {
    let (connections, seconds) = sane(connections, time)?;
    let words = ["-t1".to_owned(), format!("-c{connections}"), format!("-d{seconds}s"), url.to_owned()];
    let text = run(pinned(prefix, tool, core).args(words))?;
    wrk::parse(&text).with_context(|| format!("wrk at {url}"))
}

/// Requests per second by `h2load`, HTTP/2 by prior knowledge, one stream at a time on each connection; otherwise as [`wrk`].
///
/// # Errors
/// As [`wrk`].
pub fn h2load(
    prefix: &[&str],
    tool: &Tool,
    url: &str,
    connections: u32,
    time: Duration,
    core: u32,
) -> Result<f64> {
    let (connections, seconds) = sane(connections, time)?;
    let words = ["-t1", "-m", "1", "-c", &connections, "-D", &seconds, url];
    let text = run(pinned(prefix, tool, core).args(words))?;
    h2load::parse(&text).with_context(|| format!("h2load at {url}"))
}

/// Both take whole seconds only.
fn sane(connections: u32, time: Duration) -> Result<(String, String)> {
    ensure!(connections > 0, "no connection was asked for");
    ensure!(time >= Duration::from_secs(1), "{time:?} is less than the one second that wrk and h2load need");
    Ok((connections.to_string(), time.as_secs().to_string()))
}

fn pinned(prefix: &[&str], tool: &Tool, core: u32) -> Command {
    let core = core.to_string();
    let mut words = prefix.iter().copied().chain(["taskset", "-c", &core]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(&tool.path);
    command
}

/// Whether our generator, in rounds side by side, is as fast as another. `seed` as for [`paired_ratio`].
#[must_use]
pub fn agreement(peer: &str, ours: &[f64], theirs: &[f64], seed: u64) -> Agreement {
    let Some(ratio) = paired_ratio(ours, theirs, seed) else {
        let sentence = format!("{} rounds are too few to compare with {peer}", ours.len().min(theirs.len()));
        return Agreement { ratio: None, agrees: false, sentence };
    };
    let Interval { estimate, low, high } = ratio;
    let agrees = AGREE.contains(&low) && AGREE.contains(&high);
    let sentence = if agrees {
        format!("agrees with {peer} within 10 %: {estimate:.2} of it [{low:.2}, {high:.2}]")
    } else {
        format!("our generator reaches {estimate:.2} of {peer} [{low:.2}, {high:.2}]")
    };
    Agreement { ratio: Some(ratio), agrees, sentence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_needs_the_whole_interval_within_ten_percent() {
        let theirs = [100.0, 101.0, 99.0, 100.0, 102.0, 98.0];
        for (factor, agrees, begins) in [
            (1.0, true, "agrees with wrk within 10 %: 1.00 of it ["),
            (0.95, true, "agrees with wrk within 10 %: 0.95 of it ["),
            (0.89, false, "our generator reaches 0.89 of wrk ["),
            (1.2, false, "our generator reaches 1.20 of wrk ["),
        ] {
            let ours = theirs.map(|it| it * factor);
            let found = agreement("wrk", &ours, &theirs, 1);
            assert_eq!(found.agrees, agrees, "{factor}");
            assert!(found.sentence.starts_with(begins), "{}", found.sentence);
        }
        // The mean agrees, single rounds do not.
        let ours = [60.0, 150.0, 70.0, 140.0, 60.0, 150.0];
        assert!(!agreement("wrk", &ours, &theirs, 1).agrees);
        assert_eq!(agreement("wrk", &[1.0], &[1.0], 1).sentence, "1 rounds are too few to compare with wrk");
    }

    #[test]
    fn nonsense_is_refused_before_anything_runs() {
        assert!(sane(0, Duration::from_secs(1)).is_err());
        assert!(sane(1, Duration::from_millis(999)).is_err());
        assert_eq!(sane(8, Duration::from_secs(2)).expect("sane"), ("8".to_owned(), "2".to_owned()));
    }

    #[test]
    fn the_prefix_comes_first_then_the_core_then_the_program() {
        let path = "/usr/bin/wrk".into();
        let tool = Tool { name: "wrk", path, version: String::new(), sha256: String::new() };
        let words = |command: &Command| {
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            words.map(|it| it.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let in_namespace = pinned(&["ip", "netns", "exec", "a"], &tool, 1);
        assert_eq!(words(&in_namespace), "ip netns exec a taskset -c 1 /usr/bin/wrk");
        assert_eq!(words(&pinned(&[], &tool, 0)), "taskset -c 0 /usr/bin/wrk");
    }
}
