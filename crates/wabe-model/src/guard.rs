//! Wabe's own filters of routes: `RequestLimit` and `FaultInjection`, which a rule of an HTTPRoute or GRPCRoute names by `extensionRef`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ObjectName;

/// How many requests pass, on each node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestLimit {
    /// Its name.
    pub name: ObjectName,
    /// So many, 1 to 1 000 000.
    pub requests: u32,
    /// In this time, 1 s to 1 h; 1 s unless written.
    pub per: Duration,
    /// So many may come at once, 1 to 1 000 000; as many as `requests` unless written.
    pub burst: u32,
    /// Of whom.
    pub each: LimitScope,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitScope {
    /// All that come by a route.
    #[default]
    Route,
    /// Those of each replica that calls, by a route.
    Caller,
}

/// What goes wrong on purpose. At least one of both is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultInjection {
    /// Its name.
    pub name: ObjectName,
    /// Requests wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Requests are answered with an error, after the delay if they get both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
}

/// Requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delay {
    /// 1 ms to 1 h.
    pub time: Duration,
    /// Which of them.
    pub share: Share,
}

/// Requests are answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Abort {
    /// 400 to 599.
    pub status: u16,
    /// Which of them.
    pub share: Share,
}

/// A share of requests; all unless written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// At most `denominator`.
    pub numerator: u32,
    /// 1 or more.
    pub denominator: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self { numerator: 100, denominator: 100 }
    }
}
