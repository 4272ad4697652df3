//! How many rows the tables have room for that the agent writes.

use std::collections::BTreeMap;

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
        Self::DEFAULT
    }
}

impl Sizes {
    /// A row in each: as small as a table can be.
    pub const SMALLEST: Self = Self { workloads: 1, services: 1, endpoints: 1, policy_rows: 1 };
    /// What tables have from the start.
    pub const DEFAULT: Self = Self {
        workloads: maps::MAX_WORKLOADS,
        services: maps::MAX_SERVICES,
        endpoints: maps::MAX_ENDPOINTS,
        policy_rows: maps::MAX_POLICY_ROWS,
    };
    /// What they never exceed.
    pub const LARGEST: Self =
        Self { workloads: maps::MAX_WORKLOADS, services: 1 << 20, endpoints: 4 << 20, policy_rows: 4 << 20 };

    /// Rows of a map; `None` if its size is fixed.
    pub fn of(&self, map: &str) -> Option<u32> {
        match map {
            maps::CGROUPS | maps::WORKLOADS | maps::VETHS => Some(self.workloads),
            maps::ADDRESSES => Some(2 * self.workloads),
            maps::SERVICES | maps::TURNS => Some(self.services),
            maps::ENDPOINTS => Some(self.endpoints),
            maps::POLICY_IDENTITIES | maps::POLICY_PORTS | maps::POLICY_PREFIXES | maps::POLICY_VERDICTS => {
                Some(self.policy_rows)
            }
            _ => None,
        }
    }

    /// What maps with these limits have room for.
    pub(crate) fn from_limits(limits: &BTreeMap<&'static str, u32>) -> Self {
        let of = |name| limits.get(name).copied().unwrap_or(0);
        Self {
            workloads: of(maps::WORKLOADS),
            services: of(maps::SERVICES),
            endpoints: of(maps::ENDPOINTS),
            policy_rows: of(maps::POLICY_VERDICTS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_that_the_agent_writes_has_a_size_that_can_grow_but_the_one_record() {
        let sizes = Sizes { workloads: 2, services: 3, endpoints: 4, policy_rows: 5 };
        for spec in maps::SPECS.iter().filter(|spec| spec.writer == maps::Writer::Agent) {
            // Sockets of the proxy are for real workloads only, whose ids have a limit.
            let fixed = [maps::CONFIG, maps::PROXIES].contains(&spec.name);
            assert_eq!(sizes.of(spec.name).is_some(), !fixed, "{}", spec.name);
        }
        let limits =
            maps::SPECS.iter().filter_map(|it| sizes.of(it.name).map(|rows| (it.name, rows))).collect();
        assert_eq!(Sizes::from_limits(&limits), sizes);
    }

    #[test]
    fn the_default_is_what_the_object_says() {
        for spec in &maps::SPECS {
            assert_eq!(Sizes::default().of(spec.name).unwrap_or(spec.limit), spec.limit, "{}", spec.name);
        }
    }
}
