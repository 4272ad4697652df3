//! The caller's side: what becomes of `connect()` or `sendmsg()`.

use wabe_abi::{
    Be16, Config, DropReason, Ip, Lane, ServiceKey, TCP, Tuple, UDP, WorkloadRecord, service_flag,
    workload_flag,
};

use crate::{
    Tables, authorize,
    authorize::unjudged,
    balance::{choose_again, nearest},
    datagram::is_asked_by_host,
    limits,
};

/// Where names are asked for.
pub(crate) const NAMES_PORT: Be16 = Be16::new(53);
/// Where systemd-resolved listens on the host; applications find it in `/etc/resolv.conf`.
const STUB_RESOLVER: Ip = Ip::v4(u32::from_be_bytes([127, 0, 0, 53]).to_be());

/// Who calls whom.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The workload that the socket is stamped with.
    pub workload: u32,
    /// [`wabe_abi::TCP`] or [`wabe_abi::UDP`].
    pub protocol: u8,
    /// What the application dialled.
    pub destination: Ip,
    /// The port that it dialled.
    pub port: Be16,
    /// The socket's own port; 0 if it has none yet.
    pub source_port: Be16,
    /// `connect()` of UDP sends nothing: it is how resolvers ask for the source address that they would have
    /// (RFC 6724), so it may name what datagrams could not be sent to. Only that of a service's UDP port is a decision.
    pub only_names: bool,
    /// The node's proxy connects on the workload's behalf: layer 7 has had its say.
    pub vended: bool,
    /// The generation of the policies that the proxy goes by, if it does.
    pub layer7_generation: u64,
}

/// Where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address to put in place of the one dialled.
    pub address: Ip,
    /// The port to put in place of the one dialled.
    pub port: Be16,
    /// The workload there; 0 if it is none.
    pub workload: u32,
    /// The service that was dialled; 0 if none.
    pub service: u32,
    /// The endpoint to count the connection at; 0 if none.
    pub endpoint: u32,
    /// The rule that admits it; 0 if none was needed.
    pub rule: u32,
    /// The lane.
    pub lane: Lane,
}

/// The caller's side of a verdict.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Goes to this target.
    Go(Target),
    /// A datagram that answers one: [`crate::passage`] has the last word on it.
    Answer,
    /// Fails at once.
    Refuse {
        /// Why.
        reason: DropReason,
        /// The rule that refuses; 0 if none does.
        rule: u32,
        /// The workload that it was meant for; 0 if none.
        workload: u32,
        /// The service that was dialled; 0 if none.
        service: u32,
    },
}

impl Outbound {
    #[inline(always)]
    const fn refuse(reason: DropReason) -> Self {
        Self::Refuse { reason, rule: 0, workload: 0, service: 0 }
    }
}

/// Decides on a connection or datagram at the caller's side.
#[inline(always)]
pub fn outbound<T: Tables>(tables: &T, caller: &Caller) -> Outbound {
    let Some(config) = tables.config() else { return Outbound::refuse(DropReason::NotConfigured) };
    if config.generation == 0 {
        return Outbound::refuse(DropReason::NotConfigured);
    }
    let Some(record) = tables.workload(caller.workload) else {
        return Outbound::refuse(DropReason::UnknownWorkload);
    };
    let mut target = Target {
        address: caller.destination,
        port: caller.port,
        workload: 0,
        service: 0,
        endpoint: 0,
        rule: 0,
        lane: Lane::Local,
    };
    if asks_for_names(&config, caller) {
        target.address = if caller.destination.is_v4() { config.node_v4 } else { config.node_v6 };
        target.lane = Lane::Names;
        return Outbound::Go(target);
    }
    if is_own(&record, &caller.destination) {
        target.workload = caller.workload;
        return Outbound::Go(target);
    }
    if caller.destination.is_link_scoped() {
        return Outbound::refuse(DropReason::LinkScoped);
    }
    if caller.protocol == UDP && caller.source_port.host() != 0 {
        let question = exchange(&record, caller, &caller.destination, caller.port).reversed();
        if tables.exchange(&question).is_some() {
            return Outbound::Answer;
        }
    }
    let dialled = ServiceKey::port(caller.destination, caller.port, caller.protocol);
    if let Some(service) = nearest(tables, &dialled, record.locality) {
        target.service = service.service;
        if service.flags & service_flag::PROXY != 0 && caller.protocol == TCP && !caller.vended {
            return to_proxy(tables, &config, caller, target);
        }
        let client = if caller.destination.is_v4() { &record.v4 } else { &record.v6 };
        let Some(endpoint) = choose_again(tables, &service, client, datagram_port(caller)) else {
            let reason =
                if service.endpoints == 0 { DropReason::NoEndpoint } else { DropReason::Inconsistent };
            return Outbound::Refuse { reason, rule: 0, workload: 0, service: target.service };
        };
        target.address = endpoint.address;
        target.port = endpoint.port;
        target.workload = endpoint.workload;
        target.endpoint = endpoint.endpoint;
    } else if caller.only_names && is_in_mesh(&config, &caller.destination) {
        return Outbound::Go(target);
    } else if tables.service(&ServiceKey::address(caller.destination)).is_some() {
        return Outbound::refuse(DropReason::NoSuchPort);
    } else if let Some(workload) = tables.workload_at(&caller.destination) {
        target.workload = workload;
        target.endpoint = workload;
    } else {
        return elsewhere(tables, &config, &record, caller, target);
    }
    to_workload(tables, &config, &record, caller, target)
}

