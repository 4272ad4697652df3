//! How the shared types lie in memory, and a number for it: pinned maps of another layout are never reinterpreted.

use core::mem::offset_of;

use crate::*;

/// A key or value of a map.
pub trait Layout {
    /// Changes when the name, the size, or the name or place of a field changes.
    const HASH: u64;
}

/// Where a struct has what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Names and offsets in bytes, by offset.
    pub fields: &'static [(&'static str, usize)],
}

macro_rules! shapes {
    ($($name:ident { $($field:ident),+ $(,)? })+) => {
        /// Every struct that is a key, a value, an event or a part of one. A test compares them with the BTF of the
        /// built object, so one that is missing here is found.
        pub const SHAPES: &[Shape] = &[$(shape!($name { $($field),+ })),+];

        $(impl Layout for $name {
            const HASH: u64 = hash(&shape!($name { $($field),+ }));
        })+
    };
}

macro_rules! shape {
    ($name:ident { $($field:ident),+ }) => {
        Shape {
            name: stringify!($name),
            size: size_of::<$name>(),
            fields: &[$((stringify!($field), offset_of!($name, $field))),+],
        }
    };
}

shapes! {
    Ip { words }
    Prefix { base, mask }
    Config {
        generation, node_v4, node_v6, host_v4, host_v6, workloads_v4, workloads_v6, services_v4,
        services_v6, resolvers, workload_level, max_connections, max_tickets,
        max_exchanges, flags, reserved
    }
    WorkloadRecord { v4, v6, layer7_generation, identity, table, datagram_table, flags, interface, locality, outbound, inbound }
    Limits { connections, per_second }
    Pace { open, outbound, inbound }
    VethRecord { v4, v6, workload, reserved }
    ServiceKey { address, port, protocol, locality }
    ServiceRecord { service, endpoint_set, endpoints, affinity, balance, flags, reserved }
    AffinityKey { client, service, port, reserved }
    Affinity { until, endpoint, reserved }
    EndpointKey { set, index }
    EndpointRecord { address, endpoint, workload, weight, threshold, alias, port, reserved }
    EndpointLoad { live, total }
    ClassKey { table, identity }
    PortKey { table, port, reserved }
    VerdictKey { table, identity_class, port_class, prefix_class, reserved }
    PolicyVerdict { rule, audit_rule, dry_run_rule, action, dry_run_action, reserved }
    Tuple { source, destination, source_port, destination_port, protocol, reserved }
    Ticket { cookie, generation, workload, flags }
    Connection { cookie, opened, generation, source_workload, destination_workload, flags, reserved }
    SocketState {
        dialled, opened, generation, layer7_generation, workload, peer_workload, endpoint, service, rule,
        dialled_port,
        lane, flags
    }
    Exchange {
        dialled, opened, sent, received, generation, cookie, source_workload, destination_workload, service,
        rule, dialled_port, reserved
    }
    Peer { tuple, service }
    Peers { peers, begun, reserved }
    RefusalKey { destination, source, workload, port, protocol, reason }
    RefusalSeen { reported, suppressed }
    Event {
        source, destination, dialled, time, duration, bytes_sent, bytes_received, generation,
        source_workload, destination_workload, service, rule, rtt, retransmits, suppressed,
        source_port, destination_port, dialled_port, kind, reporter, lane, reason, protocol, reset
    }
    PrefixKey { bits, table, address }
}

impl Layout for u32 {
    const HASH: u64 = fold(OFFSET_BASIS, b"u32");
}

impl Layout for u64 {
    const HASH: u64 = fold(OFFSET_BASIS, b"u64");
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

const fn hash(shape: &Shape) -> u64 {
    let mut hash = fold(OFFSET_BASIS, shape.name.as_bytes());
    hash = fold(hash, &shape.size.to_le_bytes());
    let mut index = 0;
    while index < shape.fields.len() {
        let (name, offset) = shape.fields[index];
        hash = fold(hash, name.as_bytes());
        hash = fold(hash, &offset.to_le_bytes());
        index += 1;
    }
    hash
}

/// Takes more bytes into a hash.
pub(crate) const fn fold(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(PRIME);
        index += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_name_size_and_places() {
        let plain = Shape { name: "Row", size: 8, fields: &[("a", 0), ("b", 4)] };
        for other in [
            Shape { name: "Line", ..plain },
            Shape { size: 16, ..plain },
            Shape { fields: &[("a", 0), ("c", 4)], ..plain },
            Shape { fields: &[("a", 0), ("b", 6)], ..plain },
            Shape { fields: &[("a", 0)], ..plain },
        ] {
            assert_ne!(hash(&other), hash(&plain), "{other:?}");
        }
        assert_eq!(hash(&Shape { ..plain }), hash(&plain));
    }
}
