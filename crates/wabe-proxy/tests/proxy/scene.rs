//! A proxy with everything that it is given: a keeper's end of its link, a snapshot, and servers on loopback. The listener's
//! own address is the service's, so that nothing of the kernel's is needed to be led to it.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice, Read as _, Write as _},
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    bind, getsockname, listen, recv, sendmsg, shutdown, socket, socketpair,
    sockopt::{set_socket_reuseaddr, set_socket_reuseport},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use wabe_proxy::{
    Bounds, Options, Snapshot,
    figures::{self, Figures},
};

/// The caller's number.
pub const CALLER: u32 = 7;
/// The first server's; the others follow.
pub const SERVERS: u32 = 100;
/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy that runs until it is dropped.
pub struct Scene {
    /// What callers dial.
    pub address: SocketAddr,
    keeper: Arc<OwnedFd>,
    proxy: Option<JoinHandle<()>>,
    folder: TempDir,
    /// That the snapshot asked for.
    workers: Value,
    /// What it read last.
    snapshot: Mutex<Value>,
    /// The generations for which it asked for sockets.
    asked: Arc<Mutex<Vec<u64>>>,
    /// The sockets that it is given all have one port.
    one_port: Arc<AtomicBool>,
}

/// Where nobody listens, nor will: the port stays taken until the tests end, though one of them may yet listen there itself.
pub fn nobody() -> SocketAddr {
    let held = held();
    let address = address_of(&held);
    std::mem::forget(held);
    address
}

/// Where connections stay in the queue: nobody accepts, and there is no room for more.
pub fn full() -> (OwnedFd, Vec<TcpStream>, SocketAddr) {
    let held = held();
    listen(&held, 0).expect("listens");
    let address = address_of(&held);
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let waiting = std::iter::from_fn(connect).take(8).collect();
    (held, waiting, address)
}

/// A port of loopback.
fn held() -> OwnedFd {
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    set_socket_reuseaddr(&held, true).expect("set");
    bind(&held, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("bound");
    held
}

fn address_of(socket: &OwnedFd) -> SocketAddr {
    SocketAddr::try_from(getsockname(socket).expect("bound")).expect("an address")
}

/// Serves one connection.
pub type Serve = dyn Fn(TcpStream) + Send + Sync;

/// A server on loopback; it ends with the test.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let serve: Arc<Serve> = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

impl Scene {
    /// A proxy before these servers, all of one service and of the same weight, without a route.
    pub fn new(servers: &[SocketAddr]) -> Self {
        Self::with(servers, |_| {})
    }

    /// The same, with a snapshot that was changed.
    pub fn with(servers: &[SocketAddr], change: impl FnOnce(&mut Value)) -> Self {
        Self::started(servers, Bounds::default(), wabe_proxy::DRAIN, change)
    }

    /// The same, with less patience or room for callers.
    pub fn bounded(servers: &[SocketAddr], bounds: Bounds, change: impl FnOnce(&mut Value)) -> Self {
        Self::started(servers, bounds, wabe_proxy::DRAIN, change)
    }

    /// The same, which drains for so long.
    pub fn draining(servers: &[SocketAddr], drain: Duration, change: impl FnOnce(&mut Value)) -> Self {
        Self::started(servers, Bounds::default(), drain, change)
    }

    fn started(
        servers: &[SocketAddr],
        bounds: Bounds,
        drain: Duration,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("bound");
        let mut snapshot = snapshot(address, servers);
        change(&mut snapshot);
        let workers = snapshot["workers"].clone();
        let file = put(&folder, snapshot.clone());
        let (asked, one_port) = (Arc::<Mutex<Vec<u64>>>::default(), Arc::<AtomicBool>::default());
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a pair");
        let keeper = Arc::new(ours);
        let figures = std::fs::File::create_new(folder.path().join("figures")).expect("a file");
        give(&keeper, &json!("figures"), &[OwnedFd::from(figures)]);
        give(&keeper, &json!({ "listen": { "workload": CALLER } }), &[OwnedFd::from(listener)]);
        thread::spawn({
            let (keeper, asked, one_port) = (Arc::clone(&keeper), Arc::clone(&asked), Arc::clone(&one_port));
            move || vend(&keeper, &asked, &one_port)
        });
        let options = Options { snapshot: file, bounds, drain };
        let proxy = thread::spawn(move || wabe_proxy::run(&options, theirs).expect("it runs"));
        let snapshot = Mutex::new(snapshot);
        Self { address, keeper, proxy: Some(proxy), folder, workers, snapshot, asked, one_port }
    }

    /// The same, and it has this many workers then.
    pub fn lead_nobody_with(&mut self, workers: u8) {
        self.workers = workers.into();
        self.lead_nobody();
    }

    /// Has it read an empty snapshot: nobody is led there any more.
    pub fn lead_nobody(&self) {
        put(
            &self.folder,
            json!({ "generation": 2, "workers": self.workers, "workloads": {}, "ports": [], "backends": [] }),
        );
    }

    /// Has it read what it read last, changed.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut snapshot = self.snapshot.lock().expect("no panic");
        change(&mut snapshot);
        put(&self.folder, snapshot.clone());
    }

    /// The generations for which it asked for sockets.
    pub fn asked_for(&self) -> Vec<u64> {
        self.asked.lock().expect("no panic").clone()
    }

    /// Has it given sockets with one port from now on: there can be one connection to each server.
    pub fn give_one_port(&self) {
        self.one_port.store(true, Ordering::Relaxed);
    }

    /// A caller.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream
    }

    /// Sends bytes, and returns all that comes until the proxy closes.
    pub fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // Who is refused early may not take the rest.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(&answer)),
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// What it told last.
    pub fn figures(&self) -> Option<Figures> {
        figures::read(&std::fs::read(self.folder.path().join("figures")).expect("read"))
    }

    /// Has it drain, as its keeper's end does.
    pub fn drain(&self) {
        let _ = shutdown(&*self.keeper, rustix::net::Shutdown::Both);
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.drain();
        if let Some(proxy) = self.proxy.take() {
            proxy.join().expect("no panic");
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.end();
        }
    }
}

