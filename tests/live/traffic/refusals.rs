//! What is not there is told at once, by the error that fits.

use std::net::IpAddr;

use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    facts::{Facts, call_with},
};

use super::CALLER;

/// An address that nobody has: far off in the same range.
fn nobodys(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(it) => IpAddr::V4((it.to_bits() ^ 0x7f00).into()),
        IpAddr::V6(it) => IpAddr::V6((it.to_bits() ^ 0x7f00).into()),
    }
}

pub(super) fn whatever_is_not_there_is_refused_within_the_call(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let outside: [IpAddr; 2] = ["192.0.2.1".parse().expect("IPv4"), "2001:db8::1".parse().expect("IPv6")];
    let multicast: [IpAddr; 2] = ["224.0.0.1".parse().expect("IPv4"), "ff02::1".parse().expect("IPv6")];
    for (what, addresses, port, errno) in [
        ("a service without endpoint", facts.service("s/nobody"), 80, "EHOSTUNREACH"),
        ("a port that a service lacks", facts.service("s/web"), 79, "ECONNREFUSED"),
        ("an address of no service", facts.service("s/web").map(nobodys), 80, "EHOSTUNREACH"),
        ("an address of no workload", facts.addresses("s/web").map(nobodys), 80, "EHOSTUNREACH"),
        ("a port nobody listens on", facts.addresses("s/web"), 79, "ECONNREFUSED"),
        ("an address outside", outside, 80, "ENETUNREACH"),
        ("an address of a link", multicast, 80, "ENETUNREACH"),
        ("a service that admits nobody", facts.service("s/closed"), 80, "EPERM"),
        ("a workload that admits nobody", facts.addresses("s/closed"), 8080, "EPERM"),
    ] {
        for address in addresses {
            assert_eq!(call_with(mesh, CALLER, (address, port), &[]), errno, "{what}: {address}");
            let mapped = call_with(mesh, CALLER, (address, port), &["--source-mapped"]);
            assert_eq!(mapped, errno, "{what}: {address} mapped");
        }
    }
    let [v4, _] = facts.service("s/closed");
    let args = ["connect", &format!("{v4}:80"), "--count", "1000", "--summary"];
    let summary = mesh.testbox(CALLER, &args).success().json();
    assert_eq!(summary["by_errno"]["EPERM"], 1000);
    println!("slowest of 1000 refusals: {} us", summary["slowest_us"]);
}

pub(super) fn a_refusal_is_told_once_with_its_reason(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let before = facts.refusals("no_such_port");
    let target = format!("{}:77", facts.service("s/web")[0]);
    let _ = mesh.testbox(CALLER, &["connect", &target, "--count", "100", "--summary"]).success();
    assert_eq!(Facts::of(mesh).refusals("no_such_port") - before, 100, "all are counted");
    let of_these = || {
        let lines = mesh.wabe(&["flows", "-o", "json"]).success().json_lines();
        lines.into_iter().filter(|it| it["dialledPort"] == 77).collect::<Vec<_>>()
    };
    let lines = eventually("a line about it", || Some(of_these()).filter(|it| !it.is_empty()));
    assert!(lines.len() < 10, "one line for many refusals: {lines:?}");
    let line = &lines[0];
    assert_eq!(line["reason"], "no_such_port", "{line}");
    assert_eq!(line["from"]["workload"], CALLER, "{line}");
    assert_eq!((&line["kind"], &line["lane"]), (&"refused".into(), &"refused".into()), "{line}");
}
