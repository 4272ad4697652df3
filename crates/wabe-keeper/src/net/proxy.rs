//! What leads from a workload to the node's proxy, and what the proxy connects with on a workload's behalf.
//!
//! In each workload's namespace a rule sends packets of one mark to a table in which every address is local; there an
//! eBPF program hands the connection to the listener. Sockets bear the mark of the workload that they are for, which
//! nobody without `NET_ADMIN` can change.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use wabe_abi::mark;

use super::{Address, LO, Places, Route, Rtnl, both, namespace};

/// Where marked packets find their way, in a workload's namespace.
const TABLE: u8 = 77;
/// The largest packet over `lo`, as Linux had it for many years. With today's 65 536 a segment fills the receive buffer that a
/// connection begins with: its window closes, and opens for the sender's probes only, five times a second.
const LO_MTU: u32 = 16_436;
/// Where it listens in a workload's namespace: right below the ports that are given by chance (`ip_local_port_range`), so that it does
/// not get one that the workload's application wants by chance.
const PORTS: std::ops::RangeInclusive<u16> = 10_230..=10_239;
/// Connections that wait for the proxy, which may be starting anew.
const QUEUE: i32 = 4096;
/// The most sockets in a workload's namespace, its own and accepted ones too, with which the proxy is given another. A proxy
/// that keeps what it is given for itself gets no further; half of the mesh's open connections.
const MOST_SOCKETS: usize = 65_536;

