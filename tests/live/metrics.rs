//! Scrapes say what happened, over both sockets, and outlive an agent.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    facts::{Facts, call},
    manifest::{Policy, Service, Workload, all},
};

const CALLER: &str = "a/caller";

#[test]
fn metrics() {
    let refuse =
        json!({ "action": "DENY", "selector": { "matchLabels": { "app": "vault" } }, "rules": [{}] });
    let mesh = TestMesh::up(&all(&[
        &Workload::idle(CALLER),
        &Workload::server("s/web"),
        &Service::new("s/web"),
        &Workload::server("s/vault"),
        &Policy::new("s/refuse", refuse),
    ]));
    let facts = Facts::of(&mesh);
    let web = SocketAddr::from((facts.service("s/web")[0], 80));
    let vault = SocketAddr::from((facts.addresses("s/vault")[0], 8080));
    for _ in 0..7 {
        assert_eq!(call(&mesh, CALLER, web), "web/0");
    }
    for _ in 0..3 {
        assert_eq!(call(&mesh, CALLER, vault), "EPERM");
    }
    let pair = "destination_service=\"s/web\"";
    let opened =
        |scrape: &Scrape| scrape.sum("istio_tcp_connections_opened_total", &["reporter=\"source\"", pair]);
    // Both ends' reports are joined within milliseconds.
    let ours = ["reporter=\"source\"", pair];
    let scrape = eventually("all seven are counted", || {
        let scrape = Scrape::over_unix(&mesh);
        (scrape.sum("istio_tcp_connections_closed_total", &ours) == 7).then_some(scrape)
    });
    assert_eq!(opened(&scrape), 7);
    // The server says `web/0` and a line's end; the caller says nothing.
    assert_eq!(scrape.sum("istio_tcp_sent_bytes_total", &ours), 7 * 6);
    assert_eq!(scrape.sum("istio_tcp_received_bytes_total", &ours), 0);
    assert_eq!(scrape.sum("wabe_refusals_total", &["reason=\"policy_deny\""]), 3);
    assert_eq!(scrape.sum("wabe_workload_ready", &["workload=\"web\""]), 1);
    assert_eq!(scrape.sum("wabe_service_endpoints", &["service=\"web\"", "state=\"ready\""]), 1);
    let generation = mesh.json(&["status"])["generation"].as_u64().expect("a number");
    assert_eq!(scrape.sum("wabe_generation", &[]), generation);

    // The keeper listens on the host; what answers may be another agent.
    let address = mesh.json(&["status"])["metrics"].as_str().expect("an address").to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let over_tcp = || mesh.machine().namespace().run(|| Scrape::over_tcp(&address));
    assert_eq!(opened(&over_tcp()), 7);
    // A client that says nothing is given up.
    let _slow = mesh.machine().namespace().run(|| TcpStream::connect(&address).expect("the keeper listens"));
    assert_eq!(opened(&over_tcp()), 7);
    let killed = mesh.machine().kill_role("agent");
    let again = over_tcp();
    assert!(again.sum("wabe_generation", &[]) >= generation, "the generation went back");
    eventually("another agent", || mesh.machine().role("agent").filter(|it| *it != killed));
    assert_eq!(mesh.json(&["status"])["metrics"], address);
    assert_eq!(over_tcp().sum("wabe_process_restarts", &["process=\"agent\""]), 1);
    mesh.down();
}

/// A scrape's rows: name and labels as written, and value.
struct Scrape(BTreeMap<String, u64>);

impl Scrape {
    fn over_unix(mesh: &TestMesh) -> Self {
        Self::parse(&mesh.wabe(&["metrics"]).success().stdout)
    }

    fn over_tcp(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("the keeper listens");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\naccept: application/openmetrics-text\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
        Self::parse(body)
    }

    /// As strictly as OpenMetrics 1.0 is: a family begins with its type, its rows bear its name and the suffix of its
    /// type, no row comes twice, and the end is marked.
    fn parse(text: &str) -> Self {
        let (mut rows, mut family, mut families) = (BTreeMap::new(), ("", ""), Vec::new());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.last(), Some(&"# EOF"), "{text}");
        for line in &lines[..lines.len() - 1] {
            if let Some(words) = line.strip_prefix("# TYPE ") {
                family = words.split_once(' ').expect("a name and a type");
                assert!(!families.contains(&family.0), "{line}: twice");
                families.push(family.0);
            } else if let Some(words) = line.strip_prefix("# HELP ") {
                assert!(words.starts_with(family.0), "{line}");
            } else {
                let (row, value) = line.rsplit_once(' ').expect("a value");
                let name = row.split('{').next().expect("a name");
                let suffixes: &[&str] = match family.1 {
                    "counter" => &["_total"],
                    "info" => &["_info"],
                    "gauge" => &[""],
                    "histogram" => &["_bucket", "_count", "_sum"],
                    other => panic!("no type {other}"),
                };
                assert!(suffixes.iter().any(|suffix| name == format!("{}{suffix}", family.0)), "{line}");
                assert!(row.matches('{').count() == row.matches('}').count(), "{line}");
                let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
                assert!(rows.insert(row.to_owned(), value).is_none(), "{line}: twice");
            }
        }
        Self(rows)
    }

    /// All rows of this name with these labels together.
    fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        let is_one =
            |row: &str| row.split('{').next() == Some(name) && labels.iter().all(|it| row.contains(it));
        self.0.iter().filter(|(row, _)| is_one(row)).map(|(_, value)| value).sum()
    }
}
