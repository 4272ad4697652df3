//! A server in a folder of its own, and nameservers that follow a script. Everything on loopback.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{RData, Record, RecordType},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Mutex, OwnedMutexGuard, mpsc},
    task::{JoinHandle, LocalSet, spawn_local},
};

use crate::{
    Names, Options,
    answer::fixture,
    forward::framed,
    respond::Carrier,
    server::{Settings, serve},
};

/// Runs a test on a runtime like the server's own.
pub(super) fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    LocalSet::new().block_on(&runtime, test);
}

pub(super) fn question(name: &str) -> Vec<u8> {
    question_of(name, RecordType::A)
}

pub(super) fn question_of(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(0x4242, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name.parse().expect("name"), kind));
    message.to_vec().expect("message")
}

/// What a nameserver knows about any name: 192.0.2.1.
pub(super) fn outside(packet: &[u8]) -> Vec<u8> {
    let mut message = Message::from_vec(packet).expect("forwarded question");
    message.metadata.message_type = MessageType::Response;
    let data = RData::A(Ipv4Addr::new(192, 0, 2, 1).into());
    message.answers = vec![Record::from_rdata(message.queries[0].name.clone(), 60, data)];
    message.to_vec().expect("message")
}

pub(super) fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

pub(super) fn client() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 9).into()
}

pub(super) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Message {
    let length = stream.read_u16().await.expect("length");
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await.expect("message");
    Message::from_vec(&bytes).expect("reply")
}

/// A running server.
pub(super) struct Lab {
    pub(super) address: SocketAddr,
    folder: TempDir,
    nameserver_port: u16,
    task: JoinHandle<()>,
}

impl Lab {
    pub(super) async fn start(nameservers: &[&Nameserver]) -> Self {
        let ips: Vec<IpAddr> = nameservers.iter().map(|it| it.ip()).collect();
        let port = nameservers.first().map(|it| it.port());
        Self::start_at("127.0.0.1:0", &ips, |settings| settings.nameserver_port = port.unwrap_or(1)).await
    }

    /// `change` may change the limits. Nameservers are asked at port 1, where nobody listens, if it does not say.
    pub(super) async fn start_at(
        address: &str,
        nameservers: &[IpAddr],
        change: impl Fn(&mut Settings),
    ) -> Self {
        let (udp, tcp) = both(address.parse().expect("address")).await;
        let address = udp.local_addr().expect("address");
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let folder = tempfile::tempdir().expect("folder");
        let mut lab = Self { address, folder, nameserver_port: 1, task: spawn_local(async {}) };
        lab.replace("names.json", &serde_json::to_string(&lab.names()).expect("json"));
        let conf: String = nameservers.iter().map(|ip| format!("nameserver {ip}\n")).collect();
        lab.replace("resolv.conf", &format!("search corp.example\n{conf}"));
        let mut settings = lab.settings();
        change(&mut settings);
        lab.nameserver_port = settings.nameserver_port;
        let (udp, tcp) = (udp.into_std().expect("socket"), tcp.into_std().expect("socket"));
        lab.task = spawn_local(async move {
            serve(udp, tcp, settings, std::future::pending()).await.expect("server");
        });
        lab
    }

    pub(super) fn settings(&self) -> Settings {
        let path = |name| self.folder.path().join(name);
        let options = Options { names: path("names.json"), resolv_conf: path("resolv.conf") };
        Settings {
            nameserver_port: self.nameserver_port,
            nameserver_timeout: Duration::from_millis(500),
            ..Settings::new(options)
        }
    }

    pub(super) fn names(&self) -> Names {
        let mut names = fixture::names();
        names.services[0].addresses.truncate(1);
        names.clients.insert(client().ip(), "shop".into());
        names
    }

    pub(super) fn replace(&self, name: &str, text: &str) {
        let (new, old) = (self.folder.path().join("new"), self.folder.path().join(name));
        std::fs::write(&new, text).expect("write");
        std::fs::rename(&new, &old).expect("rename");
    }