/// Marked packets go no further than the workload's own namespace.
pub(super) fn lead(inside: &Rtnl, address: Address) -> io::Result<()> {
    inside.set_mtu(LO, LO_MTU)?;
    for ours in both(address.v4, address.v6) {
        let any: IpAddr =
            if ours.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let everywhere = IpNet::new(any, 0).expect("invariant: 0 is a prefix length");
        inside.set_route(&Route { table: TABLE, ..Route::direct(everywhere, LO).from(ours) })?;
        match inside.add_mark_rule(ours.is_ipv6(), mark::TO_PROXY, TABLE) {
            // An earlier program of the keeper's made it, and then no listener.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    Ok(())
}

/// The listener in a workload's namespace. It takes connections to any address, if they are assigned to it. Who finds its own
/// port dialled no service, which is how the proxy tells that it is not meant. (Bound to `::1` it could not be found so, but
/// nor take IPv4: that makes a socket one of IPv6 only.)
pub(super) fn listen(netns: BorrowedFd<'_>, id: u32) -> io::Result<OwnedFd> {
    namespace::enter(netns, || {
        let socket = marked(Domain::IPV6, id)?;
        socket.set_only_v6(false)?;
        // The answers' source is what was dialled, which is no address of this namespace.
        socket.set_ip_transparent_v4(true)?;
        let bind = |port| socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into());
        // Any port, if an application that has run for long got the others.
        PORTS.map(bind).find(Result::is_ok).unwrap_or_else(|| bind(0))?;
        socket.listen(QUEUE)?;
        Ok(socket.into())
    })
    .and_then(|made| made)
}

/// Whether a listener still is one, and its files are as they were: all proxies share it, and one that somebody took over may have
/// done with it whatever it may do with sockets.
pub(super) fn is_sound(listener: &OwnedFd) -> bool {
    rustix::io::ioctl_fionbio(listener, true).is_ok()
        && rustix::net::sockopt::socket_acceptconn(listener).unwrap_or(false)
}

/// Both, in a namespace that an earlier version made.
pub(super) fn add(netns: BorrowedFd<'_>, address: Address) -> io::Result<OwnedFd> {
    namespace::enter(netns, || lead(&Rtnl::open()?, address)).and_then(|led| led)?;
    listen(netns, address.id)
}

/// What the proxy is given.
#[derive(Clone, Debug)]
pub(crate) struct Outlets(Arc<Mutex<Places>>);

impl Outlets {
    pub(super) fn of(places: Arc<Mutex<Places>>) -> Self {
        Self(places)
    }

    /// All listeners that still are some.
    pub(crate) fn listeners(&self) -> Vec<(u32, Arc<OwnedFd>)> {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = places.iter().filter_map(|(id, place)| Some((*id, Arc::clone(place.proxy.as_ref()?))));
        let (sound, ended): (Vec<_>, Vec<_>) = all.partition(|(_, it)| is_sound(it));
        for (workload, _) in ended {
            tracing::error!(
                workload,
                "a proxy has ended the listener that is for all proxies: it is none of ours; `wabe upgrade` makes another listener"
            );
        }
        sound
    }

    /// The listener inside a workload, if it still is one.
    pub(crate) fn listener(&self, id: u32) -> Option<Arc<OwnedFd>> {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(&id)?.proxy.clone().filter(|it| is_sound(it))
    }

    /// Unconnected sockets in a workload's namespace, over which only what is judged by the policies of this generation is to be
    /// sent; none if the workload is gone.
    ///
    /// # Errors
    /// The namespace has [`MOST_SOCKETS`], or a system call failed.
    pub(crate) fn sockets(
        &self,
        id: u32,
        v6: bool,
        count: usize,
        generation: u64,
    ) -> io::Result<Vec<OwnedFd>> {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let Some(place) = place else { return Ok(Vec::new()) };
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        namespace::enter(std::os::fd::AsFd::as_fd(&*place.netns), || {
            // Of this thread's namespace, unlike the kernel's lists of sockets, with those that were never connected.
            let used = sockets_used(&fs::read_to_string("/proc/thread-self/net/sockstat")?);
            let used = used.ok_or(io::ErrorKind::InvalidData)?;
            if used + count > MOST_SOCKETS {
                return Err(io::Error::other(format!(
                    "{used} sockets are open there, {MOST_SOCKETS} may be"
                )));
            }
            let made = (0..count).map(|_| {
                let socket = marked(domain, id)?;
                socket.set_priority(mark::priority(generation))?;
                Ok(socket.into())
            });
            made.collect()
        })
        .and_then(|made| made)
    }
}

/// How many sockets a namespace has, from its `sockstat`.
fn sockets_used(text: &str) -> Option<usize> {
    text.lines().find_map(|line| line.strip_prefix("sockets: used "))?.trim().parse().ok()
}

/// A TCP socket of the calling thread's namespace that bears the workload's mark.
fn marked(domain: Domain, id: u32) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_mark(mark::vended(id))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_listener_has_a_port_that_nobody_gets_by_chance_and_is_looked_at_before_it_is_given() {
        let (here, ()) = namespace::create(|| ()).expect("a namespace");
        let port = |listener: &OwnedFd| {
            let address = rustix::net::getsockname(listener).expect("bound");
            SocketAddr::try_from(address).expect("an address").port()
        };
        let (one, other) =
            (listen(here.as_fd(), 7).expect("listens"), listen(here.as_fd(), 8).expect("listens"));
        assert!(PORTS.contains(&port(&one)) && PORTS.contains(&port(&other)));
        assert_ne!(port(&one), port(&other), "who is there stays");
        assert!(is_sound(&one) && is_sound(&other));
        // As a proxy might that somebody took over.
        rustix::io::ioctl_fionbio(&other, false).expect("set");
        assert!(is_sound(&other));
        let flags = rustix::fs::fcntl_getfl(&other).expect("flags");
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK), "nobody waits in `accept`");
        rustix::net::shutdown(&one, rustix::net::Shutdown::Both).expect("ended");
        assert!(!is_sound(&one) && is_sound(&other));
    }

    #[test]
    fn the_sockets_of_a_namespace_are_counted_with_those_that_are_not_connected() {
        assert_eq!(sockets_used("sockets: used 12\nTCP: inuse 3 orphan 0\n"), Some(12));
        assert_eq!(sockets_used("TCP: inuse 3\n"), None);
        let here = || sockets_used(&fs::read_to_string("/proc/self/net/sockstat").expect("sockstat"));
        let before = here().expect("a number");
        let made: Vec<_> =
            (0..500).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket")).collect();
        // Other tests open and close some meanwhile.
        assert!(here().expect("a number") > before + 250, "{} were made", made.len());
    }
}
