//! A proxy that somebody took over: it has the proxy's user, namespaces, link to the keeper and filters, and tries what it must
//! not. It never says that it serves, so the one in charge goes on.

use std::{
    fs::{self, File},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, bind, connect, listen, recvmsg,
        send, sockopt,
    },
    process::{Pid, Signal, kill_process},
};
use serde_json::{Value, json};

use crate::{args::Args, report};

/// No workload has this number.
const NOBODY: u32 = 4_000;
/// How long a connection may take.
const PATIENCE: i64 = 1;

/// Runs all attempts; ends when the keeper ends it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let path: PathBuf = args.option("snapshot")?.context("--snapshot FILE")?;
    let link = rustix::stdio::stdin().try_clone_to_owned()?;
    let keeper = rustix::process::getppid().context("a parent")?;
    // What the true one reads it may read, and no more.
    wabe_proxy::confine(&path)?;
    let snapshot: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let mut listeners = Vec::new();
    loop {
        let (said, descriptors) = receive(&link)?;
        listeners.extend(descriptors);
        if said == "complete" {
            break;
        }
    }
    let workloads = snapshot["workloads"].as_object().context("workloads")?;
    let newest = snapshot["generation"].as_u64().context("a generation")?;
    for (id, workload) in workloads {
        let id: u32 = id.parse()?;
        options(&ask(&link, id, 1, newest)?.pop().context("a socket")?);
        for endpoint in endpoints(&snapshot) {
            let judged_since = snapshot["judged"][&endpoint.0]["generation"].as_u64();
            // By the policies in force, by older ones, and by none.
            let older = judged_since.map(|since| [("older-policies", since - 1), ("no-policies", 0)]);
            for (kind, generation) in [("connect", newest)].into_iter().chain(older.into_iter().flatten()) {
                let socket = ask(&link, id, 1, generation)?.pop().context("a socket")?;
                let mut line = report::attempt(kind, &dial(&socket, endpoint.1));
                line["for"] = json!(name(workload));
                line["to"] = json!(name(&workloads[&endpoint.0]));
                report::line(&line);
            }
        }
    }
    let none = ask(&link, NOBODY, 1, newest)?.is_empty();
    report::line(&json!({ "kind": "sockets-of-nobody", "ok": !none, "errno": null }));
    alone(listeners.first().context("a listener")?, keeper);
    flood(&link)?;
    // More at once than any proxy asks for: the keeper ends whoever does.
    while let Err(error) = say(&link, 1, 65, newest) {
        anyhow::ensure!(error.kind() == io::ErrorKind::WouldBlock, error);
        receive(&link)?;
    }
    // Until the link is cut.
    while receive(&link).is_ok() {}
    thread::sleep(Duration::from_secs(60));
    report::line(&json!({ "kind": "survived", "ok": true, "errno": null }));
    Ok(())
}

fn name(workload: &Value) -> String {
    format!("{}/{}", workload["namespace"].as_str().unwrap_or("?"), workload["name"].as_str().unwrap_or("?"))
}

