//! How many rows the tables have room for that the agent writes.

use wabe_abi::maps;

/// Room, in rows, old and new rows during a swap included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Workloads, replicas counted.
    pub workloads: u32,
    /// Ports and addresses of services, counted once for each address family.
    pub services: u32,
    /// Endpoints in all sets.
    pub endpoints: u32,
    /// Rows in each of the policy maps.
    pub policy_rows: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            workloads: maps::MAX_WORKLOADS,
            services: maps::MAX_SERVICES,
            endpoints: maps::MAX_ENDPOINTS,
            policy_rows: maps::MAX_POLICY_ROWS,
        }
    }
}
