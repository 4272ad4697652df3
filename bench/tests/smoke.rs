//! The benchmark from end to end, with tiny counts: that it gets figures and leaves nothing. What the figures are is
//! not looked at. Needs root, as all live tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

#[test]
fn measures_connections_and_leaves_nothing() {
    let bench = PathBuf::from(env!("CARGO_BIN_EXE_wabe-bench"));
    let wabe = std::env::var_os("WABE_BIN").map_or_else(|| bench.with_file_name("wabe"), PathBuf::from);
    assert!(wabe.exists(), "{} is missing: cargo build --package wabe", wabe.display());
    let out = std::env::temp_dir().join(format!("wabe-bench-smoke-{}.json", std::process::id()));
    let run = Command::new(bench)
        .arg("--wabe")
        .arg(wabe)
        .args(["connect", "--quick", "--rounds", "2", "--out"])
        .arg(&out)
        .output()
        .expect("the benchmark starts");
    let text = std::fs::read_to_string(&out);
    let _ = std::fs::remove_file(&out);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let result: Value = serde_json::from_str(&text.expect("a result")).expect("JSON");
    let comparisons = result["measures"][0]["comparisons"].as_array().expect("comparisons");
    let arms: Vec<&Value> = comparisons.iter().flat_map(|it| it["arms"].as_array().expect("arms")).collect();
    assert_eq!(arms.len(), 8, "{result:#}");
    for arm in arms {
        assert_eq!(arm["rounds"].as_array().map(Vec::len), Some(2), "{arm:#}");
    }
    assert!(result["environment"]["kernel"].is_string());
    assert!(!Path::new("/var/lib/wabe-bench").exists(), "files are left");
    for folder in ["/run/netns", "/tmp"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.file_name());
        let left: Vec<_> = entries.filter(|it| it.to_string_lossy().starts_with("wabe-bench-")).collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}
