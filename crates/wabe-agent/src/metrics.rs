//! How the mesh is, for machines: as text over a Unix socket and loopback TCP.
//!
//! docs/metrics.md lists every family; a test compares.

use wabe_keeper::protocol::ChildState;

use crate::{api::Status, figures::Sums};

mod requests;
mod serve;
mod text;
mod traffic;

pub(crate) use serve::{Processes, serve};
pub(crate) use traffic::Traffic;

use text::{
    Kind::{self, Counter, Gauge},
    Text,
};

/// Everything as text.
fn render(
    format: text::Format,
    status: &Status,
    processes: &[ChildState],
    traffic: &Traffic,
    sums: &Sums,
) -> String {
    let mut text = Text::new(format);
    text.family("wabe_build", Kind::Info, "the agent's version");
    text.row("_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.family("wabe_generation", Gauge, "raised with each change of the kernel's tables");
    text.row("", &[], status.generation);
    text.family("wabe_connections", Gauge, "accepted connections that are open");
    text.row("", &[], status.connections);
    text.family("wabe_lane_decisions", Counter, "connections and datagrams that were let go, by lane");
    for lane in &status.lanes {
        text.row("_total", &[("lane", &lane.name)], lane.count);
    }
    text.family("wabe_refusals", Counter, "what was refused, by reason");
    for reason in all_reasons(status) {
        text.row("_total", &[("reason", reason.0)], reason.1);
    }
    text.family("wabe_events_lost", Counter, "reports of connections that found no room in the ring buffer");
    text.row("_total", &[], status.events_lost);
    text.family("wabe_affinities_lost", Counter, "callers that could not be noted to stay at their endpoint");
    text.row("_total", &[], status.affinities_lost);
    text.family("wabe_exchanges_lost", Counter, "exchanges of datagrams that found no room");
    text.row("_total", &[], status.exchanges_lost);
    text.family("wabe_ejections", Counter, "endpoints ejected because connections to them failed");
    text.row("_total", &[], status.ejections);
    text.family("wabe_map_entries", Gauge, "rows in use of a map in the kernel");
    for map in &status.maps {
        if let Some(used) = map.used {
            text.row("", &[("map", &map.name)], used);
        }
    }
    text.family("wabe_map_limit", Gauge, "rows that a map in the kernel has room for");
    for map in &status.maps {
        text.row("", &[("map", &map.name)], map.limit);
    }
    text.family("wabe_process_restarts", Gauge, "how often the keeper started a process of the mesh again");
    for process in processes {
        text.row("", &[("process", &process.name)], process.restarts);
    }
    workloads(&mut text, status);
    services(&mut text, status);
    traffic.render(&mut text);
    requests::render(&mut text, sums);
    text.end()
}

/// Every reason, those that never occurred too: a dashboard must not miss the first one.
fn all_reasons(status: &Status) -> Vec<(&str, u64)> {
    let known = wabe_abi::DropReason::ALL.iter().map(|reason| reason.name());
    let of = |name: &str| status.refusals.iter().find(|it| it.name == name).map_or(0, |it| it.count);
    let mut all: Vec<(&str, u64)> = known.map(|name| (name, of(name))).collect();
    let others = status.refusals.iter().filter(|it| all.iter().all(|(name, _)| *name != it.name));
    let others: Vec<_> = others.map(|it| (it.name.as_str(), it.count)).collect();
    all.extend(others);
    all
}

fn workloads(text: &mut Text, status: &Status) {
    text.family("wabe_workload_replicas", Gauge, "replicas that there should be");
    for workload in &status.workloads {
        text.row("", &labels(&workload.name), workload.wanted);
    }
    text.family("wabe_workload_ready", Gauge, "replicas that are ready");
    for workload in &status.workloads {
        text.row("", &labels(&workload.name), workload.ready);
    }
    text.family(
        "wabe_workload_restarts",
        Gauge,
        "how often the processes of the replicas were started again",
    );
    for workload in &status.workloads {
        let restarts: u64 = workload.instances.iter().map(|it| u64::from(it.restarts)).sum();
        text.row("", &labels(&workload.name), restarts);
    }
}

fn services(text: &mut Text, status: &Status) {
    text.family("wabe_service_endpoints", Gauge, "endpoints of a service by state");
    for service in &status.services {
        let count = |state: fn(&crate::api::EndpointStatus) -> bool| {
            service.endpoints.iter().filter(|it| state(it)).count() as u64
        };
        let [namespace, name] = labels(&service.name);
        let name = ("service", name.1);
        for (state, value) in [
            ("ready", count(|it| it.ready && !it.ejected)),
            ("ejected", count(|it| it.ejected)),
            ("unready", count(|it| !it.ready && !it.ejected)),
        ] {
            text.row("", &[namespace, name, ("state", state)], value);
        }
    }
}

/// `namespace/name` as labels.
fn labels(name: &str) -> [(&'static str, &str); 2] {
    let (namespace, workload) = name.split_once('/').unwrap_or(("", name));
    [("namespace", namespace), ("workload", workload)]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wabe_model::ObjectName;
    use wabe_proxy::figures::{Answers, BackendFigures, Figures, Requests, Rule, SIZES, Sizes, Subject};

    use super::*;
    use crate::{
        api::{
            CounterStatus, EndpointStatus, Flow, FlowKind, InstanceStatus, MapStatus, ServiceStatus,
            WorkloadStatus,
        },
        figures::Live,
    };

    /// A status with something of everything.
    fn status() -> Status {
        let instance = InstanceStatus {
            id: 1,
            replica: 0,
            phase: "started".into(),
            ready: true,
            addresses: Vec::new(),
            pid: Some(7),
            restarts: 2,
            live: 1,
            total: 3,
            trouble: None,
        };
        let endpoint = EndpointStatus {
            id: 1,
            proxy_ejected: false,
            workload: "shop/web".into(),
            replica: 0,
            ready: true,
            weight: 100,
            live: 1,
            ejected: false,
        };
        Status {
            mesh: "default".into(),
            generation: 9,
            agent: 1,
            workloads: vec![WorkloadStatus {
                name: "shop/web".into(),
                principal: "cluster.local/ns/shop/sa/default".into(),
                ready: 1,
                wanted: 2,
                instances: vec![instance],
            }],
            services: vec![ServiceStatus {
                name: "shop/web".into(),
                addresses: Vec::new(),
                ports: Vec::new(),
                balance: "random".into(),
                endpoints: vec![EndpointStatus { ejected: true, ..endpoint.clone() }, endpoint],
            }],
            lanes: vec![CounterStatus { name: "direct".into(), count: 5 }],
            refusals: vec![CounterStatus { name: "egress".into(), count: 4 }],
            connections: 1,
            maps: vec![MapStatus { name: "TICKETS".into(), used: Some(3), limit: 8 }],
            ..Status::default()
        }
    }

    fn flow(kind: FlowKind) -> Flow {
        let text = r#"{"time":1,"kind":"opened","reporters":["source","destination"],"protocol":"tcp",
            "from":{"workload":"shop/front","replica":0,"address":null,"port":1},
            "to":{"workload":"shop/web","replica":0,"address":null,"port":80},
            "service":"shop/web","dialled":null,"dialledPort":80,"lane":"direct","verdict":"allowed","reason":null,
            "rule":null,"generation":9,"bytesSent":10,"bytesReceived":20,"duration":1,"rtt":1,"retransmits":0,"reset":false,
            "suppressed":0}"#;
        Flow { kind, ..serde_json::from_str(text).expect("a flow") }
    }

    /// So many of at most 64 bytes, so many of more than 64 MiB.
    fn sizes(short: u64, long: u64, bytes: u64) -> Sizes {
        let mut sizes = Sizes { bytes, ..Sizes::default() };
        (sizes.counts[0], sizes.counts[SIZES.len()]) = (short, long);
        sizes
    }

    fn sums() -> Sums {
        let name = ObjectName::new;
        let rule = Rule { kind: "HTTPRoute".into(), route: name("shop", "canary"), rule: "first".into() };
        let (source, service) = (Some(name("shop", "front")), Some(name("shop", "web")));
        let destination = Some(name("shop", "web-new"));
        let subject =
            Subject { source, service: service.clone(), rule: Some(rule), destination, grpc: false };
        let calls = Subject { grpc: true, ..subject.clone() };
        let told = |grpc, count| Answers { code: 200, grpc, reason: None, count };
        let answered = vec![told(Some(0), 5), told(Some(14), 6), told(None, 7)];
        let of_calls = Requests { answers: answered, ..Requests::default() };
        let mut durations = [0; 15];
        (durations[0], durations[14]) = (2, 1);
        let answers =
            vec![told(None, 2), Answers { code: 503, grpc: None, reason: Some("overflow".into()), count: 1 }];
        let requests = Requests {
            answers: answers.clone(),
            retries: 4,
            durations,
            microseconds: 12_500_250,
            received: sizes(2, 1, 100),
            sent: sizes(1, 2, 200_000_000),
        };
        let backend = BackendFigures {
            service: name("shop", "web"),
            port: 80,
            connections: 3,
            pending: 2,
            requests: 1,
            ejections: 0,
            ejected: 1,
            endpoints: Vec::new(),
        };
        let unknown = BackendFigures { service: name("shop", "evil"), ..backend.clone() };
        let figures =
            |backends, generation| Figures { backends, generation, connections: 5, ..Figures::default() };
        let (fresh, old) = (Duration::from_millis(1900), Duration::from_secs(60));
        Sums {
            requests: [(subject, requests), (calls, of_calls)].into(),
            other: Requests { answers, ..Requests::default() },
            ejections: [((name("shop", "web"), 80), 7)].into(),
            lost_lines: 11,
            live: vec![
                Live { figures: figures(vec![backend.clone(), unknown], 7), age: fresh },
                Live { figures: figures(vec![backend.clone()], 8), age: fresh },
                Live { figures: figures(vec![backend], 9), age: old },
            ],
        }
    }

    fn rendered() -> String {
        let mut traffic = Traffic::default();
        traffic.add(&flow(FlowKind::Opened));
        traffic.add(&flow(FlowKind::Closed));
        let dns = ChildState {
            name: "dns".into(),
            pid: Some(8),
            restarts: 6,
            since_ms: 0,
            last_exit: None,
            problem: None,
            draining: Vec::new(),
        };
        render(text::Format::OpenMetrics, &status(), &[dns], &traffic, &sums())
    }

    #[test]
    fn every_family_is_in_the_document_and_the_other_way_round() {
        let mut families = Vec::new();
        let text = rendered();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[0].starts_with("# TYPE ")) {
            let mut words = pair[0].split(' ').skip(2);
            let (name, kind) = (words.next().expect("a name"), words.next().expect("a type"));
            let help = pair[1].splitn(4, ' ').nth(3).expect("a help");
            families.push(format!("| `{name}` | {kind} | {help} |"));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let document = std::fs::read_to_string(path).expect("docs/metrics.md");
        let rows = document.lines().filter(|it| it.starts_with("| `"));
        let listed: Vec<String> = rows.map(String::from).collect();
        assert_eq!(listed, families, "docs/metrics.md and the families differ");
    }

    /// Both lines of one call, as `wabe flows` shows them: to the proxy, and the proxy's to the endpoint.
    #[test]
    fn a_call_that_the_proxy_relays_is_one_connection() {
        let mut traffic = Traffic::default();
        for kind in [FlowKind::Opened, FlowKind::Closed] {
            let onwards = Flow { service: None, ..flow(kind) };
            let to_proxy = Flow {
                reporters: vec!["source".into()],
                to: crate::api::End { workload: None, replica: None, ..onwards.to.clone() },
                service: Some("shop/web".into()),
                lane: "proxy".into(),
                ..onwards.clone()
            };
            traffic.add(&to_proxy);
            traffic.add(&onwards);
        }
        let text = render(text::Format::OpenMetrics, &status(), &[], &traffic, &sums());
        for family in ["opened_total", "closed_total"] {
            let family = format!("istio_tcp_connections_{family}");
            let rows: Vec<&str> = text.lines().filter(|it| it.starts_with(&family)).collect();
            assert_eq!(rows.len(), 2, "each end reports it once: {rows:?}");
            for row in rows {
                assert!(row.contains("destination_workload=\"web\"") && row.ends_with(" 1"), "{row}");
            }
        }
    }

    #[test]
    fn values_stand_behind_their_labels() {
        let text = rendered();
        for line in [
            "wabe_generation 9",
            "wabe_lane_decisions_total{lane=\"direct\"} 5",
            "wabe_refusals_total{reason=\"egress\"} 4",
            "wabe_refusals_total{reason=\"policy_deny\"} 0",
            "wabe_process_restarts{process=\"dns\"} 6",
            "wabe_map_entries{map=\"TICKETS\"} 3",
            "wabe_map_limit{map=\"TICKETS\"} 8",
            "wabe_workload_restarts{namespace=\"shop\",workload=\"web\"} 2",
            "wabe_service_endpoints{namespace=\"shop\",service=\"web\",state=\"ejected\"} 1",
            "wabe_backend_connections{namespace=\"shop\",service=\"web\",port=\"80\"} 6",
            "wabe_backend_pending{namespace=\"shop\",service=\"web\",port=\"80\"} 4",
            "wabe_backend_requests{namespace=\"shop\",service=\"web\",port=\"80\"} 2",
            "wabe_backend_ejected{namespace=\"shop\",service=\"web\",port=\"80\"} 2",
            "wabe_backend_ejections_total{namespace=\"shop\",service=\"web\",port=\"80\"} 7",
            "wabe_proxy_connections 10",
            "wabe_proxy_generation 8",
            "wabe_access_log_lines_lost_total 11",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("evil"), "{text}");
        let bytes = text.lines().find(|it| it.starts_with("istio_tcp_sent_bytes_total{reporter=\"source\""));
        assert!(bytes.is_some_and(|it| it.ends_with(" 20")), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn requests_are_told_by_route_code_and_reason() {
        let text = rendered();
        let labels = "reporter=\"waypoint\",source_workload=\"front\",source_workload_namespace=\"shop\",\
                      destination_workload=\"web-new\",destination_workload_namespace=\"shop\",\
                      destination_service=\"shop/web\",destination_service_name=\"web\",\
                      destination_service_namespace=\"shop\",request_protocol=\"PROTOCOL\",\
                      route_kind=\"HTTPRoute\",route=\"shop/canary\",rule=\"first\"";
        let of = |family: &str, more: &str, value: &str| {
            let protocol = if more.contains("grpc") { "grpc" } else { "http" };
            let labels = labels.replace("PROTOCOL", protocol);
            format!("{family}{{{labels}{more}}} {value}")
        };
        for line in [
            of("istio_requests_total", ",response_code=\"200\",response_flags=\"-\"", "2"),
            of("istio_requests_total", ",response_code=\"503\",response_flags=\"overflow\"", "1"),
            of(
                "istio_requests_total",
                ",response_code=\"200\",response_flags=\"-\",grpc_response_status=\"0\"",
                "5",
            ),
            of(
                "istio_requests_total",
                ",response_code=\"200\",response_flags=\"-\",grpc_response_status=\"14\"",
                "6",
            ),
            of("istio_request_duration_milliseconds_bucket", ",le=\"0.5\"", "2"),
            of("istio_request_duration_milliseconds_bucket", ",le=\"10000.0\"", "2"),
            of("istio_request_duration_milliseconds_bucket", ",le=\"+Inf\"", "3"),
            of("istio_request_duration_milliseconds_count", "", "3"),
            of("istio_request_duration_milliseconds_sum", "", "12500.25"),
            of("istio_request_bytes_bucket", ",le=\"64.0\"", "2"),
            of("istio_request_bytes_bucket", ",le=\"67108864.0\"", "2"),
            of("istio_request_bytes_bucket", ",le=\"+Inf\"", "3"),
            of("istio_request_bytes_count", "", "3"),
            of("istio_request_bytes_sum", "", "100"),
            of("istio_response_bytes_bucket", ",le=\"64.0\"", "1"),
            of("istio_response_bytes_count", "", "3"),
            of("istio_response_bytes_sum", "", "200000000"),
            of("wabe_request_retries_total", "", "4"),
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("source_workload=\"other\""), "{text}");
    }
}
