//! A workload's compiled policy: at most four look-ups.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Be16, Ip};

/// The identity of a caller without a ticket.
pub const STRANGER: u32 = 0;

/// The table of a workload that no policy selects: every identity of the mesh is admitted, strangers are not.
pub const NO_POLICY: u32 = 0;

/// {table, identity} -> class of identities.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct ClassKey {
    /// The policy table.
    pub table: u32,
    /// The identity; [`STRANGER`] has a class too.
    pub identity: u32,
}

/// {table, destination port} -> class of ports; a port without an entry is in class 0.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct PortKey {
    /// The policy table.
    pub table: u32,
    /// The port that the receiver listens on.
    pub port: Be16,
    /// Zero.
    pub reserved: u16,
}

/// Key of the longest-prefix-match trie {table, source address} -> class of sources; an address without an entry is
/// in class 0.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct PrefixKey {
    /// Bits that count: 32 for the table, then those of the address (IPv4: 96 more than its own length).
    pub bits: u32,
    /// The policy table.
    pub table: u32,
    /// The address.
    pub address: Ip,
}

/// {table, three classes} -> verdict. Every combination of a table has an entry.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct VerdictKey {
    /// The policy table.
    pub table: u32,
    /// Class of the caller's identity.
    pub identity_class: u16,
    /// Class of the port.
    pub port_class: u16,
    /// Class of the source address.
    pub prefix_class: u16,
    /// Zero.
    pub reserved: u16,
}

/// What a policy says.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Admitted.
    Allow = 1,
    /// A DENY policy matches.
    Deny = 2,
    /// ALLOW policies select the workload and none matches.
    NoMatch = 3,
    /// A stranger, and no rule names its address.
    Stranger = 4,
}

impl Action {
    /// The action with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Allow,
            2 => Self::Deny,
            3 => Self::NoMatch,
            4 => Self::Stranger,
            _ => return None,
        })
    }
}

/// The verdict on a combination of classes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PolicyVerdict {
    /// The rule that decided; 0 where none matched.
    pub rule: u32,
    /// The AUDIT rule that matched; 0 if none.
    pub audit_rule: u32,
    /// The rule that would decide if dry-run policies were in force.
    pub dry_run_rule: u32,
    /// An [`Action`].
    pub action: u8,
    /// The [`Action`] if dry-run policies were in force; 0 if the workload has none.
    pub dry_run_action: u8,
    /// Zero.
    pub reserved: [u8; 2],
}
