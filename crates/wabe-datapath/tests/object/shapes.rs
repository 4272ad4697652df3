//! The shared structs as this compiler lays them out.

use std::mem::offset_of;

use wabe_abi::*;

/// Where a struct has what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    /// Names and offsets in bytes, by offset.
    pub(crate) fields: Vec<(&'static str, usize)>,
}

macro_rules! shape {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        Shape {
            name: stringify!($name),
            size: size_of::<$name>(),
            fields: vec![$((stringify!($field), offset_of!($name, $field))),+],
        }
    };
}

/// Every struct that is a key, a value, an event or a part of one. The fields are compared as a list: one that is
/// missing here is found.
pub(crate) fn all() -> Vec<Shape> {
    vec![
        newtype("Be16", size_of::<Be16>()),
        newtype("Be32", size_of::<Be32>()),
        shape!(Ip { words }),
        shape!(Prefix { base, mask }),
        shape!(Config {
            generation,
            node_v4,
            node_v6,
            workloads_v4,
            workloads_v6,
            services_v4,
            services_v6,
            resolvers,
            workload_level,
            max_connections,
            max_tickets,
            reserved,
        }),
        shape!(WorkloadRecord { v4, v6, identity, table, flags, locality }),
        shape!(VethRecord { v4, v6, workload, reserved }),
        shape!(ServiceKey { address, port, protocol, locality }),
        shape!(ServiceRecord { service, endpoint_set, endpoints, affinity, balance, flags, reserved }),
        shape!(EndpointKey { set, index }),
        shape!(EndpointRecord { address, endpoint, workload, weight, threshold, alias, port, reserved }),
        shape!(EndpointLoad { live, total }),
        shape!(AffinityKey { client, service }),
        shape!(Affinity { until, endpoint, reserved }),
        shape!(ClassKey { table, identity }),
        shape!(PortKey { table, port, reserved }),
        shape!(VerdictKey { table, identity_class, port_class, prefix_class, reserved }),
        shape!(PolicyVerdict { rule, audit_rule, dry_run_rule, action, dry_run_action, reserved }),
        shape!(Tuple { source, destination, source_port, destination_port, protocol, reserved }),
        shape!(Ticket { cookie, generation, workload, flags }),
        shape!(Connection { cookie, opened, generation, source_workload, destination_workload }),
        shape!(SocketState {
            dialled,
            opened,
            generation,
            workload,
            peer_workload,
            endpoint,
            service,
            rule,
            dialled_port,
            lane,
            flags,
        }),
        shape!(RefusalKey { destination, source, workload, port, protocol, reason }),
        shape!(RefusalSeen { reported, suppressed }),
        shape!(Event {
            source,
            destination,
            dialled,
            time,
            duration,
            bytes_sent,
            bytes_received,
            generation,
            source_workload,
            destination_workload,
            service,
            rule,
            rtt,
            retransmits,
            suppressed,
            source_port,
            destination_port,
            dialled_port,
            kind,
            reporter,
            lane,
            reason,
            protocol,
            reserved,
        }),
    ]
}

/// The one key that the kernel's half spells differently: aya's trie has a type of its own.
pub(crate) fn prefix_key() -> Shape {
    shape!(PrefixKey { bits, table, address })
}

/// A struct of one private field.
fn newtype(name: &'static str, size: usize) -> Shape {
    Shape { name, size, fields: vec![("__0", 0)] }
}
