//! Connections that stay and are used all the time.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::json;

use crate::{args::Args, connect, report};

/// Bytes of one question, and of its echo.
const SIZE: usize = 64;

/// `ping ADDR --parallel P --count N --delay MS`: P connections to an echo server, on each N numbered messages, one every
/// MS. Every echo must be the message. One line at the end.
pub(crate) fn run(args: &mut Args) -> Result<()> {
    let target = connect::target(args)?;
    let timeout = args.millis("timeout", 5000)?;
    let (parallel, count) = (args.option("parallel")?.unwrap_or(1), args.option("count")?.unwrap_or(1));
    let delay = args.millis("delay", 10)?;
    let good = AtomicU64::new(0);
    let errors: Vec<String> = thread::scope(|scope| {
        let talk = || {
            let error = converse(target, timeout, count, delay, &good).err()?;
            Some(format!("{} at {}", report::errno(&error), report::now()))
        };
        let threads: Vec<_> = (0..parallel).map(|_: u32| scope.spawn(talk)).collect();
        threads
            .into_iter()
            .filter_map(|it| it.join().expect("invariant: a conversation does not panic"))
            .collect()
    });
    report::line(&json!({ "connections": parallel, "echoes": good.into_inner(), "errors": errors }));
    Ok(())
}

fn converse(
    target: SocketAddr,
    timeout: Duration,
    count: u64,
    delay: Duration,
    good: &AtomicU64,
) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&target, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let mut next = Instant::now();
    for number in 0..count {
        let mut question = [0; SIZE];
        question[..8].copy_from_slice(&number.to_le_bytes());
        stream.write_all(&question)?;
        let mut echo = [1; SIZE];
        stream.read_exact(&mut echo)?;
        if echo != question {
            return Err(io::ErrorKind::InvalidData.into());
        }
        good.fetch_add(1, Ordering::Relaxed);
        next += delay;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
