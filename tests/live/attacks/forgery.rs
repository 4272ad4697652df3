//! Addresses prove nothing.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
};

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::{
    Applied,
    facts::{Facts, answer, call, call_with, until_nothing_lives},
    manifest::Policy,
};

use super::{ATTACKER, FRIEND, OPEN, RAW, VICTIM};

/// TCP segments that came in at a workload, IPv4 and IPv6, as its own kernel counts them.
fn segments(mesh: &TestMesh, workload: &str) -> u64 {
    let mut command = Command::new("nsenter");
    let pid = Facts::of(mesh).pid(workload);
    command.arg(format!("--net=/proc/{pid}/ns/net")).args(["cat", "/proc/thread-self/net/snmp"]);
    let text = mesh.machine().run(command).success().stdout;
    let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (tcp.next().expect("names"), tcp.next().expect("values"));
    let at = names.split(' ').position(|it| it == "InSegs").expect("a known counter");
    values.split(' ').nth(at).expect("a value").parse().expect("a number")
}

pub(super) fn forged_packets_do_not_leave_a_workload(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let (friend, open) = (facts.addresses(FRIEND), facts.addresses(OPEN));
    let outside = ["192.0.2.7", "2001:db8::7"].map(|it| it.parse().expect("an address"));
    let spoof = |from: &str, source: IpAddr, target: IpAddr| {
        mesh.testbox(from, &["spoof", &source.to_string(), &target.to_string(), "8080"]).success()
    };
    for (source, target) in [(friend, open), (outside, open)].iter().flat_map(|it| it.0.into_iter().zip(it.1))
    {
        let before = Facts::of(mesh).refusals("forged_source");
        let sent = spoof(RAW, source, target);
        assert!(sent.json_lines().iter().all(|it| it["ok"] == true), "NET_RAW lets them be sent: {sent}");
        let dropped = Facts::of(mesh).refusals("forged_source") - before;
        assert_eq!(dropped, 2, "the guard drops both, from {source} to {target}");
    }
    // The sender's own address is no forgery. The packets arrive, but bring no ticket.
    let own = facts.addresses(RAW)[0];
    let (before, guarded) = (segments(mesh, OPEN), Facts::of(mesh).refusals("forged_source"));
    let _ = spoof(RAW, own, open[0]);
    assert!(segments(mesh, OPEN) > before, "packets with the true address arrive");
    assert_eq!(Facts::of(mesh).refusals("forged_source"), guarded);
    let flows = mesh.wabe(&["flows", "-o", "json"]).success().json_lines();
    // The port that the box sends from.
    assert!(
        !flows.iter().any(|it| it["kind"] == "opened" && it["from"]["port"] == 40_999),
        "one was accepted"
    );
    // Without the capability there is no such socket.
    let refused = spoof(ATTACKER, own, open[0]);
    assert!(refused.json_lines().iter().all(|line| line["errno"] == "EPERM"), "{refused}");
}

pub(super) fn a_foreign_address_can_be_bound_but_not_used(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    for family in [0, 1] {
        let source = facts.addresses(FRIEND)[family].to_string();
        for workload in [VICTIM, OPEN] {
            let target = SocketAddr::from((facts.addresses(workload)[family], 8080)).to_string();
            let got = answer(&mesh.testbox(ATTACKER, &["foreign-bind", &source, &target]));
            assert!(!got.ends_with("/0"), "{workload} answered {got} to the attacker as {source}");
        }
    }
    // And it takes nothing from whom the address belongs to.
    for address in facts.addresses(VICTIM) {
        assert_eq!(call(mesh, FRIEND, (address, 8080)), "victim/0");
    }
}

pub(super) fn a_mapped_address_does_not_dodge_a_rule(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let [v4, _] = facts.addresses(ATTACKER);
    let [target, target_v6] = facts.addresses(OPEN);
    let deny = |blocks: serde_json::Value| {
        let rules = json!([{ "from": [{ "source": { "ipBlocks": blocks } }] }]);
        Policy::new("s/blocks", json!({ "action": "DENY", "rules": rules })).to_string()
    };
    let applied = Applied::new(mesh, deny(json!([v4.to_string()])));
    assert_eq!(call(mesh, ATTACKER, (target, 8080)), "EPERM");
    assert_eq!(call_with(mesh, ATTACKER, (target, 8080), &["--source-mapped"]), "EPERM");
    assert_eq!(call(mesh, ATTACKER, (target_v6, 8080)), "open/0", "its other address is another matter");
    assert_eq!(call_with(mesh, FRIEND, (target, 8080), &["--source-mapped"]), "open/0");
    drop(applied);
    // Everything of IPv6 says nothing of IPv4, mapped or not.
    let _applied = Applied::new(mesh, deny(json!(["::/0"])));
    assert_eq!(call_with(mesh, ATTACKER, (target, 8080), &["--source-mapped"]), "open/0");
    assert_eq!(call(mesh, ATTACKER, (target_v6, 8080)), "EPERM");
}

pub(super) fn an_accepted_socket_that_calls_leaves_nothing_behind(mesh: &TestMesh) {
    // A socket that was accepted over loopback, disconnected, and calls: each call fails, as nobody listens at that port.
    let target = Facts::of(mesh).instances(OPEN)[0]["addresses"][0].as_str().expect("an address").to_owned();
    let code = format!(
        r#"
import ctypes, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
listener = socket.create_server(("", 0))
errors = []
for _ in range(20):
    other = socket.create_connection(("127.0.0.1", listener.getsockname()[1]))
    accepted, _ = listener.accept()
    other.close()
    unspecified = struct.pack("H14x", socket.AF_UNSPEC)
    assert libc.connect(accepted.fileno(), unspecified, len(unspecified)) == 0, ctypes.get_errno()
    accepted.settimeout(5)
    errors.append(accepted.connect_ex(("{target}", 9)))
    accepted.close()
print(sorted(set(errors)))
"#
    );
    let said = mesh.exec(ATTACKER, &["python3", "-c", &code]).success();
    // ECONNREFUSED: each was let through, and answered by the other end.
    assert_eq!(said.stdout.trim(), "[111]", "{said}");
    until_nothing_lives(mesh);
}
