//! Connections and bytes between workloads, under Istio's standard names and labels.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use wabe_abi::Lane;

use super::text::{Kind::Counter, Text};
use crate::api::{Flow, FlowKind};

/// Pairs that are told apart; those beyond go into one without names, so that callers can't make the agent grow.
const MOST: usize = 4096;
const UNKNOWN: &str = "unknown";

/// Counted since the agent started.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pairs: BTreeMap<Pair, Counts>,
    unknown: Unknown,
}

/// In place of a name.
#[derive(Debug)]
struct Unknown(Arc<str>);

impl Default for Unknown {
    fn default() -> Self {
        Self(UNKNOWN.into())
    }
}

/// Who spoke with whom, as one of both reports it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    reporter: Cow<'static, str>,
    source: Arc<str>,
    destination: Arc<str>,
    service: Arc<str>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    opened: u64,
    closed: u64,
    sent: u64,
    received: u64,
}

impl Traffic {
    /// Counts a line of flows.
    pub(crate) fn add(&mut self, flow: &Flow) {
        if flow.protocol != "tcp" || !matches!(flow.kind, FlowKind::Opened | FlowKind::Closed) {
            return;
        }
        // To the proxy beside the caller: it has no destination but the proxy, which connects onwards on the caller's behalf.
        // That connection is the caller's to a workload and bears both names.
        if flow.lane == Lane::Proxy.name() {
            return;
        }
        for reporter in &flow.reporters {
            let unknown = || Arc::clone(&self.unknown.0);
            let name = |name: &Option<Arc<str>>| name.clone().unwrap_or_else(unknown);
            let mut pair = Pair {
                reporter: reporter.clone(),
                source: name(&flow.from.workload),
                destination: name(&flow.to.workload),
                service: name(&flow.service),
            };
            if self.pairs.len() >= MOST && !self.pairs.contains_key(&pair) {
                (pair.source, pair.destination, pair.service) = (unknown(), unknown(), unknown());
            }
            let counts = self.pairs.entry(pair).or_default();
            match flow.kind {
                FlowKind::Opened => counts.opened += 1,
                FlowKind::Closed => {
                    counts.closed += 1;
                    // In Istio's words the response is sent and the request received.
                    counts.sent += flow.bytes_received;
                    counts.received += flow.bytes_sent;
                }
                FlowKind::Refused | FlowKind::Failed => {}
            }
        }
    }

    pub(super) fn render(&self, text: &mut Text) {
        type Read = fn(&Counts) -> u64;
        let families: [(&'static str, &str, Read); 4] = [
            ("istio_tcp_connections_opened", "connections that were established", |it| it.opened),
            ("istio_tcp_connections_closed", "connections that ended", |it| it.closed),
            (
                "istio_tcp_sent_bytes",
                "payload bytes of answers, from destination to source, of ended connections",
                |it| it.sent,
            ),
            (
                "istio_tcp_received_bytes",
                "payload bytes of requests, from source to destination, of ended connections",
                |it| it.received,
            ),
        ];
        for (name, help, read) in families {
            text.family(name, Counter, help);
            for (pair, counts) in &self.pairs {
                let of = |name: &str| -> (String, String) {
                    let (namespace, workload) = name.split_once('/').unwrap_or((UNKNOWN, name));
                    (namespace.to_owned(), workload.to_owned())
                };
                let (source, destination) = (of(&pair.source), of(&pair.destination));
                let service = of(&pair.service);
                let labels = [
                    ("reporter", &*pair.reporter),
                    ("source_workload", &source.1),
                    ("source_workload_namespace", &source.0),
                    ("destination_workload", &destination.1),
                    ("destination_workload_namespace", &destination.0),
                    ("destination_service", &pair.service),
                    ("destination_service_name", &service.1),
                    ("destination_service_namespace", &service.0),
                    ("request_protocol", "tcp"),
                    ("response_flags", "-"),
                ];
                text.row("_total", &labels, read(counts));
            }
        }
    }
}
