//! Load generators: closed loops, so they tell how fast the path is, and nothing about latency under a given load.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What is asked for.
pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
/// Asks for many bytes.
const MANY: &[u8] = b"GET /many HTTP/1.1\r\nHost: b\r\n\r\n";
/// Longest wait for one answer; a path that loses packets is an error, not a slow path.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a load generator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Requests on 32 connections that are kept.
    Requests,
    /// Connections one after the other, each with one request; reset at the end, so no port waits.
    Connections,
    /// Datagrams of 64 bytes, one on the way at a time.
    Datagrams,
    /// Bytes of one large answer after the other, on one connection.
    Bytes,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Requests, Self::Connections, Self::Datagrams, Self::Bytes];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Connections => "connections",
            Self::Datagrams => "datagrams",
            Self::Bytes => "bytes",
        }
    }
}

/// What came out.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Answers; or bytes.
    pub(crate) count: u64,
    /// Time from the first to the last, seconds.
    pub(crate) seconds: f64,
    /// Median time of `connect()`, microseconds; of connections only.
    pub(crate) set_up: Option<f64>,
}

/// Binds this thread, and those that it starts, to a core.
///
/// # Errors
/// There is no such core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("binding to core {core}"))
}

/// Loads `to` for about `time`, a tenth of that before it counts. Of several addresses new connections take each in turn,
/// other loads the first.
///
/// # Errors
/// It does not answer, or not with what was expected.
pub(crate) fn run(kind: Kind, to: &[SocketAddr], connections: usize, time: Duration) -> Result<Sample> {
    let first = *to.first().context("where to?")?;
    match kind {
        Kind::Requests => requests(first, connections, time),
        Kind::Connections => new_connections(to, time),
        Kind::Datagrams => datagrams(first, time),
        Kind::Bytes => bytes(first, time),
    }
}

/// Answers datagrams with themselves until killed.
///
/// # Errors
/// The address is taken.
pub(crate) fn echo(at: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(at).with_context(|| format!("binding {at}"))?;
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        // The peer may have gone.
        let _ = socket.send_to(&buffer[..length], from);
    }
}

fn requests(to: SocketAddr, connections: usize, time: Duration) -> Result<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begin = Instant::now() + time / 10;
        let end = begin + time;
        let mut loops = tokio::task::JoinSet::new();
        for _ in 0..connections {
            loops.spawn(one_connection(to, begin, end));
        }
        let mut count = 0;
        let all = async {
            while let Some(done) = loops.join_next().await {
                count += done??;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(time + time / 10 + PATIENCE, all).await.context("answers stopped coming")??;
        Ok(Sample { count, seconds: time.as_secs_f64(), set_up: None })
    })
}

async fn one_connection(to: SocketAddr, begin: Instant, end: Instant) -> Result<u64> {
    let mut stream =
        tokio::net::TcpStream::connect(to).await.with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true)?;
    let (mut count, mut buffer, mut expected) = (0, [0; 4096], None);
    loop {
        stream.write_all(REQUEST).await?;
        let mut have = 0;
        while expected.is_none_or(|length| have < length) {
            let got = stream.read(&mut buffer[have..]).await?;
            if got == 0 {
                bail!("the server closed the connection");
            }
            have += got;
            expected = match expected {
                None => answer_length(&buffer[..have])?,
                known => known,
            };
        }
        let now = Instant::now();
        if now >= end {
            return Ok(count);
        }
        count += u64::from(now >= begin);
    }
}

/// How long the first answer is, once its head is there. All answers of a server are as long.
pub(crate) fn answer_length(bytes: &[u8]) -> Result<Option<usize>> {
    let text = String::from_utf8_lossy(bytes);
    let Some(head) = text.find("\r\n\r\n") else { return Ok(None) };
    if !text.starts_with("HTTP/1.1 200") {
        bail!("the server answers {:?}", text.lines().next());
    }
    let mut fields = text[..head].lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.context("an answer without Content-Length")?.1.trim().parse()?;
    Ok(Some(head + 4 + length))
}

fn new_connections(to: &[SocketAddr], time: Duration) -> Result<Sample> {
    let begin = Instant::now() + time / 10;
    let end = begin + time;
    let (mut set_ups, mut buffer) = (Vec::new(), [0; 4096]);
    for to in to.iter().cycle() {
        let start = Instant::now();
        let mut stream =
            TcpStream::connect_timeout(to, PATIENCE).with_context(|| format!("connecting to {to}"))?;
        let set_up = start.elapsed();
        stream.set_read_timeout(Some(PATIENCE))?;
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        stream.write_all(REQUEST)?;
        if stream.read(&mut buffer)? == 0 {
            bail!("{to} closed the connection");
        }
        drop(stream);
        let now = Instant::now();
        if now >= end {
            break;
        }
        if now >= begin {
            set_ups.push(set_up.as_secs_f64() * 1e6);
        }
    }
    Ok(Sample {
        count: set_ups.len() as u64,
        seconds: time.as_secs_f64(),
        set_up: crate::stats::median(&set_ups),
    })
}

fn datagrams(to: SocketAddr, time: Duration) -> Result<Sample> {
    let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to).with_context(|| format!("connecting to {to} by UDP"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let begin = Instant::now() + time / 10;
    let end = begin + time;
    let (mut count, mut buffer) = (0, [0; 64]);
    loop {
        socket.send(&[7; 64]).with_context(|| format!("sending to {to} by UDP"))?;
        socket.recv(&mut buffer).with_context(|| format!("no answer from {to} by UDP"))?;
        let now = Instant::now();
        if now >= end {
            return Ok(Sample { count, seconds: time.as_secs_f64(), set_up: None });
        }
        count += u64::from(now >= begin);
    }
}

fn bytes(to: SocketAddr, time: Duration) -> Result<Sample> {
    let mut stream =
        TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let begin = Instant::now() + time / 10;
    let end = begin + time;
    let (mut count, mut buffer) = (0, vec![0; 256 << 10]);
    loop {
        stream.write_all(MANY)?;
        // The end of one answer is the beginning of the next: nothing else is on the way.
        let (mut have, mut whole) = (0, None);
        while whole.is_none_or(|whole| have < whole) {
            let got = stream.read(&mut buffer[if whole.is_none() { have } else { 0 }..])?;
            if got == 0 {
                bail!("{to} closed the connection");
            }
            have += got;
            if whole.is_none() {
                whole = answer_length(&buffer[..have])?;
            }
            let now = Instant::now();
            if now >= end {
                return Ok(Sample { count, seconds: time.as_secs_f64(), set_up: None });
            }
            count += if now >= begin { got as u64 } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_length_is_known_once_its_head_is_there() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(answer_length(&answer[..20]).expect("part of a head"), None);
        assert_eq!(answer_length(answer).expect("an answer"), Some(answer.len()));
        let proxied = b"HTTP/1.1 200 OK\r\ncontent-length:3\r\n\r\nabc";
        assert_eq!(answer_length(proxied).expect("the same"), Some(proxied.len()));
        assert!(answer_length(b"HTTP/1.1 404 Not Found\r\n\r\n").is_err());
    }

    #[test]
    fn datagrams_are_counted_as_they_come_back() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let to = server.local_addr().expect("bound");
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = server.recv_from(&mut buffer) {
                server.send_to(&buffer[..length], from).expect("loopback");
            }
        });
        let sample = datagrams(to, Duration::from_millis(20)).expect("an echo");
        assert!(sample.set_up.is_none() && sample.seconds > 0.0);
    }
}
