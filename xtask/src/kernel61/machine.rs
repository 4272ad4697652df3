//! A virtual machine that ends by itself, or else is ended.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::setup;

/// What the kernel is told: everything to the serial line, only errors, and no waiting after a panic.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=4 panic=-1";

/// Boots a kernel, shows its console, and returns the lines of it once the machine is off, which is to be before its
/// time is over. `disk` is a file that the machine has as its first disk.
pub(super) fn boot(
    kernel: &Path,
    image: &Path,
    disk: Option<&Path>,
    patience: Duration,
) -> Result<Vec<String>> {
    setup::packages(&[("/usr/bin/qemu-system-x86_64", "qemu-system-x86")])?;
    // The machine goes down with this process, however that ends.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2"])
        .args(["-m", "2048"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"])
        .args(["-append", COMMAND_LINE, "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(image);
    if let Some(disk) = disk {
        command.arg("-drive").arg(format!("file={},format=raw,if=virtio", disk.display()));
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("qemu-system-x86_64 could not be run")?;
    let console = listen(&mut child, patience);
    if console.is_err() {
        child.kill().context("ending qemu-system-x86_64")?;
    }
    let status = child.wait().context("waiting for qemu-system-x86_64")?;
    let console = console?;
    if console.is_empty() {
        bail!("qemu-system-x86_64 ended with {status} before the machine said anything");
    }
    Ok(console)
}

/// The console's lines until it closes.
fn listen(child: &mut Child, patience: Duration) -> Result<Vec<String>> {
    let output = child.stdout.take().context("qemu-system-x86_64 has no standard output")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
    let deadline = Instant::now() + patience;
    let mut console = Vec::new();
    loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                println!("  {line}");
                console.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(console),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the machine was still running after {} s; its console is above", patience.as_secs())
            }
        }
    }
}