/// Replaces the snapshot, as the agent does. What the test says must be what the proxy reads.
fn put(folder: &TempDir, snapshot: Value) -> PathBuf {
    let read: Snapshot = serde_json::from_value(snapshot).expect("a snapshot");
    let (new, file) = (folder.path().join("new"), folder.path().join("snapshot.json"));
    std::fs::write(&new, serde_json::to_vec(&read).expect("JSON")).expect("written");
    std::fs::rename(&new, &file).expect("replaced");
    file
}

fn snapshot(address: SocketAddr, servers: &[SocketAddr]) -> Value {
    let name = json!({ "namespace": "shop", "name": "web" });
    let mut workloads = BTreeMap::new();
    let mut workload = |id: u32, name: String| {
        let identity = format!("spiffe://cluster.local/ns/shop/sa/{name}");
        workloads.insert(
            id.to_string(),
            json!({ "namespace": "shop", "name": name, "identity": identity, "v4": Ipv4Addr::LOCALHOST, "v6": Ipv6Addr::LOCALHOST }),
        );
    };
    workload(CALLER, "caller".into());
    let endpoints: Vec<Value> = servers
        .iter()
        .enumerate()
        .map(|(place, server)| {
            let id = SERVERS + u32::try_from(place).expect("few");
            workload(id, format!("server-{place}"));
            json!({ "workload": id, "v4": Ipv4Addr::LOCALHOST, "v6": Ipv6Addr::LOCALHOST, "port": server.port(), "weight": 100 })
        })
        .collect();
    let ip: IpAddr = address.ip();
    json!({
        "generation": 1,
        "workers": 1,
        "workloads": workloads,
        "ports": [{ "service": name, "addresses": [ip], "port": address.port(), "table": { "producer": [], "consumers": {} } }],
        "backends": [{ "service": name, "port": address.port(), "endpoints": endpoints }],
    })
}

/// The keeper's part: sockets for who asks.
fn vend(keeper: &OwnedFd, asked: &Mutex<Vec<u64>>, one_port: &AtomicBool) {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("bound");
    let mut packet = [0; 256];
    while let Ok((_, length @ 1..)) = recv(keeper, &mut packet, RecvFlags::empty()) {
        let Ok(wanted) = serde_json::from_slice::<Value>(&packet[..length]) else { return };
        let Some(sockets) = wanted.get("sockets") else { continue };
        let generation = sockets["generation"].as_u64().unwrap_or(0);
        asked.lock().expect("no panic").push(generation);
        for (family, v6) in [("v4", false), ("v6", true)] {
            let count = sockets[family].as_u64().unwrap_or(0);
            if count == 0 {
                continue;
            }
            let domain = if v6 { AddressFamily::INET6 } else { AddressFamily::INET };
            let made: Vec<OwnedFd> = (0..count)
                .map(|_| {
                    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                    let socket = rustix::net::socket_with(domain, SocketType::STREAM, flags, None);
                    let socket = socket.expect("a socket");
                    if one_port.load(Ordering::Relaxed) {
                        set_socket_reuseport(&socket, true).expect("set");
                        bind(&socket, &taken).expect("bound");
                    }
                    socket
                })
                .collect();
            let said = json!({ "workload": sockets["workload"], "v6": v6, "generation": generation });
            give(keeper, &json!({ "sockets": said }), &made);
        }
    }
}

fn give(keeper: &OwnedFd, text: &Value, descriptors: &[OwnedFd]) {
    let descriptors: Vec<_> = descriptors.iter().map(|it| it.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let text = text.to_string();
    // A proxy that has ended needs nothing.
    let _ = sendmsg(keeper, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL);
}

/// What came of several connections.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Heard {
    pub fn add(&self, text: impl Into<String>) {
        self.0.0.lock().expect("no panic").push(text.into());
        self.0.1.notify_all();
    }

    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().expect("no panic").clone()
    }

    /// All, once there are so many.
    pub fn wait(&self, count: usize) -> Vec<String> {
        let (list, more) = &*self.0;
        let list = list.lock().expect("no panic");
        let (list, _) = more.wait_timeout_while(list, PATIENCE, |it| it.len() < count).expect("no panic");
        assert!(list.len() >= count, "{count} are awaited: {list:?}");
        list.clone()
    }
}