/// Workloads' numbers, and where they serve.
fn endpoints(snapshot: &Value) -> Vec<(String, SocketAddr)> {
    let backends = snapshot["backends"].as_array().into_iter().flatten();
    let mut all: Vec<_> = backends
        .flat_map(|it| it["endpoints"].as_array().into_iter().flatten())
        .filter_map(|it| {
            let address: Ipv4Addr = it["v4"].as_str()?.parse().ok()?;
            let port = u16::try_from(it["port"].as_u64()?).ok()?;
            Some((it["workload"].to_string(), SocketAddr::from((address, port))))
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Sockets on a workload's behalf, as many as the keeper gives, which bear this generation.
fn ask(link: &OwnedFd, workload: u32, count: u32, generation: u64) -> Result<Vec<OwnedFd>> {
    say(link, workload, count, generation)?;
    loop {
        let (said, descriptors) = receive(link)?;
        if said["sockets"]["workload"] == workload {
            return Ok(descriptors);
        }
    }
}

fn say(link: &OwnedFd, workload: u32, count: u32, generation: u64) -> io::Result<()> {
    let wanted = json!({ "workload": workload, "v4": count, "v6": 0, "generation": generation });
    let text = json!({ "sockets": wanted }).to_string();
    let sent = send(link, text.as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    Ok(sent.map(drop)?)
}

fn receive(link: &OwnedFd) -> Result<(Value, Vec<OwnedFd>)> {
    let mut packet = [0; 512];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(link, &mut [IoSliceMut::new(&mut packet)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((serde_json::from_slice(&packet[..got.bytes])?, descriptors))
}

/// Makes one socket another's.
fn options(socket: &OwnedFd) {
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    for (kind, outcome) in [
        ("mark", set_mark(socket)),
        ("reuse", sockopt::set_socket_reuseaddr(socket, true)),
        ("freebind", sockopt::set_ip_freebind(socket, true)),
        ("bind", bind(socket, &anywhere)),
        ("listen", listen(socket, 1)),
    ] {
        report::line(&report::attempt(kind, &outcome.map_err(io::Error::from)));
    }
}

/// Another workload's mark.
fn set_mark(socket: &OwnedFd) -> Result<(), Errno> {
    let mark: u32 = 1;
    // SAFETY: the kernel reads an int, which lives until the call returns.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MARK,
            (&raw const mark).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if done == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

fn dial(socket: &OwnedFd, to: SocketAddr) -> io::Result<()> {
    match connect(socket, &to) {
        Err(Errno::INPROGRESS) => {}
        other => return Ok(other?),
    }
    let wait = rustix::time::Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
    if poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&wait))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(sockopt::socket_error(socket)??)
}

/// Without any help.
fn alone(listener: &OwnedFd, parent: Pid) {
    let file = |path: String| File::open(path).map(drop);
    for (kind, outcome) in [
        ("tcp", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("pair", UnixStream::pair().map(drop)),
        ("connect-listener", dial(listener, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))),
        ("passwd", file("/etc/passwd".into())),
        ("environment", file("/proc/self/environ".into())),
        ("keeper-memory", file(format!("/proc/{parent}/mem"))),
        ("run", fs::read_dir("/run").map(drop)),
        ("write", fs::write("/tmp/wabe-rogue", "text")),
        ("execute", Command::new("/bin/true").spawn().map(drop)),
        ("signal-keeper", kill_process(parent, Signal::CONT).map_err(Into::into)),
        (
            "pidfd",
            rustix::process::pidfd_open(parent, rustix::process::PidfdFlags::empty())
                .map(drop)
                .map_err(Into::into),
        ),
        (
            "memory-file",
            rustix::fs::memfd_create("m", rustix::fs::MemfdFlags::empty()).map(drop).map_err(Into::into),
        ),
        ("trace", trace(parent)),
    ] {
        report::line(&report::attempt(kind, &outcome));
    }
}

fn trace(pid: Pid) -> io::Result<()> {
    let nothing = std::ptr::null_mut::<u8>();
    // SAFETY: PTRACE_SEIZE reads and writes no memory of ours.
    let traced = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid.as_raw_nonzero().get(), nothing, nothing) };
    if traced < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Asks for ever more, and takes nothing; then gives the test time to look at the keeper.
fn flood(link: &OwnedFd) -> io::Result<()> {
    let began = Instant::now();
    let mut asked = 0;
    while asked < 4_000 && began.elapsed() < Duration::from_secs(2) {
        match say(link, 1, 64, 0) {
            Ok(()) => asked += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(10))
            }
            Err(error) => return Err(error),
        }
    }
    report::line(&json!({ "kind": "flooded", "asked": asked, "ok": false, "errno": null }));
    thread::sleep(Duration::from_secs(2));
    Ok(())
}
