//! Canaries: things that plain TCP does, applications rely on, and redirection from socket to socket may break.
//!
//! A server and a client that only know sockets: what is attached to them is the caller's business. Each canary has a
//! connection of its own, whose first byte says which it is.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, recv},
    pipe::{PipeFlags, SpliceFlags, pipe_with, splice},
};

use crate::results::Canary;

/// Longest time that a canary takes.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes in flight beyond which a sender counts as unbounded.
const BOUND: usize = 64 << 20;
/// Bytes of the sequence whose order is looked at.
const SEQUENCE: u32 = 8 << 20;

/// Answers canaries until killed.
///
/// # Errors
/// The address is taken.
pub fn serve(at: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(at).with_context(|| format!("binding {at}"))?;
    for stream in listener.incoming() {
        let stream = stream?;
        // What a canary does to its connection is not the next one's business.
        std::thread::spawn(move || drop(act(stream)));
    }
    Ok(())
}

fn act(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut word = [0];
    stream.read_exact(&mut word)?;
    match word[0] {
        b's' => stream.write_all(&[b'w'; 4096])?,
        b'w' => {
            stream.write_all(&[b'w'; 10])?;
            std::thread::sleep(Duration::from_millis(100));
            stream.write_all(&[b'w'; 10])?;
        }
        b'r' => {
            // The rest stays unread: closing then must tell the peer.
            std::thread::sleep(Duration::from_millis(100));
            return Ok(());
        }
        b'b' => std::thread::sleep(PATIENCE),
        b'o' => {
            let right = in_order(&mut stream)?;
            stream.write_all(&[u8::from(right)])?;
        }
        _ => return Ok(()),
    }
    // Until the client has seen enough.
    let _ = stream.read(&mut word);
    Ok(())
}

fn in_order(stream: &mut TcpStream) -> Result<bool> {
    let (mut expected, mut buffer, mut held) = (0_u32, vec![0; 64 << 10], Vec::new());
    while expected < SEQUENCE / 4 {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(false);
        }
        held.extend_from_slice(&buffer[..count]);
        let whole = held.len() / 4 * 4;
        for number in held[..whole].chunks_exact(4) {
            if number != expected.to_le_bytes() {
                return Ok(false);
            }
            expected += 1;
        }
        held.drain(..whole);
    }
    Ok(true)
}

/// Tries all of them against a server; `arm` is for the results.
///
/// # Errors
/// The server does not answer at all.
pub fn probe(to: SocketAddr, arm: &str) -> Result<Vec<Canary>> {
    type Probe = fn(TcpStream) -> Result<(bool, String)>;
    let all: [(&str, &str, u8, Probe); 5] = [
        ("splice", "splice(2) moves what has arrived", b's', spliced),
        ("MSG_WAITALL", "recv() waits until everything asked for is there", b'w', waited),
        ("reset", "closing with unread data resets the connection", b'r', was_reset),
        ("receive window", "a receiver that does not read stops the sender", b'b', was_bounded),
        ("order", "bytes arrive in the order in which they were sent", b'o', ordered),
    ];
    let mut canaries = Vec::new();
    for (name, expected, word, probe) in all {
        let mut stream =
            TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("no canaries at {to}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&[word])?;
        let (holds, seen) = probe(stream).unwrap_or_else(|error| (false, format!("{error:#}")));
        canaries.push(Canary { name: name.into(), expected: expected.into(), arm: arm.into(), holds, seen });
    }
    Ok(canaries)
}

fn spliced(stream: TcpStream) -> Result<(bool, String)> {
    let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut fds = [PollFd::new(&stream, PollFlags::IN)];
    anyhow::ensure!(poll(&mut fds, Some(&patience))? == 1, "nothing arrived");
    let moved = splice(stream.as_fd(), None, into.as_fd(), None, 4096, SpliceFlags::NONBLOCK);
    drop(out);
    Ok(match moved {
        Ok(count) => (count > 0, format!("{count} bytes moved")),
        Err(error) => (false, format!("{error}, though data is there")),
    })
}

fn waited(stream: TcpStream) -> Result<(bool, String)> {
    let mut buffer = [0; 20];
    let (count, _) = recv(&stream, &mut buffer[..], RecvFlags::WAITALL)?;
    Ok((count == 20, format!("{count} of 20 bytes")))
}

fn was_reset(mut stream: TcpStream) -> Result<(bool, String)> {
    stream.write_all(&[b'w'; 1000])?;
    Ok(match stream.read(&mut [0]) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => (true, "reset".to_owned()),
        Err(error) => (false, error.to_string()),
        Ok(0) => (false, "the end of the stream, as if all had been read".to_owned()),
        Ok(count) => (false, format!("{count} bytes")),
    })
}

fn was_bounded(mut stream: TcpStream) -> Result<(bool, String)> {
    stream.set_nonblocking(true)?;
    let (mut sent, block, end) = (0, vec![b'w'; 64 << 10], Instant::now() + Duration::from_secs(1));
    while Instant::now() < end && sent < BOUND {
        match stream.write(&block) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mebibytes = sent as f64 / f64::from(1 << 20);
    Ok((sent < BOUND, format!("{mebibytes:.1} MiB were taken")))
}

fn ordered(mut stream: TcpStream) -> Result<(bool, String)> {
    let bytes: Vec<u8> = (0..SEQUENCE / 4).flat_map(u32::to_le_bytes).collect();
    stream.write_all(&bytes)?;
    let mut right = [0];
    stream.read_exact(&mut right).context("no answer after all was sent")?;
    let what = if right[0] == 1 { "in order" } else { "out of order, or incomplete" };
    Ok((right[0] == 1, format!("{} MiB {what}", SEQUENCE >> 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_tcp_keeps_every_promise() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        drop(listener);
        std::thread::spawn(move || serve(at));
        std::thread::sleep(Duration::from_millis(50));
        let canaries = probe(at, "none").expect("canaries");
        assert_eq!(canaries.len(), 5);
        for canary in canaries {
            assert!(canary.holds, "{canary:?}");
        }
    }
}
