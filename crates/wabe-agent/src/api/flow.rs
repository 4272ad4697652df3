//! One connection, as `wabe flows` shows it.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowKind {
    /// It was established.
    Opened,
    /// It is gone.
    Closed,
    /// The mesh did not let it come to be.
    Refused,
    /// It was allowed and came to nothing: nobody listens, or nobody answered in time.
    Failed,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// `namespace/name` of the workload there, if it is one.
    pub workload: Option<Arc<str>>,
    /// Which replica.
    pub replica: Option<u32>,
    /// Its address, if it has one yet.
    pub address: Option<IpAddr>,
    /// Its port; 0 if it has none yet.
    pub port: u16,
}

/// One line of `wabe flows`: what the two ends reported, joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Milliseconds since 1970.
    pub time: u64,
    /// What happened.
    pub kind: FlowKind,
    /// Which ends reported it: `source`, `destination`.
    pub reporters: Vec<Cow<'static, str>>,
    /// `tcp` or `udp`.
    pub protocol: Cow<'static, str>,
    /// The caller.
    pub from: End,
    /// The receiver, after balancing.
    pub to: End,
    /// `namespace/name` of the service that was dialled, if it was one.
    pub service: Option<Arc<str>>,
    /// The address that the application dialled.
    pub dialled: Option<IpAddr>,
    /// The port that the application dialled.
    pub dialled_port: u16,
    /// The lane that it took.
    pub lane: Cow<'static, str>,
    /// `allowed` or `refused`.
    pub verdict: Cow<'static, str>,
    /// Why it was refused.
    pub reason: Option<Cow<'static, str>>,
    /// The rule that decided, if one did.
    pub rule: Option<Arc<str>>,
    /// The generation that decided.
    pub generation: u64,
    /// Payload bytes from the caller; of closed ones.
    pub bytes_sent: u64,
    /// Payload bytes to the caller; of closed ones.
    pub bytes_received: u64,
    /// How long it was open, in microseconds; of closed ones.
    pub duration: u64,
    /// Smoothed round-trip time in microseconds; of closed ones.
    pub rtt: u32,
    /// Segments sent again; of closed ones.
    pub retransmits: u32,
    /// It had no orderly end: one end reset it, or it timed out; of closed ones.
    pub reset: bool,
    /// Further refusals like this one since the last line about them.
    pub suppressed: u32,
}
