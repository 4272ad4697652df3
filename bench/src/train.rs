//! Typical traffic for the proxy, which runs within this program: built to count what it executes (`cargo xtask dist`), the
//! compiler learns from it which way the code mostly goes. Each protocol gets its share. Everything is on loopback.
//!
//! Within this program, as the proxy's process has given up writing files when it could tell.

use std::{
    fs,
    io::{IoSlice, Read as _, Write as _},
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags,
    SocketType, recv, sendmsg, shutdown, socket_with, socketpair,
};
use serde_json::{Value, json};
use wabe_proxy::{Bounds, DRAIN, Options};

use crate::{command::run, grpc};

/// As browsers, scripts and other services send them.
const HEADERS: [&str; 3] = [
    "user-agent: Mozilla/5.0 (X11; Linux x86_64)",
    "accept-encoding: gzip",
    "cookie: session=0123456789abcdef",
];

/// A service's port, and how its server is spoken to.
struct Port {
    name: &'static str,
    protocol: &'static str,
    speaks: &'static str,
    listener: TcpListener,
    server: SocketAddr,
}

/// Runs it: so many seconds or tens of thousands of requests of each kind. `folder` is for its files.
///
/// # Errors
/// A load generator is missing, or fails.
pub(crate) fn train(folder: &Path, length: u32) -> Result<()> {
    let http1 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let plain = http1.local_addr()?;
    thread::spawn(move || answer(&http1));
    // Free a moment ago, and nobody else asks for one here.
    let calls = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    thread::spawn(move || grpc::serve(calls));
    let port = |name, protocol, speaks, server| -> Result<Port> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Port { name, protocol, speaks, listener, server })
    };
    let ports = [
        port("http", "http", "Http1", plain)?,
        port("mixed", "http", "Http1", plain)?,
        port("calls", "http", "Http2", calls)?,
        port("bytes", "tcp", "AsCaller", plain)?,
    ];
    let addresses = ports.iter().map(|it| it.listener.local_addr()).collect::<Result<Vec<_>, _>>()?;
    let options = Options { snapshot: folder.join("snapshot.json"), bounds: Bounds::default(), drain: DRAIN };
    fs::write(&options.snapshot, serde_json::to_vec(&snapshot(&ports)?)?)?;
    let flags = SocketFlags::CLOEXEC;
    let (keeper, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let figures = fs::File::create(folder.join("figures"))?;
    give(&keeper, &json!("figures"), &[figures.into()])?;
    for (workload, port) in (CALLER..).zip(ports) {
        give(&keeper, &json!({ "listen": { "workload": workload } }), &[port.listener.into()])?;
    }
    let proxy = thread::spawn(move || wabe_proxy::run(&options, theirs));
    thread::scope(|scope| {
        let vending = scope.spawn(|| vend(&keeper));
        let loaded = load(folder, &addresses, length);
        // It drains, and nothing is open any more.
        shutdown(&keeper, Shutdown::Both)?;
        vending.join().expect("no panic")?;
        loaded
    })?;
    proxy.join().expect("no panic").context("the proxy")
}

const CALLER: u32 = 7;

fn load(folder: &Path, addresses: &[SocketAddr], length: u32) -> Result<()> {
    let [http, mixed, calls, bytes] = addresses else { bail!("four ports") };
    let message = folder.join(grpc::FILE);
    fs::write(&message, grpc::message())?;
    let url = |address: &SocketAddr| format!("http://{address}/a/path?with=parameters");
    let wrk = |address, headers: &[&str]| {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "-c32", &format!("-d{length}s")]).args(headers.iter().flat_map(|it| ["-H", it]));
        run(wrk.arg(url(address))).map(drop)
    };
    let h2load = |address, connections: &str, streams: &str, words: &[&str]| {
        let mut h2load = Command::new("h2load");
        h2load.args(["-n", &format!("{length}0000"), "-c", connections, "-m", streams]).args(words);
        let told = run(h2load.arg(url(address)))?;
        if !told.contains(" 0 failed, 0 errored, 0 timeout") {
            bail!("requests failed: {told}");
        }
        Ok(())
    };
    let message = message.to_string_lossy();
    let call = ["-d", &*message, "-H", "content-type: application/grpc", "-H", "te: trailers"];
    wrk(http, &[])?;
    wrk(http, &HEADERS)?;
    wrk(bytes, &[])?;
    for (connections, streams) in [("32", "1"), ("2", "16")] {
        h2load(mixed, connections, streams, &[])?;
        h2load(calls, connections, streams, &[])?;
        h2load(calls, connections, streams, &call)?;
    }
    Ok(())
}

