//! The caller's side: what becomes of `connect()` or `sendmsg()`.

use wabe_abi::{Be16, Config, DropReason, Ip, Lane, ServiceKey, TCP, WorkloadRecord, workload_flag};

use crate::{Tables, authorize, choose, limits, nearest};

/// Where names are asked for.
const NAMES_PORT: Be16 = Be16::new(53);
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
    /// `connect()` of UDP sends nothing: it is how resolvers ask for the source address that they would have
    /// (RFC 6724), so it may name what datagrams could not be sent to.
    pub only_names: bool,
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
    if caller.only_names && is_in_mesh(&config, &caller.destination) {
        return Outbound::Go(target);
    }
    let dialled = ServiceKey::port(caller.destination, caller.port, caller.protocol);
    if let Some(service) = nearest(tables, &dialled, record.locality) {
        target.service = service.service;
        if caller.protocol != TCP {
            return Outbound::refuse(DropReason::UdpUnsupported);
        }
        let client = if caller.destination.is_v4() { &record.v4 } else { &record.v6 };
        let Some(endpoint) = choose(tables, &service, client) else {
            let reason =
                if service.endpoints == 0 { DropReason::NoEndpoint } else { DropReason::Inconsistent };
            return Outbound::Refuse { reason, rule: 0, workload: 0, service: target.service };
        };
        target.address = endpoint.address;
        target.port = endpoint.port;
        target.workload = endpoint.workload;
        target.endpoint = endpoint.endpoint;
    } else if tables.service(&ServiceKey::address(caller.destination)).is_some() {
        return Outbound::refuse(DropReason::NoSuchPort);
    } else if let Some(workload) = tables.workload_at(&caller.destination) {
        if caller.protocol != TCP {
            return Outbound::refuse(DropReason::UdpUnsupported);
        }
        target.workload = workload;
        target.endpoint = workload;
    } else {
        return elsewhere(&config, &record, caller, target);
    }
    to_workload(tables, &config, &record, caller, target)
}

/// The destination is no workload and no service.
#[inline(always)]
fn elsewhere(config: &Config, record: &WorkloadRecord, caller: &Caller, mut target: Target) -> Outbound {
    let destination = &caller.destination;
    if *destination == config.node_v4 || *destination == config.node_v6 {
        return Outbound::refuse(DropReason::NoSuchPort);
    }
    if is_in_mesh(config, destination) {
        return Outbound::refuse(DropReason::NoSuchAddress);
    }
    if record.flags & workload_flag::EGRESS == 0 {
        return Outbound::refuse(DropReason::Egress);
    }
    target.lane = Lane::Outside;
    Outbound::Go(target)
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
    let refuse =
        |reason, rule| Outbound::Refuse { reason, rule, workload: target.workload, service: target.service };
    let Some(destination) = tables.workload(target.workload) else {
        return refuse(DropReason::Inconsistent, 0);
    };
    if destination.flags & workload_flag::STOPPING != 0 {
        return refuse(DropReason::Stopping, 0);
    }
    let source = if target.address.is_v4() { record.v4 } else { record.v6 };
    let outcome = authorize(tables, destination.table, record.identity, &source, target.port);
    if let Some(reason) = outcome.refusal {
        return refuse(reason, outcome.rule);
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
    target.rule = outcome.rule;
    target.lane = Lane::Direct;
    Outbound::Go(target)
}

/// Loopback, `0.0.0.0` (which Linux takes for this host) and the workload's own address stay inside it.
#[inline(always)]
fn is_own(record: &WorkloadRecord, destination: &Ip) -> bool {
    destination.is_loopback()
        || destination.is_unspecified()
        || *destination == record.v4
        || *destination == record.v6
}

#[inline(always)]
fn is_in_mesh(config: &Config, address: &Ip) -> bool {
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
