//! What the lab says to words that make no sense, before anything is made.

use super::{alone, finish, folder, left, said, wabe_lab};

#[test]
fn words_that_make_no_sense_are_refused_with_those_that_do() {
    let _machine = alone();
    for (words, status, expected) in [
        (&["run", "latancy"][..], 2, "`latancy` is no scenario; they are latency, capacity"),
        (
            &["run", "latency", "--arms", "envoy"],
            2,
            "`envoy` is no data path; they are none, kube-proxy-iptables",
        ),
        (&["run", "latency", "--repeat", "0"], 2, "--repeat"),
        (&["run"], 2, "SCENARIO"),
        (&["run", "latency", "--out", "/proc/no/folder"], 3, "choose another folder by --out"),
        (&["flood", "--services", "70000", "--pods", "1"], 3, "at most 65536"),
        (&["report", "/nowhere"], 3, "results.json"),
        (&["load", "http://127.0.0.1:1/", "--rate", "10", "--duration", "0s"], 3, "duration"),
        (&["load", "ftp://127.0.0.1:1/", "--rate", "10", "--duration", "1s"], 3, "ftp"),
    ] {
        let output = finish(wabe_lab(words));
        let said = said(&output);
        assert!(
            output.status.code() == Some(status) || status == 3 && !output.status.success(),
            "{words:?}: {said}"
        );
        assert!(said.contains(expected), "{words:?}: {said}");
    }
    assert_eq!(left(), Vec::<String>::new());
}

#[test]
fn what_can_run_here_and_what_can_not_is_listed_with_why() {
    let output = finish(wabe_lab(&["list"]));
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for expected in
        ["latency", "sidecar-iptables", "wabe-direct", "not built yet: Wabe has no mTLS between nodes", "wrk"]
    {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_missing_envoy_is_told_with_the_command_that_gets_it() {
    let _machine = alone();
    let (_folder, out) = folder();
    let out = out.to_str().expect("a path in UTF-8");
    let mut command = wabe_lab(&["run", "latency", "--quick", "--arms", "sidecar-iptables", "--out", out]);
    let output = finish({
        command.env("WABE_LAB_ENVOY", "/nowhere/envoy");
        command
    });
    let said = said(&output);
    assert!(!output.status.success() && said.contains("/nowhere/envoy"), "{said}");
    assert!(!std::path::Path::new(out).join("results.json").exists(), "results of nothing");
    assert_eq!(left(), Vec::<String>::new());
}

#[test]
fn a_flood_is_counted_timed_and_removed() {
    let _machine = alone();
    for tech in ["iptables", "iptables-nft", "nftables", "ebpf"] {
        let output =
            finish(wabe_lab(&["flood", "--services", "20", "--pods", "5", "--tech", tech, "-o", "json"]));
        assert!(output.status.success(), "{}", said(&output));
        let facts: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(facts["count"].as_u64().expect("a number") >= 120, "{facts}");
        assert!(facts["changed"].as_f64().expect("a time") > 0.0, "{facts}");
        assert_eq!(left(), Vec::<String>::new(), "{tech}");
    }
    // A kernel with IPVS is looked for in a virtual machine: here what is missing is told, and what helps.
    if !std::path::Path::new("/proc/net/ip_vs").exists() {
        let output = finish(wabe_lab(&["flood", "--services", "1", "--pods", "1", "--tech", "ipvs"]));
        let said = said(&output);
        assert!(!output.status.success() && said.contains("modprobe ip_vs"), "{said}");
        assert_eq!(left(), Vec::<String>::new());
    }
}
