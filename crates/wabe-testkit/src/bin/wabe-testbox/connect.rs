//! The caller: opens connections, and says how each went.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{args::Args, hold::raise_descriptor_limit, report};

/// `connect ADDR ...`: one line per connection, or with `--summary` one for all.
///
/// `--parallel P` keeps P at a time under way; `--rate R` opens R per second, however long each takes.
pub(crate) fn run(args: &mut Args) -> Result<()> {
    raise_descriptor_limit()?;
    let (timeout, read) = (args.millis("timeout", 5000)?, !args.has("no-read"));
    let call = if args.has("resolve-each") {
        Call { target: Target::Name(args.word("a name and port, as name:80")?), timeout, read }
    } else {
        Call { target: Target::Address(target(args)?), timeout, read }
    };
    let count: u32 = args.option("count")?.unwrap_or(1);
    let results = Results::new(args.has("summary"), args.has("failures"));
    match args.option::<u32>("rate")? {
        Some(rate) => at_rate(count, rate.max(1), || results.add(call.attempt())),
        None => {
            let parallel = args.option::<u32>("parallel")?.unwrap_or(1);
            in_parallel(count, parallel, || results.add(call.attempt()));
        }
    }
    results.finish();
    Ok(())
}

/// `connect-each ADDR...`: one line for each, with its `target`.
pub(crate) fn each(args: &mut Args) -> Result<()> {
    let timeout = args.millis("timeout", 5000)?;
    while let Some(word) = args.maybe_word() {
        let target = word.parse().with_context(|| format!("{word} is no address and port"))?;
        let mut line = Call { target: Target::Address(target), timeout, read: true }.attempt();
        line["target"] = json!(word);
        report::line(&line);
    }
    Ok(())
}

/// `resolve NAME`: the addresses, or the resolver's error.
pub(crate) fn resolve(args: &mut Args) -> Result<()> {
    let name = args.word("a name")?;
    let start = Instant::now();
    let found = (name.as_str(), 0).to_socket_addrs().map(|all| {
        let mut all: Vec<_> = all.map(|it| it.ip().to_string()).collect();
        all.dedup();
        all
    });
    let error = found.as_ref().err().map(ToString::to_string);
    let addresses = found.unwrap_or_default();
    let us = start.elapsed().as_micros();
    report::line(&json!({ "ok": error.is_none(), "error": error, "addresses": addresses, "us": us }));
    Ok(())
}

/// The next word as an address (or a name, resolved once), made v4-mapped with `--source-mapped`: then it takes an
/// IPv6 socket to connect to it.
pub(crate) fn target(args: &mut Args) -> Result<SocketAddr> {
    let word = args.word("an address and port, as 10.1.2.3:80 or name:80")?;
    let found = word.to_socket_addrs().with_context(|| format!("can't resolve {word}"))?.next();
    let mut target = found.with_context(|| format!("{word} has no address"))?;
    if args.has("source-mapped")
        && let IpAddr::V4(v4) = target.ip()
    {
        target.set_ip(v4.to_ipv6_mapped().into());
    }
    Ok(target)
}

/// The next address, if there is one more.
pub(crate) fn maybe_target(args: &mut Args) -> Result<Option<SocketAddr>> {
    if args.has_word() { target(args).map(Some) } else { Ok(None) }
}

enum Target {
    Address(SocketAddr),
    /// Resolved for each connection, by the C library.
    Name(String),
}

impl Target {
    fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Address(address) => Ok(*address),
            Self::Name(name) => name.to_socket_addrs()?.next().ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }
}

struct Call {
    target: Target,
    timeout: Duration,
    read: bool,
}

impl Call {
    fn attempt(&self) -> Value {
        let began = report::now();
        let mut line = self.try_once();
        line["began"] = json!(began);
        line
    }

    fn try_once(&self) -> Value {
        let start = Instant::now();
        let outcome = match self.target.address() {
            Ok(address) => TcpStream::connect_timeout(&address, self.timeout),
            // No error number: the resolver's own errors have none.
            Err(error) => return json!({ "ok": false, "errno": format!("resolve: {error}") }),
        };
        let mut line = report::attempt("tcp", &outcome);
        line["us"] = json!(start.elapsed().as_micros());
        if let Ok(mut stream) = outcome {
            line["peer"] = json!(stream.peer_addr().ok().map(|it| it.to_string()));
            line["local"] = json!(stream.local_addr().ok().map(|it| it.to_string()));
            if self.read {
                match self.first_bytes(&mut stream) {
                    Ok(first) => line["first"] = json!(first),
                    Err(error) => line["read_errno"] = json!(report::errno(&error)),
                }
            }
        }
        line
    }

    /// What the server says first; empty if it closes without a word.
    fn first_bytes(&self, stream: &mut TcpStream) -> io::Result<String> {
        stream.set_read_timeout(Some(self.timeout))?;
        let mut buffer = [0; 256];
        let length = stream.read(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())
    }
}

fn in_parallel(count: u32, parallel: u32, work: impl Fn() + Sync) {
    let next = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..parallel.clamp(1, 1000) {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    work();
                }
            });
        }
    });
}

fn at_rate(count: u32, rate: u32, work: impl Fn() + Sync) {
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..count {
            let due = start + Duration::from_secs(1) * number / rate;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            scope.spawn(&work);
        }
    });
}

/// Lines at once, or counts at the end.
struct Results {
    summary: Option<Mutex<Counts>>,
    failures: bool,
}

#[derive(Default)]
struct Counts {
    connections: u32,
    by_answer: BTreeMap<String, u32>,
    by_errno: BTreeMap<String, u32>,
    slowest_us: u64,
}

impl Results {
    fn new(summary: bool, failures: bool) -> Self {
        Self { summary: summary.then(Mutex::default), failures }
    }

    fn add(&self, line: Value) {
        let Some(counts) = &self.summary else {
            report::line(&line);
            return;
        };
        let mut counts = counts.lock().expect("invariant: nothing panics while counting");
        counts.connections += 1;
        counts.slowest_us = counts.slowest_us.max(line["us"].as_u64().unwrap_or(u64::MAX));
        let text = |key: &str| line[key].as_str().map(String::from);
        let silent = || (self.failures && line["first"] == "").then(|| "closed without a word".to_owned());
        let read = || text("read_errno").map(|it| format!("read {it}"));
        match text("errno").or_else(read).or_else(silent) {
            Some(errno) => {
                if self.failures {
                    report::line(&json!({ "failed": errno, "began": line["began"], "ended": report::now() }));
                }
                *counts.by_errno.entry(errno).or_default() += 1;
            }
            None => *counts.by_answer.entry(text("first").unwrap_or_default()).or_default() += 1,
        }
    }

    fn finish(self) {
        let Some(counts) = self.summary else { return };
        let Counts { connections, by_answer, by_errno, slowest_us } =
            counts.into_inner().expect("invariant: nothing panics while counting");
        report::line(&json!({
            "connections": connections, "by_answer": by_answer, "by_errno": by_errno, "slowest_us": slowest_us,
        }));
    }
}
