//! Interfaces, addresses, routes, rules and neighbours, by rtnetlink.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use ipnet::IpNet;
use netlink_packet_core::{Emitable as _, ParseableParametrized as _};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags,
        LinkInfo, LinkMessage,
    },
    neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};

use super::{
    LO,
    netlink::{Netlink, flag},
};

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// A rtnetlink socket of one namespace.
#[derive(Debug)]
pub(crate) struct Rtnl(Netlink);

/// One end of a veth pair.
pub(super) struct End<'a> {
    pub(super) name: &'a str,
    pub(super) mac: Mac,
}

/// Where packets to a destination go.
pub(super) struct Route {
    pub(super) destination: IpNet,
    pub(super) table: u8,
    /// The interface; without one the destination is unreachable. `lo` makes it one of the namespace's own.
    pub(super) interface: Option<u32>,
    /// A router, taken to be on the link whatever its address.
    pub(super) gateway: Option<IpAddr>,
    /// The address that the namespace itself speaks with.
    pub(super) source: Option<IpAddr>,
}

/// The table that routes are in unless a rule says otherwise.
pub(super) const MAIN: u8 = 254;

impl Rtnl {
    /// In the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self(Netlink::open(None)?))
    }

    /// A pair of interfaces, both down: one here, the other in `netns`.
    pub(super) fn add_veth(&self, here: &End<'_>, there: &End<'_>, netns: BorrowedFd<'_>) -> io::Result<()> {
        let mut peer = end(there);
        peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
        let mut pair = end(here);
        pair.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.create(RouteNetlinkMessage::NewLink(pair))
    }

    /// The interface of this name.
    pub(crate) fn link(&self, name: &str) -> io::Result<LinkMessage> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answers = self.ask(&RouteNetlinkMessage::GetLink(message), flag::ACK)?;
        let link = answers.into_iter().find_map(|answer| {
            if let RouteNetlinkMessage::NewLink(link) = answer { Some(link) } else { None }
        });
        link.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Number of the interface of this name.
    pub(super) fn index(&self, name: &str) -> io::Result<u32> {
        Ok(self.link(name)?.header.index)
    }

    /// Takes an interface up, or down.
    pub(super) fn set_up(&self, index: u32, up: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
        self.change(RouteNetlinkMessage::SetLink(message))
    }

    /// Says how long a packet may be, in octets.
    pub(super) fn set_mtu(&self, index: u32, mtu: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.change(RouteNetlinkMessage::SetLink(message))
    }

    /// Says what an interface is for, and that it needs no link-local address.
    pub(super) fn describe(&self, index: u32, alias: &str) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let no_link_local = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        message.attributes = vec![
            LinkAttribute::IfAlias(alias.to_owned()),
            LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![no_link_local])]),
        ];
        self.change(RouteNetlinkMessage::SetLink(message))
    }

    /// Removes an interface, and with it the other end of its pair, its addresses, routes and neighbours.
    pub(crate) fn delete_link(&self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.change(RouteNetlinkMessage::DelLink(message))
    }

    /// Gives an interface an address that stands for itself only.
    pub(super) fn add_address(&self, index: u32, address: IpAddr) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.family = family(address);
        message.header.prefix_len = IpNet::from(address).prefix_len();
        if address.is_ipv6() {
            // Nobody else on the link could answer a duplicate address detection.
            message.header.flags = AddressHeaderFlags::Nodad;
        }
        message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        self.create(RouteNetlinkMessage::NewAddress(message))
    }

    /// Whether packets to an address are for the namespace itself.
    pub(super) fn is_own(&self, address: IpAddr) -> io::Result<bool> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = IpNet::from(address).prefix_len();
        message.attributes.push(RouteAttribute::Destination(address.into()));
        let answers = match self.ask(&RouteNetlinkMessage::GetRoute(message), flag::ACK) {
            // No way leads there at all.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
                ) =>
            {
                return Ok(false);
            }
            other => other?,
        };
        let is_local = |it: &RouteNetlinkMessage| matches!(it, RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Local);
        Ok(answers.iter().any(is_local))
    }

    /// Says for good who has an address on a link: nobody needs to ask, nobody can answer falsely.
    pub(super) fn set_neighbour(&self, index: u32, address: IpAddr, mac: Mac) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![
            NeighbourAttribute::Destination(address.into()),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        self.replace(RouteNetlinkMessage::NewNeighbour(message))
    }

    /// Adds a route, or replaces it.
    pub(super) fn set_route(&self, route: &Route) -> io::Result<()> {
        self.replace(RouteNetlinkMessage::NewRoute(route.message()))
    }

    /// Adds a route; one that is there already is an error.
    pub(super) fn add_route(&self, route: &Route) -> io::Result<()> {
        self.create(RouteNetlinkMessage::NewRoute(route.message()))
    }

    /// Packets that come in by `interface` and find no route in the main table look into `table`.
    pub(super) fn add_rule(&self, v6: bool, interface: &str, table: u8) -> io::Result<()> {
        self.create(RouteNetlinkMessage::NewRule(rule(v6, interface, table)))
    }

    /// Removes such a rule.
    pub(super) fn delete_rule(&self, v6: bool, interface: &str, table: u8) -> io::Result<()> {
        self.change(RouteNetlinkMessage::DelRule(rule(v6, interface, table)))
    }

    /// Packets with this mark look into `table` before the main table.
    pub(super) fn add_mark_rule(&self, v6: bool, mark: u32, table: u8) -> io::Result<()> {
        self.create(RouteNetlinkMessage::NewRule(mark_rule(v6, mark, table)))
    }

    /// All interfaces.
    pub(crate) fn links(&self) -> io::Result<Vec<LinkMessage>> {
        let answers = self.ask(&RouteNetlinkMessage::GetLink(LinkMessage::default()), flag::DUMP)?;
        let only = |it| if let RouteNetlinkMessage::NewLink(it) = it { Some(it) } else { None };
        Ok(answers.into_iter().filter_map(only).collect())
    }

    /// All addresses.
    pub(crate) fn addresses(&self) -> io::Result<Vec<AddressMessage>> {
        let answers = self.ask(&RouteNetlinkMessage::GetAddress(AddressMessage::default()), flag::DUMP)?;
        let only = |it| if let RouteNetlinkMessage::NewAddress(it) = it { Some(it) } else { None };
        Ok(answers.into_iter().filter_map(only).collect())
    }

    /// All routes of one family, of every table.
    pub(crate) fn routes(&self, v6: bool) -> io::Result<Vec<RouteMessage>> {
        let mut message = RouteMessage::default();
        message.header.address_family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let answers = self.ask(&RouteNetlinkMessage::GetRoute(message), flag::DUMP)?;
        let only = |it| if let RouteNetlinkMessage::NewRoute(it) = it { Some(it) } else { None };
        Ok(answers.into_iter().filter_map(only).collect())
    }

    /// Who has which address, on all links.
    pub(super) fn neighbours(&self) -> io::Result<Vec<NeighbourMessage>> {
        let answers =
            self.ask(&RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), flag::DUMP)?;
        let only = |it| if let RouteNetlinkMessage::NewNeighbour(it) = it { Some(it) } else { None };
        Ok(answers.into_iter().filter_map(only).collect())
    }

    fn create(&self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.ask(&message, flag::ACK | flag::CREATE | flag::EXCLUSIVE).map(drop)
    }

    fn replace(&self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.ask(&message, flag::ACK | flag::CREATE | flag::REPLACE).map(drop)
    }

    fn change(&self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.ask(&message, flag::ACK).map(drop)
    }

    fn ask(&self, message: &RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut payload = vec![0; message.buffer_len()];
        message.emit(&mut payload);
        let mut answers = Vec::new();
        self.0.talk(message.message_type(), flags, &payload, |kind, payload| {
            match RouteNetlinkMessage::parse_with_param(payload, kind) {
                Ok(answer) => answers.push(answer),
                // A kernel newer than the parser must not keep a mesh from starting.
                Err(error) => tracing::warn!(%error, kind, "left out an answer of the kernel"),
            }
        })?;
        Ok(answers)
    }
}

