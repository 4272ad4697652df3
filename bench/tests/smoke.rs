//! The benchmark from end to end, with tiny counts: that it gets figures and leaves nothing. What the figures are is
//! not looked at. Needs root, as all live tests, and Envoy, which the lab installs.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

/// The benchmark runs once at a time.
static ALONE: Mutex<()> = Mutex::new(());
const ROUNDS: usize = 1;

#[test]
fn measures_connections_and_leaves_nothing() {
    let result = run(&["connect"]);
    let arms = arms(&result["measures"][0]);
    assert_eq!(arms.len(), 8, "{result:#}");
    for arm in arms {
        assert_eq!(arm["rounds"].as_array().map(Vec::len), Some(ROUNDS), "{arm:#}");
    }
    assert!(result["environment"]["kernel"].is_string());
}

#[test]
fn measures_every_proxy_in_the_same_rounds() {
    every_proxy_has_figures(&["proxy-requests", "proxy-latency", "proxy-tail", "proxy-memory"]);
}

#[test]
fn measures_whether_idle_connections_and_routes_slow_a_proxy_down() {
    for measure in run(&["proxy-idle", "proxy-routes"])["measures"].as_array().expect("measures") {
        // Each of the four without and with.
        assert_eq!(measure["comparisons"].as_array().map(Vec::len), Some(4), "{measure:#}");
        assert_eq!(arms(measure).len(), 8, "{measure:#}");
    }
}

#[test]
fn measures_every_protocol_that_proxies_speak() {
    every_proxy_has_figures(&["proxy-http2", "proxy-grpc", "proxy-tcp"]);
}

/// Each of ours and the others has a value a round.
fn every_proxy_has_figures(measures: &[&str]) {
    let result = run(measures);
    let found = result["measures"].as_array().expect("measures");
    assert_eq!(found.len(), measures.len());
    for measure in found {
        assert_eq!(measure["notAvailable"], json!([]), "{measure:#}");
        for comparison in measure["comparisons"].as_array().expect("comparisons") {
            let arms = comparison["arms"].as_array().expect("arms");
            for name in ["wabe", "nginx", "haproxy", "envoy"] {
                assert!(arms.iter().any(|arm| arm["arm"] == name), "{name}: {measure:#}");
            }
        }
        for arm in arms(measure) {
            assert_eq!(arm["rounds"].as_array().map(Vec::len), Some(ROUNDS), "{arm:#}");
        }
    }
}

fn arms(measure: &Value) -> Vec<&Value> {
    let comparisons = measure["comparisons"].as_array().expect("comparisons");
    comparisons.iter().flat_map(|it| it["arms"].as_array().expect("arms")).collect()
}

/// What it wrote, after a look whether it left anything else.
fn run(measures: &[&str]) -> Value {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let bench = PathBuf::from(env!("CARGO_BIN_EXE_wabe-bench"));
    let wabe = std::env::var_os("WABE_BIN").map_or_else(|| bench.with_file_name("wabe"), PathBuf::from);
    assert!(wabe.exists(), "{} is missing: cargo build --package wabe", wabe.display());
    let out = std::env::temp_dir().join(format!("wabe-bench-smoke-{}.json", std::process::id()));
    let before = left();
    let run = Command::new(bench)
        .arg("--wabe")
        .arg(wabe)
        .args(measures)
        .args(["--quick", "--rounds", &ROUNDS.to_string(), "--out"])
        .arg(&out)
        .output()
        .expect("the benchmark starts");
    let text = std::fs::read_to_string(&out);
    let _ = std::fs::remove_file(&out);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(!Path::new("/var/lib/wabe-bench").exists(), "files are left");
    assert_eq!(left(), before);
    serde_json::from_str(&text.expect("a result")).expect("JSON")
}

/// What there is of benchmarks outside of their folder.
fn left() -> Vec<PathBuf> {
    let folders = ["/run/netns", "/tmp"];
    let entries = folders.iter().filter_map(|it| std::fs::read_dir(it).ok()).flatten().flatten();
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().map(|it| it.to_string_lossy());
        name.is_some_and(|name| ["wabe-bench-", "bench-"].iter().any(|it| name.starts_with(it)))
    };
    let mut left: Vec<_> = entries.map(|it| it.path()).filter(is_ours).collect();
    left.sort();
    left
}
