//! The birth of a socket: which kinds a workload may have.

use wabe_abi::{DropReason, TCP, UDP, workload_flag};

use crate::Tables;

/// `AF_INET`.
const INET: u32 = 2;
/// `AF_INET6`.
const INET6: u32 = 10;
/// `SOCK_STREAM`.
const STREAM: u32 = 1;
/// `SOCK_DGRAM`.
const DATAGRAM: u32 = 2;

/// A socket's verdict.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// Made, and stamped with its workload.
    Stamp,
    /// `socket()` fails.
    Refuse(DropReason),
}

/// Decides on `socket(family, kind, protocol)` of a workload. Multipath TCP is refused: its clients' subflows are made
/// by the kernel and would bear no stamp; programs fall back to TCP.
#[inline(always)]
pub fn creation<T: Tables>(tables: &T, workload: u32, family: u32, kind: u32, protocol: u32) -> Creation {
    let Some(record) = tables.workload(workload) else {
        return Creation::Refuse(DropReason::UnknownWorkload);
    };
    let tcp = kind == STREAM && (protocol == 0 || protocol == TCP as u32);
    let udp = kind == DATAGRAM && (protocol == 0 || protocol == UDP as u32);
    let ours = (family == INET || family == INET6) && (tcp || udp);
    if ours || (record.flags & workload_flag::ANY_PROTOCOL != 0 && kind != STREAM) {
        Creation::Stamp
    } else {
        Creation::Refuse(DropReason::Protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn kinds_of_sockets() {
        let mut tables = Fake::two_workloads();
        tables.workloads.get_mut(&2).expect("workload").flags = workload_flag::ANY_PROTOCOL;
        let refused = Creation::Refuse(DropReason::Protocol);
        for (what, family, kind, protocol, plain, any) in [
            ("tcp", INET, STREAM, 0, Creation::Stamp, Creation::Stamp),
            ("tcp6", INET6, STREAM, 6, Creation::Stamp, Creation::Stamp),
            ("udp", INET, DATAGRAM, 0, Creation::Stamp, Creation::Stamp),
            ("udp6", INET6, DATAGRAM, 17, Creation::Stamp, Creation::Stamp),
            ("mptcp", INET, STREAM, 262, refused, refused),
            ("sctp", INET, STREAM, 132, refused, refused),
            ("udp-lite", INET, DATAGRAM, 136, refused, Creation::Stamp),
            ("ping", INET, DATAGRAM, 1, refused, Creation::Stamp),
            ("raw", INET, 3, 255, refused, Creation::Stamp),
        ] {
            assert_eq!(creation(&tables, 1, family, kind, protocol), plain, "{what}");
            assert_eq!(creation(&tables, 2, family, kind, protocol), any, "{what} with the right");
        }
        let unknown = Creation::Refuse(DropReason::UnknownWorkload);
        assert_eq!(creation(&tables, 9, INET, STREAM, 0), unknown);
    }
}
