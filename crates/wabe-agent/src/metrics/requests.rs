//! Requests that went through the proxy, under Istio's standard names and labels, and how the backends are that they go to.

use std::collections::BTreeMap;

use wabe_model::ObjectName;
use wabe_proxy::figures::{BackendFigures, DURATIONS, Requests, Rule, SIZES, Sizes, Subject};

use super::text::{
    Kind::{Counter, Gauge, Histogram},
    Text,
};
use crate::figures::Sums;

const UNKNOWN: &str = "unknown";
const OTHER: &str = "other";

/// Labels in their order.
type Labels = Vec<(&'static str, String)>;

pub(super) fn render(text: &mut Text, sums: &Sums) {
    let mut all: Vec<(Labels, &Requests)> = sums.requests.iter().map(|it| (labels(it.0), it.1)).collect();
    if !sums.other.answers.is_empty() {
        all.push((others(), &sums.other));
    }
    text.family("istio_requests", Counter, "requests that the proxy had answered, or answered itself");
    for (labels, requests) in &all {
        for it in &requests.answers {
            let code = it.code.to_string();
            let grpc = it.grpc.map(|it| it.to_string());
            let more = [("response_code", &*code), ("response_flags", it.reason.as_deref().unwrap_or("-"))];
            // As Istio has it: empty, which to Prometheus is as if it were not there, of what is no gRPC.
            let more: Vec<_> =
                more.into_iter().chain(grpc.as_deref().map(|it| ("grpc_response_status", it))).collect();
            row(text, "_total", labels, &more, it.count);
        }
    }
    text.family(
        "istio_request_duration_milliseconds",
        Histogram,
        "from a request's head to the end of its answer",
    );
    for (labels, requests) in &all {
        durations(text, labels, requests);
    }
    type Read = fn(&Requests) -> &Sizes;
    let families: [(&'static str, &str, Read); 2] = [
        ("istio_request_bytes", "sizes of requests' bodies", |it| &it.received),
        ("istio_response_bytes", "sizes of answers' bodies", |it| &it.sent),
    ];
    for (name, help, read) in families {
        text.family(name, Histogram, help);
        for (labels, requests) in &all {
            let Sizes { counts, bytes } = read(requests);
            buckets(text, labels, counts, |place| SIZES.get(place).map(|it| *it as f64));
            row(text, "_sum", labels, &[], *bytes);
        }
    }
    text.family("wabe_request_retries", Counter, "tries beyond each request's first");
    for (labels, requests) in &all {
        row(text, "_total", labels, &[], requests.retries);
    }
    backends(text, sums);
    proxies(text, sums);
}

fn durations(text: &mut Text, labels: &Labels, requests: &Requests) {
    buckets(text, labels, &requests.durations, |place| DURATIONS.get(place).map(|it| *it as f64 / 1000.0));
    let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, &**value)).collect();
    text.row("_sum", &labels, format_args!("{:?}", requests.microseconds as f64 / 1000.0));
}

/// How many were of which size, by the upper end of each place but the last.
fn buckets(text: &mut Text, labels: &Labels, counts: &[u64], end: impl Fn(usize) -> Option<f64>) {
    let mut count = 0_u64;
    for (place, more) in counts.iter().enumerate() {
        count = count.saturating_add(*more);
        // As OpenMetrics writes numbers: 5.0.
        let end = end(place).map_or("+Inf".into(), |it| format!("{it:?}"));
        row(text, "_bucket", labels, &[("le", &end)], count);
    }
    row(text, "_count", labels, &[], count);
}

/// The proxies themselves, by those that told lately; what they lost by all that there were.
fn proxies(text: &mut Text, sums: &Sums) {
    let fresh = || sums.live.iter().filter(|it| it.is_fresh()).map(|it| &it.figures);
    text.family("wabe_proxy_connections", Gauge, "callers' connections to the proxy that are open");
    text.row("", &[], fresh().map(|it| it.connections).fold(0, u64::saturating_add));
    text.family("wabe_proxy_generation", Gauge, "generation of what the proxy in charge goes by");
    // Those that drain are older.
    if let Some(newest) = fresh().next_back() {
        text.row("", &[], newest.generation);
    }
    text.family("wabe_access_log_lines_lost", Counter, "lines of the access log that nobody took in time");
    text.row("_total", &[], sums.lost_lines);
}

