//! Small programs to run in a cgroup and a namespace: this test program started again. Sockets belong to the cgroup of
//! the process that makes them, so each part of a scene is a process.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsFd as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use rustix::{
    net::sockopt,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

const ROLE: &str = "WABE_LAB_TEST_ROLE";

/// A started role; ended when dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub fn start(cgroup: &Path, namespace: &str, arguments: &str) -> Self {
        let path = format!("/run/netns/{namespace}");
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "role::plays_its_role", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{} {path} {arguments}", cgroup.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a role starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, said)) = line.split_once("role: ") {
                    let _ = sender.send(said.to_owned());
                }
            }
        });
        Self { child, lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next thing it says.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(20)).expect("the role says something")
    }

    /// The most memory it had, kB.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("VmHWM");
        line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("kB")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does nothing in a usual run.
#[test]
fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    fs::write(Path::new(words[0]).join("cgroup.procs"), "0").expect("enter the cgroup");
    if let ["canaries", cgroup, address] = words[2..] {
        return canaries(cgroup, address.parse().expect("address"));
    }
    let namespace = File::open(words[1]).expect("namespace");
    // Threads that are made from now on are in it, too.
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("enter");
    match words[2..] {
        ["echo", port] => echo(port.parse().expect("port")),
        ["relay", own, onward] => relay(own.parse().expect("address"), onward.parse().expect("address")),
        ["call", to, bytes] => call(to.parse().expect("address"), bytes.parse().expect("number")),
        ["attempt", to, number] => attempt(to.parse().expect("address"), number.parse().expect("number")),
        ["hold", cgroup] => hold(Path::new(cgroup)),
        ["backlog", own] => backlog(own.parse().expect("address")),
        _ => panic!("no such role: {role}"),
    }
}

fn say(what: impl std::fmt::Display) {
    println!("\nrole: {what}");
}

/// Sends back what comes.
fn echo(port: u16) {
    let listener = TcpListener::bind(("0.0.0.0", port)).expect("bind");
    say("echo listens");
    for stream in listener.incoming() {
        let stream = stream.expect("accept");
        thread::spawn(move || copy(&stream, &stream));
    }
}

/// What Envoy does: accepts, asks where the connection was going, and goes on to a fixed address.
fn relay(own: SocketAddr, onward: SocketAddr) {
    let listener = TcpListener::bind(own).expect("bind");
    say("relay listens");
    for stream in listener.incoming() {
        let from = stream.expect("accept");
        thread::spawn(move || {
            match sockopt::ip_original_dst(&from) {
                Ok(origin) => say(format!("origin {origin}")),
                Err(error) => say(format!("no origin: {error}")),
            }
            // A neighbour of the option, which is to be left alone.
            assert!(sockopt::ip_ttl(&from).is_ok_and(|ttl| ttl > 0));
            let to = TcpStream::connect(onward).expect("onward");
            thread::scope(|scope| {
                scope.spawn(|| copy(&from, &to));
                copy(&to, &from);
            });
        });
    }
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match from.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => break,
            Ok(length) => {
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Sends so many bytes, reads them back and compares.
fn call(to: SocketAddrV4, bytes: u64) {
    let stream = match TcpStream::connect_timeout(&to.into(), Duration::from_secs(2)) {
        Ok(stream) => stream,
        Err(error) => return say(format!("failed {:?}", error.kind())),
    };
    let (peer, pattern) = (stream.peer_addr().expect("peer"), pattern());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = 0_u64;
            while sent < bytes {
                // Of changing length, so that pieces do not fall together with anybody's buffers.
                let length = (bytes - sent).min(1 + (sent * 7919) % 60_000);
                let piece = content(&pattern, sent, length);
                (&stream).write_all(piece).expect("send");
                sent += piece.len() as u64;
            }
            stream.shutdown(Shutdown::Write).expect("shutdown");
        });
        let (mut received, mut buffer) = (0_u64, vec![0; 64 << 10]);
        loop {
            let length = match (&stream).read(&mut buffer) {
                // Socket to socket redirection breaks this: a blocked reader is woken by room for its writer.
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                read => read.expect("receive"),
            };
            if length == 0 {
                break;
            }
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let should = content(&pattern, received, rest.len() as u64);
                assert!(rest.starts_with(should), "other bytes after {received}");
                received += should.len() as u64;
                rest = &rest[should.len()..];
            }
        }
        assert_eq!(received, bytes);
    });
    say(format!("done {bytes} {peer}"));
}

/// What is at a place of the stream, at most so long: the pattern again and again.
fn content(pattern: &[u8], place: u64, length: u64) -> &[u8] {
    let start = (place % pattern.len() as u64) as usize;
    &pattern[start..pattern.len().min(start + length as usize)]
}

/// No two places are alike for long, and no buffer is a multiple of its length.
fn pattern() -> Vec<u8> {
    (0..1_000_003_u64).map(|place| (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Tries what applications expect, in a cgroup or where it is.
fn canaries(cgroup: &str, server_address: Ipv4Addr) {
    let open = |name| File::open(format!("/run/netns/wabe-lab-test-{name}")).expect("namespace");
    let (client, server) = (open("client"), open("server"));
    let scene = wabe_lab_datapath::Scene {
        cgroup: (cgroup != "plain").then_some(Path::new(cgroup)),
        client_netns: client.as_fd(),
        server_netns: server.as_fd(),
        server_address,
    };
    let own = || fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    let before = own();
    for it in wabe_lab_datapath::canaries(&scene).expect("canaries") {
        let outcome = if it.holds { "holds" } else { "is broken" };
        say(format!("{} {outcome}: {} ({})", it.name, it.seen, it.expected));
    }
    assert_eq!(before, own(), "back where it was");
}

/// Begins so many connections at once and says how each went after half a second.
fn attempt(to: SocketAddrV4, number: u32) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    let mut sockets = Vec::new();
    for _ in 0..number {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("socket");
        say(match connect(&socket, &to) {
            Ok(()) => "connected".to_owned(),
            Err(error) => format!("{:?}", std::io::Error::from(error).kind()),
        });
        sockets.push(socket);
    }
    say("attempted");
    thread::sleep(Duration::from_secs(60));
}

/// Has programs attached until it is killed.
fn hold(cgroup: &Path) {
    let _joined = wabe_lab_datapath::SocketToSocket::attach(cgroup, Default::default()).expect("attached");
    say("holds");
    thread::sleep(Duration::from_secs(60));
}

/// Listens and accepts nothing, with room for one.
fn backlog(own: SocketAddrV4) {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    bind(&listener, &own).expect("bind");
    listen(&listener, 0).expect("listen");
    say("backlog listens");
    thread::sleep(Duration::from_secs(60));
}