/// The service has rules of layer 7: the address stays as dialled, and the ticket says that the proxy is meant. What the
/// proxy then connects to is judged as the workload's own connection.
#[inline(always)]
fn to_proxy<T: Tables>(tables: &T, config: &Config, caller: &Caller, mut target: Target) -> Outbound {
    target.lane = Lane::Proxy;
    if tables.tickets_of(caller.workload) >= u64::from(config.max_tickets) {
        let reason = DropReason::TooManyTickets;
        return Outbound::Refuse { reason, rule: 0, workload: 0, service: target.service };
    }
    Outbound::Go(target)
}

/// The port of a socket that sends datagrams; 0 for every other.
#[inline(always)]
const fn datagram_port(caller: &Caller) -> Be16 {
    if caller.protocol == UDP { caller.source_port } else { Be16::new(0) }
}

/// The exchange that the caller's datagram to this address and port belongs to.
#[inline(always)]
fn exchange(record: &WorkloadRecord, caller: &Caller, address: &Ip, port: Be16) -> Tuple {
    let source = if address.is_v4() { record.v4 } else { record.v6 };
    Tuple::new(UDP, source, caller.source_port, *address, port)
}

/// The destination is no workload and no service.
#[inline(always)]
fn elsewhere<T: Tables>(
    tables: &T,
    config: &Config,
    record: &WorkloadRecord,
    caller: &Caller,
    mut target: Target,
) -> Outbound {
    if caller.protocol == UDP
        && is_asked_by_host(tables, config, record, &caller.destination, caller.source_port)
    {
        return Outbound::Answer;
    }
    if let Some(reason) = may_connect(config, record, &caller.destination) {
        return Outbound::refuse(reason);
    }
    target.lane = Lane::Outside;
    Outbound::Go(target)
}

/// Why nothing leads where no workload is; `None` if it is outside and the workload may go there.
#[inline(always)]
pub(crate) fn may_connect(config: &Config, record: &WorkloadRecord, destination: &Ip) -> Option<DropReason> {
    if *destination == config.node_v4 || *destination == config.node_v6 {
        return Some(DropReason::NoSuchPort);
    }
    if is_in_mesh(config, destination) {
        return Some(DropReason::NoSuchAddress);
    }
    (record.flags & workload_flag::EGRESS == 0).then_some(DropReason::Egress)
}

/// The destination is a workload: its policy decides, here as well as at its own side.
#[inline(always)]
fn to_workload<T: Tables>(
    tables: &T,
    config: &Config,
    record: &WorkloadRecord,
    caller: &Caller,
    mut target: Target,
) -> Outbound {
    if target.workload == caller.workload {
        return Outbound::Go(target);
    }
    if caller.protocol == UDP && caller.source_port.host() != 0 {
        let tuple = exchange(record, caller, &target.address, target.port);
        if let Some(known) = tables.exchange(&tuple)
            && known.generation == config.generation
        {
            target.rule = known.rule;
            target.lane = Lane::Direct;
            return Outbound::Go(target);
        }
    }
    let refuse =
        |reason, rule| Outbound::Refuse { reason, rule, workload: target.workload, service: target.service };
    let Some(destination) = tables.workload(target.workload) else {
        return refuse(DropReason::Inconsistent, 0);
    };
    if destination.flags & workload_flag::STOPPING != 0 {
        return refuse(DropReason::Stopping, 0);
    }
    let source = if target.address.is_v4() { record.v4 } else { record.v6 };
    let is_datagram = caller.protocol == UDP;
    let table = if is_datagram { destination.datagram_table } else { destination.table };
    let outcome = authorize(tables, table, record.identity, &source, target.port);
    if let Some(reason) = outcome.refusal {
        return refuse(reason, outcome.rule);
    }
    let done = caller.vended.then_some(caller.layer7_generation);
    if let (false, Some(reason)) = (is_datagram, unjudged(&destination, done)) {
        return refuse(reason, outcome.rule);
    }
    target.rule = outcome.rule;
    target.lane = Lane::Direct;
    if caller.protocol == UDP {
        let full = tables.exchanges_of(caller.workload) >= u64::from(config.max_exchanges);
        return if full { refuse(DropReason::TooManyExchanges, 0) } else { Outbound::Go(target) };
    }
    if tables.connections() >= u64::from(config.max_connections) {
        return refuse(DropReason::TooManyConnections, 0);
    }
    if tables.tickets_of(caller.workload) >= u64::from(config.max_tickets) {
        return refuse(DropReason::TooManyTickets, 0);
    }
    if let Some(reason) = limits::exceeded(tables, (caller.workload, record), (target.workload, &destination))
    {
        return refuse(reason, 0);
    }
    Outbound::Go(target)
}

/// Loopback, `0.0.0.0` (which Linux takes for this host) and the workload's own address stay inside it.
#[inline(always)]
pub(crate) fn is_own(record: &WorkloadRecord, destination: &Ip) -> bool {
    destination.is_loopback()
        || destination.is_unspecified()
        || *destination == record.v4
        || *destination == record.v6
}

#[inline(always)]
pub(crate) fn is_in_mesh(config: &Config, address: &Ip) -> bool {
    config.workloads_v4.contains(address)
        || config.workloads_v6.contains(address)
        || config.services_v4.contains(address)
        || config.services_v6.contains(address)
}

#[inline(always)]
fn asks_for_names(config: &Config, caller: &Caller) -> bool {
    let to = &caller.destination;
    caller.port == NAMES_PORT
        && (*to == STUB_RESOLVER
            || *to == config.node_v4
            || *to == config.node_v6
            || (!to.is_unspecified()
                && (*to == config.resolvers[0]
                    || *to == config.resolvers[1]
                    || *to == config.resolvers[2]
                    || *to == config.resolvers[3])))
}

#[cfg(test)]
mod tests;