/// How they are now, all proxies together: not by what one said long ago.
fn backends(text: &mut Text, sums: &Sums) {
    type Read = fn(&BackendFigures) -> u32;
    let families: [(&'static str, &str, Read); 4] = [
        ("wabe_backend_connections", "connections of the proxy to endpoints of a service's port", |it| {
            it.connections
        }),
        ("wabe_backend_pending", "requests that wait for such a connection", |it| it.pending),
        ("wabe_backend_requests", "requests under way to a service's port", |it| it.requests),
        ("wabe_backend_ejected", "endpoints of a service's port that the proxy sends nothing now", |it| {
            it.ejected
        }),
    ];
    let told = || sums.live.iter().filter(|it| it.is_fresh()).flat_map(|it| &it.figures.backends);
    for (name, help, read) in families {
        text.family(name, Gauge, help);
        let mut values: BTreeMap<(&ObjectName, u16), u64> = BTreeMap::new();
        for it in told().filter(|it| sums.ejections.contains_key(&(it.service.clone(), it.port))) {
            *values.entry((&it.service, it.port)).or_default() += u64::from(read(it));
        }
        for ((service, port), value) in values {
            row(text, "", &backend(service, port), &[], value);
        }
    }
    text.family(
        "wabe_backend_ejections",
        Counter,
        "endpoints that the proxy ejected because requests failed",
    );
    for ((service, port), count) in &sums.ejections {
        row(text, "_total", &backend(service, *port), &[], *count);
    }
}

fn row(text: &mut Text, suffix: &str, labels: &Labels, more: &[(&str, &str)], value: u64) {
    let labels = labels.iter().map(|(name, value)| (*name, &**value));
    let labels: Vec<_> = labels.chain(more.iter().copied()).collect();
    text.row(suffix, &labels, value);
}

fn labels(subject: &Subject) -> Labels {
    let Subject { source, service, rule, destination, grpc } = subject;
    let (source_namespace, source) = parts(source.as_ref());
    let (destination_namespace, destination) = parts(destination.as_ref());
    let (namespace, name) = parts(service.as_ref());
    let full = service.as_ref().map_or(UNKNOWN.into(), ToString::to_string);
    let none = || ["-", "-", "-"].map(str::to_owned);
    let rule =
        rule.as_ref().map_or_else(none, |it: &Rule| [it.kind.clone(), it.route.to_string(), it.rule.clone()]);
    let protocol = if *grpc { "grpc" } else { "http" };
    let names = [source, source_namespace, destination, destination_namespace, full, name, namespace];
    written(names, protocol.into(), rule)
}

fn others() -> Labels {
    written([OTHER; 7].map(str::to_owned), OTHER.into(), [OTHER; 3].map(str::to_owned))
}

fn written(names: [String; 7], protocol: String, rule: [String; 3]) -> Labels {
    let [source, source_namespace, destination, destination_namespace, full, name, namespace] = names;
    let [kind, route, rule] = rule;
    vec![
        ("reporter", "waypoint".into()),
        ("source_workload", source),
        ("source_workload_namespace", source_namespace),
        ("destination_workload", destination),
        ("destination_workload_namespace", destination_namespace),
        ("destination_service", full),
        ("destination_service_name", name),
        ("destination_service_namespace", namespace),
        ("request_protocol", protocol),
        ("route_kind", kind),
        ("route", route),
        ("rule", rule),
    ]
}

fn parts(name: Option<&ObjectName>) -> (String, String) {
    name.map_or((UNKNOWN.into(), UNKNOWN.into()), |it| (it.namespace.clone(), it.name.clone()))
}

fn backend(service: &ObjectName, port: u16) -> Labels {
    vec![
        ("namespace", service.namespace.clone()),
        ("service", service.name.clone()),
        ("port", port.to_string()),
    ]
}
