//! Loading, attaching, counting.

use std::path::Path;

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray, SockHash, SockMap},
    programs::{CgroupAttachMode, CgroupSockAddr, CgroupSockopt, SkLookup, SkMsg, SockOps},
};

use crate::{Error, OBJECT, btf::Btf, listener, target};

/// One end of a connection; `lab/ebpf/src/tables.rs` has the same.
type End = [u32; 4];

/// Two pods with their sidecars: cgroups, a namespace and ports of the caller's.
#[derive(Clone, Copy, Debug)]
pub struct Pods<'a> {
    /// The cgroup that holds those below.
    pub all: &'a Path,
    /// The client's application.
    pub client_app: &'a Path,
    /// The client's Envoy.
    pub client_proxy: &'a Path,
    /// The server's Envoy.
    pub server_proxy: &'a Path,
    /// The server's network namespace.
    pub server_namespace: &'a Path,
    /// Where the client's Envoy accepts, on 127.0.0.1.
    pub outbound: u16,
    /// The process of the server's Envoy, and where it accepts.
    pub inbound: (u32, u16),
    /// The application's port in the server's pod.
    pub application: u16,
    /// Whether data goes from socket to socket, too.
    pub sockmap: bool,
}

/// Sidecars that are reached by eBPF; dropped, nothing is attached any more.
#[derive(Debug)]
pub struct Redirection(Ebpf);

/// Sockets of a cgroup whose data goes from one to the other; dropped, nothing is attached any more.
#[derive(Debug)]
pub struct SocketToSocket(Ebpf);

/// What the programs counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections of the application that were sent to its Envoy.
    pub redirected: u64,
    /// Original destinations that Envoys got.
    pub answered: u64,
    /// Connections that were given to the server's Envoy.
    pub steered: u64,
    /// Messages that went from socket to socket.
    pub moved: u64,
    /// Messages that went by TCP because the peer had enough to read.
    pub bounded: u64,
    /// Connections for which a table had no room.
    pub full: u64,
}

impl Redirection {
    /// Attaches to the pods.
    ///
    /// # Errors
    /// A cgroup or namespace that the lab can't have made, an Envoy that does not listen, or a program that the kernel
    /// refuses. Nothing stays attached then.
    pub fn attach(pods: &Pods<'_>) -> Result<Self, Error> {
        let [all, app, client, server] =
            [pods.all, pods.client_app, pods.client_proxy, pods.server_proxy].map(target::cgroup);
        let (all, app, client, server) = (all?, app?, client?, server?);
        let namespace = target::namespace(pods.server_namespace)?;
        let listener = listener::of(pods.inbound.0, pods.inbound.1)?;
        let mut ebpf = load(pods.outbound, pods.application, pods.sockmap)?;
        let mut listeners: SockMap<&mut MapData> =
            SockMap::try_from(ebpf.map_mut("LISTENER").ok_or(Error::Lacks("LISTENER"))?)?;
        listeners.set(0, &listener, 0)?;
        if pods.sockmap {
            move_messages(&mut ebpf)?;
        }
        watch(&mut ebpf, &all)?;
        let program: &mut CgroupSockopt = program(&mut ebpf, "lab_getsockopt")?;
        let failed = failed("lab_getsockopt");
        program.load().map_err(failed)?;
        for cgroup in [client, server] {
            program.attach(cgroup, CgroupAttachMode::Single).map_err(failed)?;
        }
        let program: &mut SkLookup = self::program(&mut ebpf, "lab_lookup")?;
        program.load().and_then(|()| program.attach(namespace)).map_err(self::failed("lab_lookup"))?;
        // Last: from here on connections go to Envoy.
        let program: &mut CgroupSockAddr = self::program(&mut ebpf, "lab_connect4")?;
        let failed = self::failed("lab_connect4");
        program.load().and_then(|()| program.attach(app, CgroupAttachMode::Single)).map_err(failed)?;
        Ok(Self(ebpf))
    }

    /// What the programs counted.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        counters(&self.0)
    }
}

impl SocketToSocket {
    /// Attaches to a cgroup: connections between its sockets are moved.
    ///
    /// # Errors
    /// As [`Redirection::attach`].
    pub fn attach(cgroup: &Path) -> Result<Self, Error> {
        let cgroup = target::cgroup(cgroup)?;
        let mut ebpf = load(0, 0, true)?;
        move_messages(&mut ebpf)?;
        watch(&mut ebpf, &cgroup)?;
        Ok(Self(ebpf))
    }

    /// What the programs counted.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        counters(&self.0)
    }
}

fn load(outbound: u16, application: u16, sockmap: bool) -> Result<Ebpf, Error> {
    let (mut user_data, mut cookie, mut unread) = (0, 0, 0);
    if sockmap {
        let btf = Btf::of_kernel()?;
        let field = |structure, field, name| btf.offset(structure, field).ok_or(Error::NoField(name));
        user_data = field("sock", "sk_user_data", "sock.sk_user_data")?;
        // Every `struct sock` begins with a `struct sock_common`.
        cookie = field("sock_common", "skc_cookie", "sock_common.skc_cookie")?;
        unread = field("sk_psock", "msg_tot_len", "sk_psock.msg_tot_len")?;
    }
    // In the order of `Settings` in lab/ebpf/src/settings.rs.
    let settings: [u32; 6] = [outbound.into(), application.into(), sockmap.into(), user_data, cookie, unread];
    Ok(EbpfLoader::new().override_global("SETTINGS", settings.as_slice(), true).load(OBJECT)?)
}

/// Before the sockets come: one without this program would send what it has by TCP only.
fn move_messages(ebpf: &mut Ebpf) -> Result<(), Error> {
    let sockets: SockHash<&MapData, End> =
        SockHash::try_from(ebpf.map("SOCKETS").ok_or(Error::Lacks("SOCKETS"))?)?;
    let sockets = sockets.fd().try_clone().map_err(|source| Error::Io { path: "SOCKETS".into(), source })?;
    let program: &mut SkMsg = program(ebpf, "lab_message")?;
    program.load().and_then(|()| program.attach(&sockets)).map(drop).map_err(failed("lab_message"))
}

fn watch(ebpf: &mut Ebpf, cgroup: &std::fs::File) -> Result<(), Error> {
    let program: &mut SockOps = program(ebpf, "lab_sockops")?;
    let attached = program.load().and_then(|()| program.attach(cgroup, CgroupAttachMode::Single));
    attached.map(drop).map_err(failed("lab_sockops"))
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, Error>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(Error::Lacks(name))?;
    program.try_into().map_err(failed(name))
}

fn failed(name: &'static str) -> impl Fn(aya::programs::ProgramError) -> Error + Copy {
    move |source| Error::Program { name, source }
}

fn counters(ebpf: &Ebpf) -> Result<Counters, Error> {
    let map: PerCpuArray<&MapData, u64> =
        PerCpuArray::try_from(ebpf.map("COUNTERS").ok_or(Error::Lacks("COUNTERS"))?)?;
    let mut sums = [0; 6];
    for (index, sum) in (0..).zip(&mut sums) {
        *sum = map.get(&index, 0)?.iter().sum();
    }
    let [redirected, answered, steered, moved, bounded, full] = sums;
    Ok(Counters { redirected, answered, steered, moved, bounded, full })
}