/// What the agent would write: each port is a service's, whose caller has a number of its own.
fn snapshot(ports: &[Port]) -> Result<Value> {
    const SERVER: u32 = 100;
    let workload = |name: &str| {
        let identity = format!("spiffe://cluster.local/ns/shop/sa/{name}");
        json!({
            "namespace": "shop", "name": name, "identity": identity,
            "v4": Ipv4Addr::LOCALHOST, "v6": std::net::Ipv6Addr::LOCALHOST,
        })
    };
    let mut workloads = serde_json::Map::new();
    workloads.insert(SERVER.to_string(), workload("server-0"));
    let (mut services, mut backends) = (Vec::new(), Vec::new());
    for (caller, port) in (CALLER..).zip(ports) {
        workloads.insert(caller.to_string(), workload("caller"));
        let (service, address) =
            (json!({ "namespace": "shop", "name": port.name }), port.listener.local_addr()?);
        let backend = json!({ "service": service, "port": address.port(), "weight": 1, "invalid": null, "filters": [] });
        let rule = json!({
            "kind": "HTTPRoute", "route": { "namespace": "shop", "name": "all" }, "rule": 0, "name": null,
            "filters": [], "backends": [backend], "timeouts": {}, "retry": null,
        });
        let rows = json!([{ "condition": { "path": { "prefix": "/" } }, "rule": rule }]);
        let table =
            json!({ "producer": if port.protocol == "http" { rows } else { json!([]) }, "consumers": {} });
        services.push(json!({
            "service": service, "addresses": [address.ip()], "port": address.port(), "protocol": port.protocol, "table": table,
        }));
        let endpoint = json!({
            "workload": SERVER, "v4": Ipv4Addr::LOCALHOST, "v6": std::net::Ipv6Addr::LOCALHOST,
            "port": port.server.port(), "weight": 100,
        });
        backends.push(json!({
            "service": service, "port": address.port(), "speaks": port.speaks, "endpoints": [endpoint],
        }));
    }
    Ok(json!({
        "generation": 1, "workers": 1, "workloads": workloads, "ports": services, "backends": backends,
    }))
}

/// The keeper's part: sockets for who asks.
fn vend(keeper: &OwnedFd) -> Result<()> {
    let mut packet = [0; 256];
    while let Ok((_, length @ 1..)) = recv(keeper, &mut packet, RecvFlags::empty()) {
        let wanted: Value = serde_json::from_slice(&packet[..length])?;
        let Some(sockets) = wanted.get("sockets") else { continue };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let made = (0..sockets["v4"].as_u64().unwrap_or(0))
            .map(|_| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None))
            .collect::<Result<Vec<_>, _>>()?;
        let said =
            json!({ "workload": sockets["workload"], "v6": false, "generation": sockets["generation"] });
        give(keeper, &json!({ "sockets": said }), &made)?;
    }
    Ok(())
}

fn give(keeper: &OwnedFd, text: &Value, descriptors: &[OwnedFd]) -> Result<()> {
    let descriptors: Vec<_> = descriptors.iter().map(|it| it.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        bail!("{} descriptors are too many", descriptors.len());
    }
    let text = text.to_string();
    sendmsg(keeper, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A server of HTTP/1.1 that answers as nginx does, until the program ends.
fn answer(listener: &TcpListener) {
    let text = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 29 Nov 2026 12:00:00 GMT\r\n\
         Content-Type: text/plain\r\nContent-Length: 64\r\nConnection: keep-alive\r\n\r\n{}",
        "w".repeat(64)
    );
    for stream in listener.incoming().map_while(Result::ok) {
        let text = text.clone();
        // Who goes is none of the others' concern.
        thread::spawn(move || serve(stream, text.as_bytes()));
    }
}

fn serve(mut stream: TcpStream, text: &[u8]) -> std::io::Result<()> {
    let (mut buffer, mut kept) = ([0; 4096], 0);
    loop {
        let got = stream.read(&mut buffer[kept..])?;
        if got == 0 {
            return Ok(());
        }
        kept += got;
        // Callers send one request at a time.
        if buffer[..kept].ends_with(b"\r\n\r\n") {
            stream.write_all(text)?;
            kept = 0;
        }
    }
}
