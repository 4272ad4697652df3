//! Where a workload is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Workload;

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";

/// For callers of a region that has nobody left (the key), which region comes before all others.
pub type Failover = BTreeMap<String, String>;

/// Where a workload is; empty parts are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Locality {
    /// Regions hold zones.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Zones hold subzones.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// The narrowest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subzone: String,
}

impl Locality {
    /// From the field `locality` (`region`, `zone`, `subzone`, or the labels' names), else from the labels.
    pub fn of(workload: &Workload) -> Self {
        let part = |short: &str, label: &str| {
            let own = workload.locality.get(short).or_else(|| workload.locality.get(label));
            own.or_else(|| workload.labels.get(label)).cloned().unwrap_or_default()
        };
        Self { region: part("region", REGION), zone: part("zone", ZONE), subzone: part("subzone", SUBZONE) }
    }

    /// How near an endpoint there is to a caller here: 4 the same subzone, 3 the same zone, 2 the same region, 1 the region
    /// that comes next, 0 apart.
    pub fn nearness(&self, endpoint: &Self, failover: &Failover) -> u32 {
        let same = |one: &str, two: &str| !one.is_empty() && one == two;
        if self.region != endpoint.region {
            return u32::from(failover.get(&self.region).is_some_and(|next| *next == endpoint.region));
        }
        if !same(&self.zone, &endpoint.zone) {
            return if same(&self.region, &endpoint.region) { 2 } else { 0 };
        }
        if same(&self.subzone, &endpoint.subzone) { 4 } else { 3 }
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}
