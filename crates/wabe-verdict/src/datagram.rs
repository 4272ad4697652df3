//! A datagram as it leaves a workload's socket, with its final addresses. Connected sockets send without naming an
//! address, and connected receivers are found without `sk_lookup`: so this is where each datagram is judged.

use wabe_abi::{
    Be16, Config, DropReason, Exchange, Ip, STRANGER, ServiceKey, Tuple, WorkloadRecord, workload_flag,
};

use crate::{
    Tables, authorize,
    outbound::{NAMES_PORT, is_own, may_connect},
};

/// What becomes of a datagram.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Goes, and belongs to no exchange: over `lo`, for names, or to a stranger on the host that asked.
    Free,
    /// Belongs to the exchange that its own tuple names.
    Continues(Allowed),
    /// Answers the exchange that its tuple names the other way round.
    Answers(Allowed),
    /// Begins an exchange.
    Begins(Allowed),
    /// Fails at once.
    Refuse {
        /// Why.
        reason: DropReason,
        /// The rule that refuses; 0 if none does.
        rule: u32,
        /// The workload that it was meant for; 0 if none.
        workload: u32,
    },
}

/// What an exchange is allowed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The generation.
    pub generation: u64,
    /// The receiver's workload; 0 outside the mesh.
    pub workload: u32,
    /// The rule; 0 if none was needed.
    pub rule: u32,
}

impl Allowed {
    #[inline(always)]
    fn before(exchange: &Exchange) -> Self {
        Self { generation: exchange.generation, workload: exchange.destination_workload, rule: exchange.rule }
    }
}

/// Decides on a datagram of a workload. Costs two look-ups for one of an exchange that this generation has seen.
#[inline(always)]
pub fn passage<T: Tables>(tables: &T, workload: u32, tuple: &Tuple) -> Passage {
    let refuse = |reason| Passage::Refuse { reason, rule: 0, workload: 0 };
    let Some(config) = tables.config() else { return refuse(DropReason::NotConfigured) };
    if config.generation == 0 {
        return refuse(DropReason::NotConfigured);
    }
    // One of a workload that had the address before is nobody's.
    let known = tables.exchange(tuple).filter(|known| known.source_workload == workload);
    if let Some(known) = &known
        && known.generation == config.generation
    {
        return Passage::Continues(Allowed::before(known));
    }
    let Some(record) = tables.workload(workload) else { return refuse(DropReason::UnknownWorkload) };
    if is_own(&record, &tuple.destination) {
        return Passage::Free;
    }
    if tuple.destination.is_link_scoped() {
        return refuse(DropReason::LinkScoped);
    }
    if tuple.source != record.v4 && tuple.source != record.v6 {
        return refuse(DropReason::ForgedSource);
    }
    if tuple.destination_port == NAMES_PORT
        && (tuple.destination == config.node_v4 || tuple.destination == config.node_v6)
    {
        return Passage::Free;
    }
    if known.is_some() {
        // Whoever has the address now.
        let judged = match tables.workload_at(&tuple.destination) {
            Some(receiver) => allowed(tables, &config, receiver, record.identity, tuple),
            None => outside(tables, &config, &record, &tuple.destination),
        };
        return match judged {
            Ok(allowed) => Passage::Continues(allowed),
            Err(refusal) => refusal,
        };
    }
    let question = tuple.reversed();
    if let Some(asked) = tables.exchange(&question) {
        if asked.generation == config.generation {
            return Passage::Answers(Allowed::before(&asked));
        }
        let Some(caller) = tables.workload(asked.source_workload) else {
            return refuse(DropReason::NoSuchAddress);
        };
        return match allowed(tables, &config, workload, caller.identity, &question) {
            Ok(allowed) => Passage::Answers(allowed),
            Err(refusal) => refusal,
        };
    }
    let judged = match tables.workload_at(&tuple.destination) {
        Some(receiver) => match tables.workload(receiver) {
            Some(known) if known.flags & workload_flag::STOPPING != 0 => {
                return Passage::Refuse { reason: DropReason::Stopping, rule: 0, workload: receiver };
            }
            Some(_) | None => allowed(tables, &config, receiver, record.identity, tuple),
        },
        None if is_asked_by_host(tables, &config, &record, &tuple.destination, tuple.source_port) => {
            return Passage::Free;
        }
        None => outside(tables, &config, &record, &tuple.destination),
    };
    match judged {
        Ok(allowed) if tables.exchanges_of(workload) < u64::from(config.max_exchanges) => {
            Passage::Begins(allowed)
        }
        Ok(allowed) => {
            let (reason, rule) = (DropReason::TooManyExchanges, allowed.rule);
            Passage::Refuse { reason, rule, workload: allowed.workload }
        }
        Err(refusal) => refusal,
    }
}

/// Whether the receiver's policy allows the caller.
#[inline(always)]
fn allowed<T: Tables>(
    tables: &T,
    config: &Config,
    receiver: u32,
    identity: u32,
    tuple: &Tuple,
) -> Result<Allowed, Passage> {
    let refuse = |reason, rule| Passage::Refuse { reason, rule, workload: receiver };
    let Some(record) = tables.workload(receiver) else { return Err(refuse(DropReason::Inconsistent, 0)) };
    let outcome = authorize(tables, record.datagram_table, identity, &tuple.source, tuple.destination_port);
    match outcome.refusal {
        Some(reason) => Err(refuse(reason, outcome.rule)),
        None => Ok(Allowed { generation: config.generation, workload: receiver, rule: outcome.rule }),
    }
}

/// Whether a datagram may go where no workload is.
#[inline(always)]
fn outside<T: Tables>(
    tables: &T,
    config: &Config,
    record: &WorkloadRecord,
    destination: &Ip,
) -> Result<Allowed, Passage> {
    let refuse = |reason| Err(Passage::Refuse { reason, rule: 0, workload: 0 });
    // `connect()` lets it pass, as resolvers ask so.
    if tables.service(&ServiceKey::address(*destination)).is_some() {
        return refuse(DropReason::NoSuchPort);
    }
    match may_connect(config, record, destination) {
        Some(reason) => refuse(reason),
        None => Ok(Allowed { generation: config.generation, workload: 0, rule: 0 }),
    }
}

/// Whether the destination is the host, and the workload's policy admits from there to this port. The host is a stranger,
/// of which nothing is noted: who is admitted is answered.
#[inline(always)]
pub(crate) fn is_asked_by_host<T: Tables>(
    tables: &T,
    config: &Config,
    record: &WorkloadRecord,
    destination: &Ip,
    port: Be16,
) -> bool {
    (*destination == config.host_v4 || *destination == config.host_v6)
        && authorize(tables, record.datagram_table, STRANGER, destination, port).refusal.is_none()
}

#[cfg(test)]
mod tests;