    pub(super) async fn ask(&self, name: &str) -> Message {
        self.send(&question(name)).await
    }

    pub(super) async fn send(&self, packet: &[u8]) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("socket");
        socket.connect(self.address).await.expect("address");
        socket.send(packet).await.expect("send");
        let mut bytes = vec![0; 65_535];
        let length = socket.recv(&mut bytes).await.expect("reply");
        Message::from_vec(&bytes[..length]).expect("reply")
    }

    pub(super) async fn ask_tcp(&self, packet: &[u8]) -> Message {
        let mut stream = TcpStream::connect(self.address).await.expect("connection");
        stream.write_all(&framed(packet)).await.expect("write");
        receive(&mut stream).await
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Settings {
    /// Waits long for this nameserver.
    pub(super) fn patient(&mut self, nameserver: &Nameserver, forwards: (usize, usize)) {
        self.nameserver_port = nameserver.port();
        self.nameserver_timeout = Duration::from_secs(60);
        self.forwards = forwards;
    }
}

/// A nameserver on 127.0.0.x. Replies wait while its gate is closed.
pub(super) struct Nameserver {
    /// Who asked what.
    pub(super) received: mpsc::UnboundedReceiver<(SocketAddr, Vec<u8>)>,
    address: SocketAddr,
    gate: Arc<Mutex<()>>,
    tasks: [JoinHandle<()>; 2],
}

type Script = fn(&[u8], Carrier) -> Vec<Vec<u8>>;

impl Nameserver {
    /// `script` gives all replies to a question.
    pub(super) async fn start(last: u8, port: Option<u16>, script: Script) -> Self {
        let (udp, tcp) = both((Ipv4Addr::new(127, 0, 0, last), port.unwrap_or(0)).into()).await;
        let address = udp.local_addr().expect("address");
        let (sender, received) = mpsc::unbounded_channel();
        let gate = Arc::new(Mutex::new(()));
        let (udp_gate, udp_sender) = (Arc::clone(&gate), sender.clone());
        let by_udp = spawn_local(async move {
            let mut buffer = vec![0; 65_535];
            loop {
                let (length, peer) = udp.recv_from(&mut buffer).await.expect("question");
                // The receiver may be gone at a test's end.
                let _ = udp_sender.send((peer, buffer[..length].to_vec()));
                let _open = udp_gate.lock().await;
                for reply in script(&buffer[..length], Carrier::Udp) {
                    udp.send_to(&reply, peer).await.expect("send");
                }
            }
        });
        let tcp_gate = Arc::clone(&gate);
        let by_tcp = spawn_local(async move {
            loop {
                let (mut stream, peer) = tcp.accept().await.expect("connection");
                let (sender, gate) = (sender.clone(), Arc::clone(&tcp_gate));
                spawn_local(async move {
                    let length = stream.read_u16().await.expect("length");
                    let mut packet = vec![0; usize::from(length)];
                    stream.read_exact(&mut packet).await.expect("question");
                    let _ = sender.send((peer, packet.clone()));
                    let _open = gate.lock().await;
                    for reply in script(&packet, Carrier::Tcp) {
                        stream.write_all(&framed(&reply)).await.expect("write");
                    }
                });
            }
        });
        Self { received, address, gate, tasks: [by_udp, by_tcp] }
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// No replies until the guard is dropped.
    pub(super) async fn close_gate(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.gate).lock_owned().await
    }

    /// Closes its sockets.
    pub(super) async fn stop(self) {
        for task in self.tasks {
            task.abort();
            // Ends with "cancelled".
            let _ = task.await;
        }
    }
}

/// A UDP and a TCP socket on the same address.
async fn both(address: SocketAddr) -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind(address).await.expect("socket");
        // A free UDP port may be a taken TCP port; then another one is tried, unless one was wished for.
        match TcpListener::bind(udp.local_addr().expect("address")).await {
            Ok(tcp) => return (udp, tcp),
            Err(error) => assert_eq!(address.port(), 0, "{error}"),
        }
    }
}
