//! What other proxies do with the requests that this crate refuses.
//!
//! `cargo run --release -p wabe-http1 --example peers`. Sends each of [`wabe_http1::malformed`] through nginx, HAProxy and
//! Envoy, as far as they are there (`WABE_LAB_ENVOY` may name Envoy's program), each with its defaults, to a backend that
//! says what reached it; and to a server of hyper. Prints a table. Everything is on Unix sockets in a folder of its own.

mod backend;
mod hyper_server;
mod proxies;

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use backend::{Backend, Reached};
use wabe_http1::malformed::{self, Group, Malformed};

/// Who has not answered then waits for more.
const PATIENCE: Duration = Duration::from_millis(400);

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::start(&folder.path().join("backend"));
    let proxies = proxies::start(folder.path());
    let names: Vec<&str> = proxies.iter().map(|it| it.name).chain(["hyper"]).collect();
    for proxy in &proxies {
        let right = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        let outcome = through(&proxy.socket, right, &backend);
        assert_eq!(outcome, Outcome { status: "200".into(), reached: Reached::Whole }, "{}", proxy.name);
    }

    println!("| request | refused with | {} |", names.join(" | "));
    println!("|---|---|{}", "---|".repeat(names.len()));
    let requests = malformed::requests("shop.example");
    let mut passed: Vec<(Group, Vec<bool>)> = Vec::new();
    for it in &requests {
        let mut outcomes: Vec<Outcome> =
            proxies.iter().map(|proxy| through(&proxy.socket, &it.bytes, &backend)).collect();
        outcomes.push(hyper_server::outcome(&it.bytes));
        println!("{}", row(it, &outcomes));
        passed.push((it.group, outcomes.iter().map(|it| it.reached >= Reached::Whole).collect()));
    }

    println!("\n| wrong about | requests | {} |", names.join(" | "));
    println!("|---|---:|{}", "---:|".repeat(names.len()));
    for group in Group::ALL {
        println!("{}", counts(&format!("{group:?}"), names.len(), &passed, |it| it == group));
    }
    println!("{}", counts("all", names.len(), &passed, |_| true));
}

/// How many were passed on whole.
fn counts(name: &str, peers: usize, passed: &[(Group, Vec<bool>)], of: impl Fn(Group) -> bool) -> String {
    let rows: Vec<&Vec<bool>> = passed.iter().filter(|it| of(it.0)).map(|it| &it.1).collect();
    let cells = (0..peers).map(|peer| rows.iter().filter(|it| it[peer]).count().to_string());
    format!("| {name} | {} | {} |", rows.len(), cells.collect::<Vec<_>>().join(" | "))
}

/// What became of one request.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Of the first answer; or `closed`, or `waits`.
    status: String,
    reached: Reached,
}

fn row(request: &Malformed, outcomes: &[Outcome]) -> String {
    let cell = |it: &Outcome| match it.reached {
        Reached::Nothing => it.status.clone(),
        Reached::Head => format!("{}, head passed on", it.status),
        Reached::Whole => format!("**{}, passed on**", it.status),
        Reached::Strange => format!("**{}, passed on, still wrong**", it.status),
    };
    let cells: Vec<String> = outcomes.iter().map(cell).collect();
    let status = request.refusal.status().as_u16();
    format!("| {} | {status} `{}` | {} |", request.name, request.refusal.reason(), cells.join(" | "))
}

fn through(socket: &Path, bytes: &[u8], backend: &Backend) -> Outcome {
    backend.forget();
    let mut stream = UnixStream::connect(socket).expect("the proxy listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // Who refuses early does not read the rest.
    let _ = stream.write_all(bytes);
    let status = status(&mut stream);
    // What is passed on without an answer to the client may come a little later.
    let begun = Instant::now();
    while status == "waits" && begun.elapsed() < PATIENCE / 4 {
        thread::sleep(PATIENCE / 40);
    }
    Outcome { status, reached: backend.reached() }
}

fn status(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return "waits".into(),
            Err(_) => break,
        }
        if let Some(status) = status_of(&answer) {
            return status;
        }
    }
    status_of(&answer).unwrap_or_else(|| "closed".into())
}

/// Of the first answer, if so much has come.
fn status_of(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    match text.strip_prefix("HTTP/1.") {
        Some(rest) => rest.get(2..5).map(str::to_owned),
        // A frame of SETTINGS.
        None if answer.get(3) == Some(&4) => Some("HTTP/2".into()),
        None => None,
    }
}
