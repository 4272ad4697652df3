//! Keeps connections open, and tells which still live.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, bail};
use serde_json::json;

use crate::{args::Args, connect, report};

/// `hold ADDR --count N`: opens them one after the other, reports, then obeys stdin: `count` reports who lives, `quit`
/// (or the end of stdin) ends.
pub(crate) fn run(args: &mut Args) -> Result<()> {
    raise_descriptor_limit()?;
    let target = connect::target(args)?;
    let timeout = args.millis("timeout", 5000)?;
    let mut held = Held::open(target, args.option("count")?.unwrap_or(1), timeout);
    report::line(&json!({ "open": held.streams.len(), "failed": held.failed }));
    for command in io::stdin().lines() {
        match command?.trim() {
            "count" => {
                held.look();
                report::line(&json!({ "alive": held.streams.len(), "ended": held.ended }));
            }
            "quit" => break,
            other => bail!("no command {other:?}; there are count and quit"),
        }
    }
    Ok(())
}

/// As many descriptors as may be had: each connection needs one.
pub(crate) fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes an rlimit, which lives until the call returns.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads an rlimit, which lives until the call returns.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[derive(Default)]
struct Held {
    streams: Vec<TcpStream>,
    failed: BTreeMap<String, u32>,
    ended: BTreeMap<String, u32>,
}

impl Held {
    fn open(target: SocketAddr, count: u32, timeout: Duration) -> Self {
        let mut held = Self::default();
        for _ in 0..count {
            let opened = TcpStream::connect_timeout(&target, timeout);
            match opened.and_then(|stream| stream.set_nonblocking(true).map(|()| stream)) {
                Ok(stream) => held.streams.push(stream),
                Err(error) => *held.failed.entry(report::errno(&error)).or_default() += 1,
            }
        }
        held
    }

    /// Sorts out those that have ended: by an error, or closed by the peer.
    fn look(&mut self) {
        self.streams.retain(|stream| {
            let how = match stream.peek(&mut [0]) {
                Ok(0) => "closed".to_owned(),
                Ok(_) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => report::errno(&error),
            };
            *self.ended.entry(how).or_default() += 1;
            false
        });
    }
}
