//! Where a workload is.

use serde::{Deserialize, Serialize};

use crate::Workload;

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";

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

    /// How near two are: 3 the same subzone, 2 the same zone, 1 the same region, 0 apart.
    pub fn nearness(&self, other: &Self) -> u32 {
        let same = |one: &str, two: &str| !one.is_empty() && one == two;
        if self.region != other.region {
            return 0;
        }
        if !same(&self.zone, &other.zone) {
            return u32::from(same(&self.region, &other.region));
        }
        if same(&self.subzone, &other.subzone) { 3 } else { 2 }
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}
