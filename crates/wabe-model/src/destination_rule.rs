//! Istio `DestinationRule`: how connections and requests to a service are spread over its endpoints.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Balance, Failover, ObjectName};

/// How connections and requests to one service are spread. What it does not say is as the Service says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRule {
    /// Its name.
    pub name: ObjectName,
    /// The service that it is about (`spec.host`); of its own namespace.
    pub service: ObjectName,
    /// `loadBalancer.simple`, or the annotation `mesh.wabe.dev/balance`.
    pub balance: Option<Balance>,
    /// `loadBalancer.consistentHash`: what of a request alone says where it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<HashKey>,
    /// `loadBalancer.localityLbSetting.enabled`: whether near endpoints come first.
    pub near: Option<bool>,
    /// `loadBalancer.localityLbSetting.failover`; empty unless near endpoints come first.
    #[serde(default, skip_serializing_if = "Failover::is_empty")]
    pub failover: Failover,
    /// `loadBalancer.warmup.duration`: how long a new endpoint takes to get its whole share, 1 s to 1 h.
    pub warmup: Option<Duration>,
    /// `connectionPool`: only where the node's proxy makes the connections.
    #[serde(default)]
    pub pool: ConnectionPool,
    /// `outlierDetection`.
    pub outliers: Option<OutlierDetection>,
}

/// What of a request says where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HashKey {
    /// `useSourceIp`: the caller's address.
    Source,
    /// `httpHeaderName`: the values of this header; in lower case.
    Header(String),
    /// `httpQueryParameterName`: the first value of this parameter.
    Query(String),
    /// `httpCookie`.
    Cookie(HashCookie),
}

/// A cookie that says where a caller's requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HashCookie {
    /// Its name; a token of RFC 9110.
    pub name: String,
    /// For which paths it holds, if Wabe sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How long it holds: who comes without it is given one. 0 for as long as the caller runs; `None` if Wabe is not to set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Duration>,
}

/// Limits of one node's connections and requests to all endpoints of a service's port; none unless written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPool {
    /// `tcp.maxConnections`: open at a time, 1 to 1 000 000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// `tcp.connectTimeout`: how long a handshake may take, 1 ms to 1 h; 1 s unless written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,
    /// `tcp.idleTimeout`: how long a relayed stream without bytes stays open, 1 s to 24 h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_idle: Option<Duration>,
    /// `http.http1MaxPendingRequests`: requests that wait for a connection, 1 to 1 000 000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<u32>,
    /// `http.http2MaxRequests`: requests under way, of whatever version, 1 to 1 000 000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// `http.maxRequestsPerConnection`: after so many a connection is closed, 1 to 1 000 000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_connection: Option<u32>,
    /// `http.maxRetries`: retries under way, 1 to 1 000 000; in place of the budget that holds if nothing is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// `trafficPolicy.retryBudget`: over `retries`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_budget: Option<RetryBudget>,
    /// `http.idleTimeout`: how long a connection without requests is kept, 1 s to 24 h; 60 s unless written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// `http.h2UpgradePolicy: UPGRADE`: requests of HTTP/1.1 go to endpoints as HTTP/2 with prior knowledge.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub http2: bool,
}

impl ConnectionPool {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Retries under way at a time, as a share of the requests under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// `percent`, 0 to 100; 20 unless written.
    pub percent: u32,
    /// `minRetryConcurrency`: so many may be under way whatever the number of requests, 0 to 1 000 000; 3 unless written.
    pub least: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, least: 3 }
    }
}

/// When an endpoint that fails gets nothing more for a while. Defaults are Istio's. Counts are of failures in a row, up to
/// 1000; 0 for never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Failed connections: `consecutiveLocalOriginFailures`; else, unless they count as such only, `consecutiveGatewayErrors` if that is
    /// not 0, else `consecutive5xxErrors`; else 5.
    pub failures: u32,
    /// Answers of 500 to 599; 5 unless written (`consecutive5xxErrors`).
    #[serde(default = "five")]
    pub server_errors: u32,
    /// Answers of 502, 503 and 504; 0 unless written (`consecutiveGatewayErrors`).
    #[serde(default)]
    pub gateway_errors: u32,
    /// Failed connections count as such only, and not as answers of 503 besides (`splitExternalLocalOriginErrors`).
    #[serde(default)]
    pub split: bool,
    /// Annotation `mesh.wabe.dev/success-rate-deviations`: how many standard deviations an endpoint's share of good answers
    /// may be below the mean of all, in thousandths, 100 to 10 000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviations: Option<u32>,
    /// Of connections: within which failures must come. Also: an ejection less counts for each without one. 100 ms to 1 h;
    /// 10 s unless written.
    pub interval: Duration,
    /// How long it is out, times how often it was, 100 ms to 1 h; 30 s unless written.
    pub base_ejection: Duration,
    /// The largest share of endpoints that may be out, in percent; 10 unless written.
    pub max_percent: u32,
    /// Below this share of endpoints that are not out, in percent, all get connections; 0 unless written.
    pub min_health_percent: u32,
}

const fn five() -> u32 {
    5
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            failures: 5,
            server_errors: five(),
            gateway_errors: 0,
            split: false,
            deviations: None,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_percent: 10,
            min_health_percent: 0,
        }
    }
}
