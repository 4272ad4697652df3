//! What a made-up run tells besides its samples.

use wabe_lab::results::{Breakdown, Canary, CrossCheck, Environment, Share, Tool};

pub fn environment() -> Environment {
    let tool = |name: &str, version: &str| Tool {
        name: name.into(),
        version: version.into(),
        sha256: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into()),
    };
    Environment {
        kernel: "6.18.0".into(),
        processor: "Example Processor @ 2.60 GHz".into(),
        cores: 2,
        memory: 8 << 30,
        virtualised: Some("kvm".into()),
        emulated: false,
        tools: vec![tool("envoy", "1.40.0"), tool("nginx", "1.22.1"), tool("iptables-legacy", "1.8.9")],
        client_core: 0,
        server_core: 1,
        optimised: true,
    }
}

pub fn cross_checks() -> Vec<CrossCheck> {
    let check = |peer: &str, ours: [f64; 6], theirs: [f64; 6]| CrossCheck {
        peer: peer.into(),
        what: "HTTP/1.1, 32 connections, requests/s".into(),
        ours: ours.to_vec(),
        theirs: theirs.to_vec(),
        missing: None,
    };
    let ours = [91_000.0, 93_500.0, 90_100.0, 94_000.0, 92_200.0, 91_900.0];
    let missing = Some("h2load is not installed: apt-get install nghttp2-client".into());
    let what = "HTTP/2, 32 streams, requests/s".into();
    let h2load = CrossCheck { peer: "h2load".into(), what, ours: Vec::new(), theirs: Vec::new(), missing };
    vec![check("wrk", ours, ours.map(|it| it * 1.03)), check("hey", ours, ours.map(|it| it * 0.6)), h2load]
}

pub fn breakdowns() -> Vec<Breakdown> {
    let names = [
        "proxy in user space",
        "TCP/IP",
        "TLS",
        "wake-ups and scheduling",
        "netfilter",
        "server",
        "client",
        "eBPF",
    ];
    let breakdown = |arm: &str, per_request, shares: [f64; 8]| {
        let mut shares: Vec<Share> =
            names.iter().zip(shares).map(|(what, share)| Share { what: (*what).into(), share }).collect();
        shares.sort_by(|a, b| b.share.total_cmp(&a.share));
        let calls = Some(18.0);
        Breakdown {
            arm: arm.into(),
            point: "latency-1000".into(),
            rate: 1_000.0,
            per_request,
            shares,
            looks: 9_800,
            switches: 9.1,
            calls,
        }
    };
    vec![
        breakdown("none", 31.0, [0.0, 0.45, 0.0, 0.27, 0.0, 0.16, 0.12, 0.0]),
        breakdown("sidecar-iptables", 205.0, [0.41, 0.21, 0.13, 0.12, 0.06, 0.04, 0.03, 0.0]),
        breakdown("sidecar-ebpf", 197.0, [0.43, 0.22, 0.13, 0.12, 0.01, 0.04, 0.03, 0.02]),
        breakdown("wabe-direct", 27.0, [0.0, 0.36, 0.0, 0.30, 0.0, 0.18, 0.13, 0.03]),
    ]
}

pub fn canaries() -> Vec<Canary> {
    let canary = |name: &str, expected: &str, arm: &str, holds, seen: &str| Canary {
        name: name.into(),
        expected: expected.into(),
        arm: arm.into(),
        holds,
        seen: seen.into(),
    };
    vec![
        canary("splice", "splice() returns the bytes that are queued", "none", true, "65 536 of 65 536 B"),
        canary(
            "splice",
            "splice() returns the bytes that are queued",
            "sidecar-ebpf-sockmap",
            false,
            "EAGAIN although 4 096 B were queued",
        ),
        canary(
            "reset",
            "closing with unread data sends a reset",
            "sidecar-ebpf-sockmap",
            false,
            "no reset within 1 s",
        ),
        canary("order", "bytes arrive in order", "sidecar-ebpf-sockmap", true, "16 MiB in order"),
    ]
}