impl Route {
    /// To `destination` by an interface.
    pub(super) fn direct(destination: impl Into<IpNet>, interface: u32) -> Self {
        Self {
            destination: destination.into(),
            table: MAIN,
            interface: Some(interface),
            gateway: None,
            source: None,
        }
    }

    /// To `destination` by a router.
    pub(super) fn via(destination: impl Into<IpNet>, interface: u32, gateway: IpAddr) -> Self {
        Self { gateway: Some(gateway), ..Self::direct(destination, interface) }
    }

    /// To nowhere, and whoever tries is told at once.
    pub(super) fn unreachable(destination: impl Into<IpNet>) -> Self {
        Self { interface: None, ..Self::direct(destination, 0) }
    }

    pub(super) fn from(self, source: impl Into<IpAddr>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family(self.destination.addr());
        message.header.destination_prefix_length = self.destination.prefix_len();
        message.header.table = self.table;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.header.scope = RouteScope::Universe;
        message.attributes.push(RouteAttribute::Destination(self.destination.network().into()));
        match (self.interface, self.gateway) {
            (None, _) => message.header.kind = RouteType::Unreachable,
            (Some(LO), None) => {
                message.header.kind = RouteType::Local;
                message.header.scope = RouteScope::Host;
                message.attributes.push(RouteAttribute::Oif(LO));
            }
            (Some(interface), None) => {
                message.header.scope = RouteScope::Link;
                message.attributes.push(RouteAttribute::Oif(interface));
            }
            (Some(interface), Some(gateway)) => {
                message.header.flags = RouteFlags::Onlink;
                message.attributes.push(RouteAttribute::Oif(interface));
                message.attributes.push(RouteAttribute::Gateway(gateway.into()));
            }
        }
        message.attributes.extend(self.source.map(|it| RouteAttribute::PrefSource(it.into())));
        message
    }
}

fn end(end: &End<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes =
        vec![LinkAttribute::IfName(end.name.to_owned()), LinkAttribute::Address(end.mac.to_vec())];
    message
}

fn rule(v6: bool, interface: &str, table: u8) -> RuleMessage {
    /// Behind the main table, which is 32766.
    const PRIORITY: u32 = 32_800;
    let mut message = RuleMessage::default();
    message.header.family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.table = table;
    message.header.action = RuleAction::ToTable;
    message.attributes =
        vec![RuleAttribute::Iifname(interface.to_owned()), RuleAttribute::Priority(PRIORITY)];
    message
}

fn mark_rule(v6: bool, mark: u32, table: u8) -> RuleMessage {
    /// Before the main table, which is 32766, and behind that of the namespace's own addresses, which is 0.
    const PRIORITY: u32 = 32_000;
    let mut message = RuleMessage::default();
    message.header.family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.table = table;
    message.header.action = RuleAction::ToTable;
    message.attributes =
        vec![RuleAttribute::FwMark(mark), RuleAttribute::FwMask(u32::MAX), RuleAttribute::Priority(PRIORITY)];
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
}
