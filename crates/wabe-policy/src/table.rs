//! A compiled policy.

use std::collections::BTreeMap;

use wabe_abi::{Be16, ClassKey, PolicyVerdict, PortKey, PrefixKey, VerdictKey};

/// A workload's policies, ready for the kernel, not bound to a table id yet.
///
/// Equal policies over equal identities and rule ids compile to equal tables: compare to see whether a swap is needed.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompiledPolicy {
    /// Identity -> class; every identity of the mesh, strangers included.
    pub identity_classes: BTreeMap<u32, u16>,
    /// Port -> class; ports of class 0 are left out.
    pub port_classes: BTreeMap<u16, u16>,
    /// Prefix -> class, with table 0 in the keys. No entry says what the next shorter one says already.
    pub prefix_classes: BTreeMap<PrefixKey, u16>,
    /// Classes of identity, port and address -> verdict; every combination.
    pub verdicts: BTreeMap<(u16, u16, u16), PolicyVerdict>,
}

impl CompiledPolicy {
    /// The rows of [`wabe_abi::maps::POLICY_IDENTITIES`] for the table with this id, not [`wabe_abi::NO_POLICY`].
    pub fn identity_rows(&self, table: u32) -> impl Iterator<Item = (ClassKey, u32)> {
        let row = move |(identity, class): (&u32, &u16)| {
            (ClassKey { table, identity: *identity }, u32::from(*class))
        };
        self.identity_classes.iter().map(row)
    }

    /// The rows of [`wabe_abi::maps::POLICY_PORTS`].
    pub fn port_rows(&self, table: u32) -> impl Iterator<Item = (PortKey, u32)> {
        let row = move |(port, class): (&u16, &u16)| {
            (PortKey { table, port: Be16::new(*port), reserved: 0 }, u32::from(*class))
        };
        self.port_classes.iter().map(row)
    }

    /// The rows of [`wabe_abi::maps::POLICY_PREFIXES`].
    pub fn prefix_rows(&self, table: u32) -> impl Iterator<Item = (PrefixKey, u32)> {
        let row = move |(key, class): (&PrefixKey, &u16)| (PrefixKey { table, ..*key }, u32::from(*class));
        self.prefix_classes.iter().map(row)
    }

    /// The rows of [`wabe_abi::maps::POLICY_VERDICTS`].
    pub fn verdict_rows(&self, table: u32) -> impl Iterator<Item = (VerdictKey, PolicyVerdict)> {
        let row = move |(classes, verdict): (&(u16, u16, u16), &PolicyVerdict)| {
            let (identity_class, port_class, prefix_class) = *classes;
            (VerdictKey { table, identity_class, port_class, prefix_class, reserved: 0 }, *verdict)
        };
        self.verdicts.iter().map(row)
    }
}
