//! A command that runs while the test does something else.

use std::{
    fmt::Display,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
};

use crate::command::{PATIENCE, kill_group, scaled, wait};

/// A command that runs; killed with its process group when dropped. What it writes to stderr goes to the test's.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
}

impl Running {
    /// Starts `command`; `line` is what to run it again by hand.
    #[track_caller]
    pub(crate) fn start(mut command: Command, line: String) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("can't start ({error}): {line}"));
        let stdin = child.stdin.take();
        let output = child.stdout.take().expect("invariant: stdout is a pipe");
        let (sender, stdout) = channel();
        thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self { line, child, stdin, stdout }
    }

    /// Its process id (that of `wabe exec` if it runs inside a workload).
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its stdin.
    ///
    /// # Panics
    /// If it does not read any more.
    #[track_caller]
    pub fn send(&mut self, text: impl Display) {
        let stdin = self.stdin.as_mut().expect("invariant: stdin is open until finish()");
        let sent = writeln!(stdin, "{text}").and_then(|()| stdin.flush());
        sent.unwrap_or_else(|error| panic!("no longer reads ({error}): {}", self.line));
    }

    /// Its next line of output.
    ///
    /// # Panics
    /// If there is none within [`PATIENCE`], or it has ended.
    #[track_caller]
    pub fn next_line(&mut self) -> String {
        match self.stdout.recv_timeout(scaled(PATIENCE)) {
            Ok(text) => text,
            Err(RecvTimeoutError::Timeout) => {
                panic!("wrote nothing for {PATIENCE:?}\nby hand: {}", self.line)
            }
            Err(RecvTimeoutError::Disconnected) => panic!("ended its output\nby hand: {}", self.line),
        }
    }

    /// Its next line of output, as JSON.
    ///
    /// # Panics
    /// As [`Self::next_line`], and if it is no JSON.
    #[track_caller]
    pub fn next_json(&mut self) -> serde_json::Value {
        let text = self.next_line();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {text}\nby hand: {}", self.line))
    }

    /// Closes its stdin and waits for its end.
    ///
    /// # Panics
    /// If it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn finish(mut self) -> ExitStatus {
        self.stdin = None;
        assert!(
            wait(&self.child, scaled(PATIENCE)),
            "did not end within {PATIENCE:?}\nby hand: {}",
            self.line
        );
        self.child.wait().expect("invariant: a child of ours can be waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            kill_group(&self.child);
            self.child.wait().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talks_by_lines() {
        let mut running = Running::start(Command::new("cat"), "cat".into());
        running.send(r#"{"a":2}"#);
        assert_eq!(running.next_json()["a"], 2);
        assert!(running.finish().success());
    }
}
