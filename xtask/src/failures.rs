//! What tests that failed said, gathered from the thousands of lines of a long run, to be told at its end.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::shell;

/// So many lines of one panic are told at most: some quote all that a program printed.
const MOST_LINES: usize = 30;

/// How long what tests have left behind may hold the output open when they are over.
const LEFT_BEHIND: Duration = Duration::from_secs(10);

/// Runs a command of `cargo test`, shows what it prints, and fails with what the tests that failed said.
pub(crate) fn execute(command: &mut Command) -> Result<()> {
    command.current_dir(shell::root()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{command:?} could not be run"))?;
    let output = child.stdout.take().context("it is piped")?;
    let gathered = Arc::<Mutex<Gathered>>::default();
    let reader = thread::spawn({
        let gathered = Arc::clone(&gathered);
        move || show(output, &gathered)
    });
    let status = child.wait()?;
    let ended = Instant::now();
    while !reader.is_finished() && ended.elapsed() < LEFT_BEHIND {
        thread::sleep(Duration::from_millis(20));
    }
    if !status.success() {
        let told = gathered.lock().unwrap_or_else(PoisonError::into_inner).told.join("\n");
        bail!("{command:?} ended with {status}\n{told}");
    }
    Ok(())
}

fn show(output: impl Read, gathered: &Mutex<Gathered>) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        println!("{line}");
        gathered.lock().unwrap_or_else(PoisonError::into_inner).read(&line);
    }
}

/// What has been read of the output of libtest, which lists the words of failed tests between `failures:` and the result.
#[derive(Default)]
struct Gathered {
    told: Vec<String>,
    among_failures: bool,
    /// So many more lines of a panic are told.
    left: usize,
}

impl Gathered {
    fn read(&mut self, line: &str) {
        if line == "failures:" {
            self.among_failures = true;
        } else if line.starts_with("test result:") {
            *self = Self { told: std::mem::take(&mut self.told), ..Self::default() };
        } else if self.among_failures {
            self.read_failure(line);
        }
    }

    fn read_failure(&mut self, line: &str) {
        let is_start = line.contains("' panicked at ") || line.contains(") panicked at ");
        let is_heading = line.starts_with("---- ") || (line.starts_with("step ") && line.contains(" FAILED"));
        let is_end = ["stack backtrace:", "note: run with", "step "].iter().any(|it| line.starts_with(it));
        if is_start {
            self.left = MOST_LINES;
        } else if is_heading || is_end {
            self.left = 0;
        }
        if is_heading || self.left > 0 {
            self.told.push(line.to_owned());
            self.left = self.left.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Gathered;

    #[test]
    fn headings_and_panics_of_failed_tests_are_told() {
        let output = "
running 2 tests
test good ... ok
test traffic ... FAILED

successes:

---- good stdout ----
thread 'good' (7) panicked at tests/good.rs:1:1:
as it should

failures:

---- traffic stdout ----
step one ... ok (1.0s)

thread 'traffic' (8) panicked at tests/live/traffic/balancing.rs:44:9:
light/0 got 14 %
instead of 10 %
stack backtrace:
   0: std::panicking
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
step two ... FAILED (2.0s)
step three ... ok (1.0s)


failures:
    traffic

test result: FAILED. 1 passed; 1 failed; 0 ignored
";
        let mut gathered = Gathered::default();
        output.lines().for_each(|line| gathered.read(line));
        let told = "\
---- traffic stdout ----
thread 'traffic' (8) panicked at tests/live/traffic/balancing.rs:44:9:
light/0 got 14 %
instead of 10 %
step two ... FAILED (2.0s)";
        assert_eq!(gathered.told.join("\n"), told);
    }
}
