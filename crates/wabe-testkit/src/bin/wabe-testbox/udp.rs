//! Datagrams: a server and a caller.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::Result;
use serde_json::json;

use crate::{args::Args, connect, report};

/// Answers each datagram with what `answer` makes of it.
pub(crate) fn serve(address: SocketAddr, answer: impl Fn(&[u8]) -> Vec<u8>) -> Result<()> {
    let socket = UdpSocket::bind(address)?;
    report::line(&json!({ "listening": socket.local_addr()?.to_string() }));
    let mut buffer = vec![0; 1 << 16];
    loop {
        // An error here is an earlier answer that could not be delivered.
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&answer(&buffer[..length]), from).ok();
        }
    }
}

/// Sends datagrams from one socket to each address in turn, and waits for the answer to each.
pub(crate) fn call(args: &mut Args) -> Result<()> {
    let target = connect::target(args)?;
    let timeout = args.millis("timeout", 2000)?;
    let pause = args.millis("delay", 0)?;
    let count: usize = args.option("count")?.unwrap_or(1);
    let mut targets = vec![target];
    while let Some(more) = connect::maybe_target(args)? {
        targets.push(more);
    }
    let socket = UdpSocket::bind(if target.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" })?;
    socket.set_read_timeout(Some(timeout))?;
    let connected = if args.has("connected") { socket.connect(target) } else { Ok(()) };
    if connected.is_err() {
        report::line(&report::attempt("connect", &connected));
        return Ok(());
    }
    let over = Arc::new(AtomicBool::new(false));
    if args.has("until-quit") {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            // Whatever is said, and the end of it.
            let _ = io::stdin().lines().next();
            over.store(true, Ordering::Relaxed);
        });
    }
    let (mut sent_all, mut by_answer, mut errors) = (0, BTreeMap::new(), 0);
    for (number, target) in targets.iter().cycle().take(count * targets.len()).enumerate() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        if number > 0 {
            thread::sleep(pause);
        }
        let text = format!("datagram {number}");
        let start = Instant::now();
        let sent = if args.has("connected") {
            socket.send(text.as_bytes())
        } else {
            socket.send_to(text.as_bytes(), target)
        };
        let mut buffer = [0; 2048];
        // With the sender's address: that is what makes the kernel run the hooks for received datagrams.
        let outcome = sent.and_then(|_| socket.recv_from(&mut buffer));
        let mut line = report::attempt("udp", &outcome);
        line["us"] = json!(start.elapsed().as_micros());
        if let Ok((length, from)) = outcome {
            line["first"] = json!(String::from_utf8_lossy(&buffer[..length]));
            line["from"] = json!(from.to_string());
        }
        line["peer"] = json!(socket.peer_addr().ok().map(|it| it.to_string()));
        line["local"] = json!(socket.local_addr().ok().map(|it| it.to_string()));
        sent_all += 1;
        errors += u64::from(line["ok"] == false);
        if args.has("summary") {
            *by_answer.entry(line["first"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
        }
        if !args.has("summary") || line["ok"] == false {
            report::line(&line);
        }
    }
    if args.has("summary") {
        report::line(&json!({ "datagrams": sent_all, "errors": errors, "by_answer": by_answer }));
    }
    if args.has("wait") {
        report::line(&report::attempt("wait", &socket.recv_from(&mut [0; 2048])));
    }
    if args.has("stay") {
        io::copy(&mut io::stdin(), &mut io::sink())?;
    }
    Ok(())
}
