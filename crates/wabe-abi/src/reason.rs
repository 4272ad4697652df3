//! Why something was refused.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal, $errno:literal;)+) => {
        /// Why a socket, a connection or a packet was refused. Numbers are part of the pinned maps' layout: new ones
        /// are added at the end.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason { $($(#[doc = $doc])+ $name = $number,)+ }

        impl DropReason {
            /// Every reason, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The reason with this number.
            pub const fn from_number(number: u8) -> Option<Self> {
                Some(match number { $($number => Self::$name,)+ _ => return None })
            }

            /// As users and metrics read it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The error number that `connect` or `sendmsg` of a caller fails with.
            pub const fn errno(self) -> i32 {
                match self { $(Self::$name => $errno,)+ }
            }

            /// One sentence for people.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

/// Operation not permitted.
const EPERM: i32 = 1;
/// Resource temporarily unavailable.
const EAGAIN: i32 = 11;
/// Protocol not supported.
const EPROTONOSUPPORT: i32 = 93;
/// Network is unreachable.
const ENETUNREACH: i32 = 101;
/// Connection refused.
const ECONNREFUSED: i32 = 111;
/// No route to host.
const EHOSTUNREACH: i32 = 113;
/// Stale file handle: no other reason has it, so that the proxy knows to read what it goes by anew.
const ESTALE: i32 = 116;

// The macro wants literals so that a row can't name a constant that is not an errno; this keeps them honest.
const _: () = {
    assert!(DropReason::PolicyDeny.errno() == EPERM);
    assert!(DropReason::TooManyConnections.errno() == EAGAIN);
    assert!(DropReason::Protocol.errno() == EPROTONOSUPPORT);
    assert!(DropReason::Egress.errno() == ENETUNREACH);
    assert!(DropReason::NoSuchPort.errno() == ECONNREFUSED);
    assert!(DropReason::NoEndpoint.errno() == EHOSTUNREACH);
    assert!(DropReason::PolicyNewer.errno() == ESTALE);
};

reasons! {
    /// The mesh has not written its configuration yet.
    NotConfigured = 1, "not_configured", 1;
    /// The calling process is in no workload that the mesh knows.
    UnknownWorkload = 2, "unknown_workload", 1;
    /// The socket bears no stamp: it was made before the mesh, or outside of it.
    Unstamped = 3, "unstamped", 1;
    /// The protocol is neither TCP nor UDP and the workload has no right to others.
    Protocol = 4, "protocol", 93;
    /// The service has no ready endpoint.
    NoEndpoint = 5, "no_endpoint", 113;
    /// The service's address has no such port.
    NoSuchPort = 6, "no_such_port", 111;
    /// The address lies in the mesh's ranges but belongs to nobody.
    NoSuchAddress = 7, "no_such_address", 113;
    /// A DENY policy matches.
    PolicyDeny = 8, "policy_deny", 1;
    /// ALLOW policies select the destination and none of them matches.
    PolicyNoMatch = 9, "policy_no_match", 1;
    /// The caller has no identity in this mesh and no rule admits its address.
    Stranger = 10, "stranger", 1;
    /// The tables have no answer for this identity: refused until they have.
    PolicyUnknown = 11, "policy_unknown", 1;
    /// The destination is outside the mesh and the workload has no egress.
    Egress = 12, "egress", 101;
    /// The mesh has as many connections as it has room for.
    TooManyConnections = 13, "too_many_connections", 11;
    /// The workload has as many connection attempts under way as it may.
    TooManyTickets = 14, "too_many_tickets", 11;
    /// A record that another one names is missing.
    Inconsistent = 15, "inconsistent", 1;
    /// A packet's source address is not that of the workload that sent it.
    ForgedSource = 16, "forged_source", 1;
    /// The workload is being stopped.
    Stopping = 17, "stopping", 113;
    /// The address is multicast, broadcast or link-local, which a mesh does not carry.
    LinkScoped = 18, "link_scoped", 101;
    /// The workload has as many exchanges of datagrams open as it may, or the mesh has no room for more.
    TooManyExchanges = 19, "too_many_exchanges", 11;
    /// The calling workload has as many connections open as its limit allows.
    TooManyOutbound = 20, "too_many_outbound", 11;
    /// The workload that is called has as many connections open towards it as its limit allows.
    TooManyInbound = 21, "too_many_inbound", 11;
    /// The calling workload makes new connections faster than its limit allows.
    OutboundRate = 22, "outbound_rate", 11;
    /// The workload that is called gets new connections faster than its limit allows.
    InboundRate = 23, "inbound_rate", 11;
    /// The calling workload has no way to the node's proxy, which the service's rules of layer 7 need.
    NoProxy = 24, "no_proxy", 113;
    /// The workload has policies of layer 7, so only the node's proxy connects to it: dial its service, not its own address.
    NotByProxy = 25, "not_by_proxy", 1;
    /// The workload's policies of layer 7 are newer than those that the node's proxy went by.
    PolicyNewer = 26, "policy_newer", 116;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_reasons_agree() {
        let mut names = std::collections::BTreeSet::new();
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index + 1);
            assert_eq!(DropReason::from_number(*reason as u8), Some(*reason));
            assert!(names.insert(reason.name()), "{} twice", reason.name());
            assert!(reason.sentence().ends_with('.'), "{}", reason.sentence());
        }
    }

    #[test]
    fn the_operations_manual_says_what_to_do_about_each() {
        let manual = include_str!("../../../docs/operations.md");
        for reason in DropReason::ALL {
            assert!(
                manual.contains(&std::format!("\n| `{}` | ", reason.name())),
                "{} is missing",
                reason.name()
            );
        }
    }
}
