//! Connections that do nothing.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};

/// The address in `http://10.96.0.10:80/get`.
///
/// # Errors
/// It has none.
pub fn address(url: &str) -> Result<SocketAddr> {
    let host = url.split_once("://").map(|it| it.1).unwrap_or(url).split('/').next().unwrap_or_default();
    host.parse().with_context(|| format!("{url} has no address with a port, as in http://10.96.0.10:80/get"))
}

/// Opens them, prints `held`, and holds them until killed.
///
/// # Errors
/// One can't be opened, or the limit of open files is too low.
pub fn hold(to: SocketAddr, count: usize) -> Result<()> {
    // Some more than connections: standard streams and what the runtime has open.
    let wanted = count as u64 + 64;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(u64::MAX);
    anyhow::ensure!(
        maximum >= wanted,
        "{count} connections need {wanted} open files, the hard limit is {maximum}"
    );
    let raised = rustix::process::Rlimit { current: Some(wanted.max(limit.current.unwrap_or(0))), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)
        .context("raising the limit of open files")?;
    let mut held = Vec::with_capacity(count);
    for number in 0..count {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))
            .with_context(|| format!("connection {} of {count} to {to}", number + 1))?;
        // When this is killed they are reset: in TIME_WAIT they would keep their ports from the next sample.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        held.push(stream);
    }
    println!("held");
    std::io::stdout().flush()?;
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
