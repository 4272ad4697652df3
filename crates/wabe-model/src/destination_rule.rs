//! Istio `DestinationRule`: how connections to a service are spread over its endpoints.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Balance, ObjectName};

/// How connections to one service are spread. What it does not say is as the Service says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRule {
    /// Its name.
    pub name: ObjectName,
    /// The service that it is about (`spec.host`); of its own namespace.
    pub service: ObjectName,
    /// `loadBalancer.simple`.
    pub balance: Option<Balance>,
    /// `loadBalancer.consistentHash.useSourceIp`: a caller's address alone says where it goes.
    pub by_source: bool,
    /// `loadBalancer.localityLbSetting.enabled`: whether near endpoints come first.
    pub near: Option<bool>,
    /// `loadBalancer.warmup.duration`: how long a new endpoint takes to get its whole share, 1 s to 1 h.
    pub warmup: Option<Duration>,
    /// `outlierDetection`.
    pub outliers: Option<OutlierDetection>,
}

/// When an endpoint that fails gets no more connections for a while. Defaults are Istio's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Failed connections in a row that eject it, 1 to 1000; 5 unless written.
    pub failures: u32,
    /// Within which they must come, 100 ms to 1 h; 10 s unless written.
    pub interval: Duration,
    /// How long it is out, times how often it was, 100 ms to 1 h; 30 s unless written.
    pub base_ejection: Duration,
    /// The largest share of endpoints that may be out, in percent; 10 unless written.
    pub max_percent: u32,
    /// Below this share of endpoints that are not out, in percent, all get connections; 0 unless written.
    pub min_health_percent: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            failures: 5,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_percent: 10,
            min_health_percent: 0,
        }
    }
}
