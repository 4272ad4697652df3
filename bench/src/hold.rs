//! Connections that had one request each and do nothing since.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::load::{self, REQUEST};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the holder prints once all are open.
const HELD: &str = "held";

/// A process that holds connections; dropped, they are reset.
#[derive(Debug)]
pub(crate) struct Held(Child);

impl Held {
    /// Has `client`, a command that runs this program, hold so many connections to `to`, from a core.
    ///
    /// # Errors
    /// One could not be opened, or had no answer.
    pub(crate) fn open(mut client: Command, to: &str, count: usize, core: usize) -> Result<Self> {
        client.args(["hold", to, &count.to_string(), &core.to_string()]);
        let child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut held = Self(child.with_context(|| format!("{client:?} could not be run"))?);
        let stdout = held.0.stdout.take().context("invariant: stdout is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.trim() == HELD, "{count} connections to {to} could not be held: see above");
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The end of its stdin is its end; so it is if this process is killed.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The holder: opens them one after the other, says so, and waits for the end of stdin.
///
/// # Errors
/// The limit of open files is too low, or a connection gets no answer.
pub(crate) fn run(to: SocketAddr, count: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("raising the limit of open files")?;
    let (mut held, mut buffer) = (Vec::with_capacity(count), [0; 4096]);
    for number in 1..=count {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)
            .with_context(|| format!("connection {number} of {count} to {to}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // In TIME_WAIT they would keep their ports from the next.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        stream.write_all(REQUEST)?;
        let mut have = 0;
        while load::answer_length(&buffer[..have])?.is_none_or(|length| have < length) {
            let got = stream.read(&mut buffer[have..])?;
            ensure!(got > 0, "{to} closed connection {number} of {count}");
            have += got;
        }
        held.push(stream);
    }
    println!("{HELD}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Resident memory of processes, bytes. What two of them share counts twice.
pub(crate) fn resident(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/status");
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        sum += kibibytes(&status, "VmRSS:").with_context(|| format!("{path} tells no VmRSS"))? * 1024;
    }
    Ok(sum)
}

/// Memory that the kernel has for itself, bytes: its objects, tables of pages, per-processor data, and what TCP has buffered.
/// Of the whole machine, so that only a difference says something, and only while nothing else runs.
pub(crate) fn kernel() -> Result<u64> {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).with_context(|| path.to_owned());
    let memory = read("/proc/meminfo")?;
    let objects = ["Slab:", "PageTables:", "Percpu:"];
    let kibibytes: u64 = objects.iter().filter_map(|name| kibibytes(&memory, name)).sum();
    let sockets = read("/proc/net/sockstat")?;
    let pages = tcp_pages(&sockets).context("/proc/net/sockstat tells no memory of TCP")?;
    Ok(kibibytes * 1024 + pages * 4096)
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn tcp_pages(sockets: &str) -> Option<u64> {
    let line = sockets.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    line.split_once(" mem ")?.1.split(' ').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(kibibytes("MemFree: 1 kB\nSlab:             123 kB\n", "Slab:"), Some(123));
        let sockets = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 2 alloc 7 mem 3\nUDP: inuse 0 mem 1\n";
        assert_eq!(tcp_pages(sockets), Some(3));
        assert!(resident(&[std::process::id()]).expect("our own") > 0);
        assert!(kernel().expect("Linux") > 0);
    }
}
