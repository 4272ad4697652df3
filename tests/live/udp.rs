//! Datagrams: services, policy and accounts for UDP, from connected and unconnected sockets.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use wabe_testkit::{Running, TestMesh, scaled, testbox};
use wabe_tests::{
    eventually,
    facts::{Facts, until_all},
    manifest::{Policy, Service, Workload, all},
    steps,
};

const CALLER: &str = "a/caller";
const OTHER: &str = "a/other";
/// Has the capability NET_RAW.
const RAW: &str = "a/raw";
const SERVER: &str = "s/server";
/// A service's port, which answers with the name of who answers.
const PORT: u16 = 53;
const TARGET_PORT: u16 = 5300;

#[test]
fn udp() {
    let quic = Workload::new("s/quic", &["$TESTBOX", "quic-echo", "--listen", "[::]:4433"])
        .with("replicas", json!(3));
    let ports = json!([{ "name": "quic", "port": 443, "targetPort": 4433, "protocol": "UDP" }]);
    let mesh = TestMesh::up(&all(&[
        &Workload::idle(CALLER),
        &Workload::idle(OTHER),
        &Workload::idle(RAW).with("capabilities", json!(["NET_RAW"])),
        &servers(3),
        &service(),
        &quic,
        &Service::new("s/quic").with("ports", ports),
    ]));
    until_all(&mesh, SERVER, true);
    steps::run(
        &mesh,
        &wabe_tests::steps![
            answers_come_from_what_was_dialled,
            a_socket_stays_at_its_endpoint_and_sockets_are_spread,
            two_sockets_with_one_port_share_an_exchange,
            a_workload_is_reached_by_its_own_address,
            what_is_no_service_or_port_is_refused,
            resolvers_may_connect_to_anything_of_the_mesh,
            policy_refuses_and_a_change_is_in_force_for_open_sockets,
            datagrams_round_the_hooks_are_judged_or_let_fall,
            what_hides_behind_extension_headers_is_refused,
            flows_and_explain_tell,
            a_socket_has_so_many_receivers_and_leaves_nothing,
            sockets_follow_their_service_when_an_endpoint_goes,
            a_socket_without_another_endpoint_hears_of_it,
            quic_connections_over_one_socket_stay_and_move_megabytes,
            the_host_is_answered_if_a_rule_admits_it,
            it_goes_on_without_the_agent,
        ],
    );
    mesh.down();
}

fn servers(replicas: u32) -> Workload {
    Workload::new(SERVER, &["$TESTBOX", "id", "--udp", "--listen", &format!("[::]:{TARGET_PORT}")])
        .with("ports", json!([{ "name": "main", "port": TARGET_PORT, "protocol": "UDP" }]))
        .with("replicas", json!(replicas))
}

fn service() -> Service {
    Service::new(SERVER)
        .with("ports", json!([{ "name": "main", "port": PORT, "targetPort": "main", "protocol": "UDP" }]))
}

/// From one socket of `from`: what each datagram came to.
fn send(mesh: &TestMesh, from: &str, targets: &[SocketAddr], options: &[&str]) -> Vec<Value> {
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    // The first of an option counts.
    let patience = ["--timeout", &scaled(Duration::from_secs(2)).as_millis().to_string()];
    mesh.testbox(from, &[&["udp"], &targets[..], options, &patience].concat()).success().json_lines()
}

fn targets(mesh: &TestMesh) -> [SocketAddr; 2] {
    Facts::of(mesh).service(SERVER).map(|address| SocketAddr::from((address, PORT)))
}

/// Lets it end after an answer: one that comes when its caller has gone begins an exchange the other way.
fn quit(mut running: Running) {
    running.send("quit");
    let _ = running.finish();
}

/// Exchanges that are open, as the mesh counts them.
fn open(mesh: &TestMesh) -> u64 {
    let status = mesh.json(&["status"]);
    let maps = status["maps"].as_array().expect("maps").clone();
    let map = maps.iter().find(|it| it["name"] == "EXCHANGES").expect("a map of exchanges");
    map["used"].as_u64().expect("a number")
}

fn until_none_is_open(mesh: &TestMesh) {
    eventually("no exchange is open", || (open(mesh) == 0).then_some(()));
}

fn answers_come_from_what_was_dialled(mesh: &TestMesh) {
    for target in targets(mesh) {
        for options in [&["--connected"][..], &[], &["--source-mapped"], &["--source-mapped", "--connected"]]
        {
            let said = send(mesh, CALLER, &[target], &[options, &["--count", "3"]].concat());
            assert_eq!(said.len(), 3);
            for line in said {
                assert_eq!(line["ok"], true, "{target} {options:?}: {line}");
                let from: SocketAddr =
                    line["from"].as_str().and_then(|it| it.parse().ok()).expect("an address");
                let shown = SocketAddr::from((from.ip().to_canonical(), from.port()));
                assert_eq!(shown, target, "{options:?}: {line}");
                if options.contains(&"--connected") {
                    assert_eq!(line["peer"], line["from"], "{line}");
                }
            }
        }
    }
    until_none_is_open(mesh);
}

fn a_socket_stays_at_its_endpoint_and_sockets_are_spread(mesh: &TestMesh) {
    for options in [&["--connected"][..], &[]] {
        let mut seen = BTreeSet::new();
        for target in targets(mesh) {
            for _ in 0..8 {
                let said = send(mesh, CALLER, &[target], &[options, &["--count", "20"]].concat());
                let of_this: BTreeSet<String> = said.iter().map(|it| it["first"].to_string()).collect();
                assert_eq!(of_this.len(), 1, "one socket, {options:?}: {of_this:?}");
                seen.extend(of_this);
            }
        }
        assert!(seen.len() >= 2, "16 sockets, {options:?}: {seen:?}");
    }
    // One socket, two services at once: each answer seems to come from the right one.
    let [v4, _] = targets(mesh);
    let more = Service::new("s/again")
        .with("selector", json!({ "app": "server" }))
        .with("ports", json!([{ "name": "main", "port": 99, "targetPort": "main", "protocol": "UDP" }]));
    let _ = mesh.apply(&more.to_string()).success();
    let again = Facts::of(mesh).service("s/again")[0];
    let said = send(mesh, CALLER, &[v4, (again, 99).into()], &["--count", "10"]);
    let from: Vec<&str> = said.iter().filter_map(|it| it["from"].as_str()).collect();
    let expected = [v4.to_string(), format!("{again}:99")];
    assert_eq!(from, (0..20).map(|it| expected[it % 2].as_str()).collect::<Vec<_>>());
    let _ = mesh.delete(&more.to_string()).success();
    until_none_is_open(mesh);
}

/// As of servers with a socket for each thread; the kernel gives all answers to one of them.
fn two_sockets_with_one_port_share_an_exchange(mesh: &TestMesh) {
    let [target, _] = targets(mesh);
    let (address, port) = (target.ip(), target.port());
    let code = format!(
        "import select, socket\n\
         both = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]\n\
         for one in both: one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n\
         both[0].bind(('', 0))\n\
         both[1].bind(both[0].getsockname())\n\
         answered = 0\n\
         for number in range(300):\n\
         \x20 both[number % 2].sendto(b'x', ('{address}', {port}))\n\
         \x20 for one in select.select(both, [], [], 10)[0]:\n\
         \x20   answered += one.recvfrom(99)[1] == ('{address}', {port})\n\
         print(answered, both[0].getsockname()[1])"
    );
    let said = mesh.exec(CALLER, &["python3", "-c", &code]).success();
    let (answered, own) = said.stdout.trim().split_once(' ').expect("two numbers");
    assert_eq!(answered, "300", "{said}");
    let own: u64 = own.parse().expect("a port");
    let opened = eventually("the exchange is told", || {
        let lines = mesh.wabe(&["flows", "-o", "json"]).success().json_lines();
        let is_its = |line: &&Value| line["from"]["port"] == own && line["kind"] == "opened";
        Some(lines.iter().filter(is_its).count()).filter(|it| *it > 0)
    });
    assert_eq!(opened, 1, "one exchange");
    until_none_is_open(mesh);
}

fn a_workload_is_reached_by_its_own_address(mesh: &TestMesh) {
    for address in Facts::of(mesh).addresses(SERVER) {
        let target = SocketAddr::from((address, TARGET_PORT));
        for options in [&["--connected"][..], &[]] {
            let said = send(mesh, CALLER, &[target], options);
            assert_eq!(said[0]["from"], target.to_string(), "{options:?}: {said:?}");
        }
    }
}

fn what_is_no_service_or_port_is_refused(mesh: &TestMesh) {
    let [service, _] = Facts::of(mesh).service(SERVER);
    let nobody = Facts::of(mesh).addresses(SERVER)[0];
    let last = |address: IpAddr| match address {
        IpAddr::V4(it) => IpAddr::from(std::net::Ipv4Addr::from(u32::from(it) ^ 0x40)),
        IpAddr::V6(_) => unreachable!("an IPv4 address was asked for"),
    };
    for (target, errno, reason) in [
        (SocketAddr::from((service, 54)), "ECONNREFUSED", "no_such_port"),
        ((last(nobody), 1).into(), "EHOSTUNREACH", "no_such_address"),
    ] {
        let before = Facts::of(mesh).refusals(reason);
        let said = send(mesh, CALLER, &[target], &[]);
        assert_eq!(said[0]["errno"], errno, "{said:?}");
        // A connected socket hears of it from the first datagram.
        let said = send(mesh, CALLER, &[target], &["--connected"]);
        assert_eq!(said[0]["errno"], "EPERM", "{said:?}");
        assert_eq!(Facts::of(mesh).refusals(reason), before + 2, "{reason}");
    }
}

fn resolvers_may_connect_to_anything_of_the_mesh(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    for address in [facts.service(SERVER), facts.addresses(SERVER)].concat() {
        // glibc, Go, musl. What is said then is the error of `connect()`.
        for port in [0, 9, 65535] {
            let said = send(mesh, CALLER, &[(address, port).into()], &["--connected", "--count", "0"]);
            assert!(said.is_empty(), "{address} {port}: {said:?}");
        }
    }
}

fn policy_refuses_and_a_change_is_in_force_for_open_sockets(mesh: &TestMesh) {
    let [v4, _] = targets(mesh);
    let direct = SocketAddr::from((Facts::of(mesh).addresses(SERVER)[0], TARGET_PORT));
    let mut open: Vec<(Running, SocketAddr, &[&str])> = Vec::new();
    for (target, options) in
        [(v4, &["--connected"][..]), (v4, &[]), (direct, &["--connected"][..]), (direct, &[][..])]
    {
        let address = target.to_string();
        let args = [
            &["udp", &address, "--count", "100000", "--delay", "20", "--timeout", "2000", "--until-quit"],
            options,
        ]
        .concat();
        open.push((mesh.start_testbox(CALLER, &args), target, options));
    }
    for (running, target, options) in &mut open {
        assert_eq!(running.next_json()["ok"], true, "{target} {options:?}");
    }
    let only_other = Policy::new(
        "s/only-other",
        json!({
            "selector": { "matchLabels": { "app": "server" } },
            "action": "ALLOW",
            "rules": [{ "from": [{ "source": { "principals": ["cluster.local/ns/a/sa/other"] } }] }],
        }),
    );
    let other = Workload::idle(OTHER).with("serviceAccount", json!("other"));
    let _ = mesh.apply(&all(&[&only_other, &other])).success();
    for (running, target, options) in &mut open {
        // Answers that were on the way may still come; then not one more.
        eventually(&format!("{target} {options:?} is refused"), || {
            (running.next_json()["errno"] == "EPERM").then_some(())
        });
        for _ in 0..20 {
            assert_eq!(running.next_json()["errno"], "EPERM", "{target} {options:?}");
        }
    }
    for target in [v4, direct] {
        for options in [&["--connected"][..], &[]] {
            let said = send(mesh, CALLER, &[target], options);
            assert_eq!(said[0]["errno"], "EPERM", "{target} {options:?}: {said:?}");
            eventually("another identity is allowed", || {
                (send(mesh, OTHER, &[target], options)[0]["ok"] == true).then_some(())
            });
        }
    }
    let _ = mesh.delete(&only_other.to_string()).success();
    for (running, target, options) in &mut open {
        eventually(&format!("{target} {options:?} is allowed again"), || {
            (running.next_json()["ok"] == true).then_some(())
        });
    }
    open.into_iter().for_each(|(running, ..)| quit(running));
    until_none_is_open(mesh);
}

fn datagrams_round_the_hooks_are_judged_or_let_fall(mesh: &TestMesh) {
    // Where nobody listens: an answer to a socket that is gone would begin an exchange the other way.
    const NOBODY: u16 = TARGET_PORT + 1;
    let facts = Facts::of(mesh);
    let ways = || facts.addresses(RAW).into_iter().zip(facts.addresses(SERVER));
    let send = |source: IpAddr, target: IpAddr| {
        let args = ["spoof", &source.to_string(), &target.to_string(), &NOBODY.to_string(), "--udp"];
        mesh.testbox(RAW, &args).success().json_lines()
    };
    for (source, target) in ways() {
        let strays = Facts::of(mesh).refusals("stray");
        let sent = send(source, target);
        assert!(sent.iter().all(|it| it["ok"] == true), "{sent:?}");
        // A raw socket bears a stamp, a packet socket has no hook: what it sends has no exchange.
        eventually("the packet socket's is let fall", || {
            (Facts::of(mesh).refusals("stray") > strays).then_some(())
        });
    }
    until_none_is_open(mesh);
    let nobody = Policy::new("s/nobody", json!({ "action": "DENY", "rules": [{}] }));
    let _ = mesh.apply(&nobody.to_string()).success();
    for (source, target) in ways() {
        assert_eq!(send(source, target)[0]["errno"], "EPERM", "{source} by raw socket");
    }
    let _ = mesh.delete(&nobody.to_string()).success();
}

fn what_hides_behind_extension_headers_is_refused(mesh: &TestMesh) {
    let [_, target] = Facts::of(mesh).addresses(SERVER);
    // Destination options, of padding; setting them needs NET_RAW.
    let code = format!(
        "import socket\ns = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n\
         s.sendto(b'x', ('{target}', {TARGET_PORT}))\n\
         s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, bytes([0, 0, 1, 4, 0, 0, 0, 0]))\n\
         try:\n  s.sendto(b'x', ('{target}', {TARGET_PORT}))\nexcept OSError as error:\n  print(error.errno)"
    );
    let before = Facts::of(mesh).refusals("protocol");
    let said = mesh.exec(RAW, &["python3", "-c", &code]).success();
    assert_eq!(said.stdout.trim(), "1", "EPERM: {said}");
    assert_eq!(Facts::of(mesh).refusals("protocol"), before + 1);
}

fn flows_and_explain_tell(mesh: &TestMesh) {
    let [v4, _] = targets(mesh);
    for options in [&["--connected"][..], &[]] {
        let said = send(mesh, CALLER, &[v4], &[options, &["--count", "10"]].concat());
        let port = said[0]["local"].as_str().and_then(|it| it.rsplit_once(':')).expect("a port").1;
        let port: u64 = port.parse().expect("a number");
        let is_its = |line: &Value| line["protocol"] == "udp" && line["from"]["port"] == port;
        let lines = eventually("both ends of an exchange in the flows", || {
            let lines = mesh.wabe(&["flows", "-o", "json"]).success().json_lines();
            let lines: Vec<Value> = lines.into_iter().filter(is_its).collect();
            (lines.len() == 2).then_some(lines)
        });
        assert_eq!((&lines[0]["kind"], &lines[1]["kind"]), (&json!("opened"), &json!("closed")));
        for line in &lines {
            assert_eq!(line["from"]["workload"], CALLER, "{line}");
            assert_eq!(line["to"]["workload"], SERVER, "{line}");
            assert_eq!(line["service"], SERVER, "{line}");
            assert_eq!(line["dialled"], v4.ip().to_string(), "{line}");
            assert_eq!(line["lane"], "direct", "{line}");
        }
        // "datagram 0" to "datagram 9", and ten times a name.
        assert_eq!(lines[1]["bytesSent"], 100, "{}", lines[1]);
        let name = said[0]["first"].as_str().expect("a name").len();
        assert_eq!(lines[1]["bytesReceived"], 10 * name, "{}", lines[1]);
    }
    let said = mesh.json(&["explain", CALLER, &format!("server.s:{PORT}"), "--udp"]);
    assert_eq!((&said["verdict"], &said["lane"]), (&json!("allowed"), &json!("direct")), "{said}");
    assert_eq!(said["candidates"].as_array().map(Vec::len), Some(3), "{said}");
    let hooks: Vec<&str> =
        said["steps"].as_array().expect("steps").iter().filter_map(|it| it["hook"].as_str()).collect();
    assert_eq!(
        hooks,
        ["sock_create", "sendmsg4", "sendmsg4", "cgroup_skb egress", "tc ingress", "sk_lookup"],
        "{said}"
    );
}

fn a_socket_has_so_many_receivers_and_leaves_nothing(mesh: &TestMesh) {
    until_none_is_open(mesh);
    let most = u64::from(wabe_abi::PEERS_OF_A_SOCKET);
    let [address, _] = Facts::of(mesh).addresses(SERVER);
    // Nobody listens at most of them: they are exchanges all the same.
    let ports: Vec<String> = (0..most + 20).map(|it| format!("{address}:{}", 7000 + it)).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let args = [&["udp"], &ports[..], &["--timeout", "10", "--stay"]].concat();
    let mut running = mesh.start_testbox(CALLER, &args);
    for _ in &ports {
        assert_eq!(running.next_json()["errno"], "timeout");
    }
    assert_eq!(open(mesh), most);
    drop(running);
    until_none_is_open(mesh);
}

fn sockets_follow_their_service_when_an_endpoint_goes(mesh: &TestMesh) {
    let last = "server/2";
    let target = |options: &[&str]| targets(mesh)[usize::from(options.contains(&"v6"))];
    let mut at_last = Vec::new();
    for options in [&["--connected"][..], &[], &["--connected", "--source-mapped"], &["--connected", "v6"]] {
        let target = target(options).to_string();
        let options: Vec<&str> = options.iter().copied().filter(|it| *it != "v6").collect();
        let args = [
            &["udp", &target, "--count", "100000", "--delay", "5", "--timeout", "5000", "--until-quit"],
            &options[..],
        ]
        .concat();
        at_last.push(eventually(&format!("a socket at {last}, {options:?}"), || {
            let mut running = mesh.start_testbox(CALLER, &args);
            let is_there = running.next_json()["first"] == last;
            if is_there {
                return Some((running, options.clone()));
            }
            quit(running);
            None
        }));
    }
    // The last replica is the one that goes.
    let _ = mesh.apply(&servers(2).to_string()).success();
    for (running, options) in &mut at_last {
        let mut failed = Vec::new();
        eventually(&format!("another answers, {options:?}"), || {
            let line = running.next_json();
            assert!(line["from"].as_str().is_none_or(|it| it.ends_with(&format!(":{PORT}"))), "{line}");
            if line["ok"] == false {
                failed.push(line["errno"].clone());
            }
            (line["ok"] == true && line["first"] != last).then_some(())
        });
        // A datagram that the endpoint did not answer any more is lost; no error of the old peer's may come later.
        println!("{options:?}: on the way {failed:?}");
        assert!(failed.len() <= 2, "{options:?}: {failed:?}");
        for _ in 0..50 {
            let line = running.next_json();
            assert_eq!(line["ok"], true, "{options:?}: {line}");
        }
    }
    at_last.into_iter().for_each(|(running, _)| quit(running));
    until_none_is_open(mesh);
}

fn a_socket_without_another_endpoint_hears_of_it(mesh: &TestMesh) {
    let [v4, _] = targets(mesh);
    let direct = SocketAddr::from((Facts::of(mesh).addresses(SERVER)[0], TARGET_PORT));
    // One datagram, then a wait of a minute for another answer, which never comes.
    let mut waiting = [v4, direct].map(|target| {
        let target = target.to_string();
        mesh.start_testbox(CALLER, &["udp", &target, "--connected", "--timeout", "60000", "--wait"])
    });
    for running in &mut waiting {
        assert_eq!(running.next_json()["ok"], true);
    }
    let _ = mesh.apply(&servers(0).to_string()).success();
    for running in &mut waiting {
        assert_eq!(running.next_json()["errno"], "ECONNABORTED");
    }
    let said = send(mesh, CALLER, &[v4], &[]);
    assert_eq!(said[0]["errno"], "EHOSTUNREACH", "{said:?}");
    let said = send(mesh, CALLER, &[v4], &["--connected"]);
    assert_eq!(said[0]["errno"], "EHOSTUNREACH", "{said:?}");
    let _ = mesh.apply(&servers(3).to_string()).success();
    until_all(mesh, SERVER, true);
    eventually("three answer again", || (send(mesh, CALLER, &[v4], &[])[0]["ok"] == true).then_some(()));
}

fn quic_connections_over_one_socket_stay_and_move_megabytes(mesh: &TestMesh) {
    let [v4, v6] = Facts::of(mesh).service("s/quic").map(|it| SocketAddr::from((it, 443)).to_string());
    // One socket, two services' addresses: the second is the same service by its other family.
    let args = ["quic", &v6, "--source-mapped", "--parallel", "1", "--count", "3", "--bytes", "2000000"];
    let mut running = mesh.start_testbox(CALLER, &args);
    assert_eq!(running.next_json()["open"], 1);
    assert_eq!(running.next_json(), json!({ "echoes": 3, "errors": [] }));
    let _ = running.finish();
    // While services change, policies are judged anew and the agent is away.
    let args = ["quic", &v4, "--parallel", "8", "--count", "150", "--bytes", "3000", "--delay", "5"];
    let mut running = mesh.start_testbox(CALLER, &args);
    let opened = running.next_json();
    assert_eq!(opened["open"], 8, "{opened}");
    let from: BTreeSet<&str> =
        opened["from"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(from, BTreeSet::from([v4.as_str()]), "what was dialled");
    for name in ["s/one", "s/two", "s/three"] {
        let _ = mesh.apply(&Service::new(name).to_string()).success();
    }
    let _ = mesh.machine().kill_role("agent");
    assert_eq!(running.next_json(), json!({ "echoes": 1200, "errors": [] }));
    let _ = running.finish();
    eventually("the agent answers", || mesh.wabe(&["status"]).status.success().then_some(()));
    until_none_is_open(mesh);
}

fn the_host_is_answered_if_a_rule_admits_it(mesh: &TestMesh) {
    let target = SocketAddr::from((Facts::of(mesh).addresses(SERVER)[0], TARGET_PORT)).to_string();
    let ask = |options: &[&str]| {
        let mut command = Command::new(testbox());
        command.args(["udp", &target, "--timeout", "1000"]).args(options);
        mesh.machine().run(command).success().json()
    };
    for options in [&["--connected"][..], &[]] {
        assert_eq!(ask(options)["ok"], false, "a stranger");
    }
    let rule = Policy::new(
        "s/strangers",
        json!({ "selector": { "matchLabels": { "app": "server" } }, "action": "ALLOW",
                "rules": [{ "from": [{ "source": { "ipBlocks": ["0.0.0.0/0"] } }] }] }),
    );
    let _ = mesh.apply(&rule.to_string()).success();
    for options in [&["--connected"][..], &[]] {
        eventually("the host is answered", || (ask(options)["ok"] == true).then_some(()));
    }
    let _ = mesh.delete(&rule.to_string()).success();
    eventually("the host is refused again", || (ask(&[])["ok"] == false).then_some(()));
}

fn it_goes_on_without_the_agent(mesh: &TestMesh) {
    let [v4, _] = targets(mesh);
    let agent = mesh.json(&["status"])["agent"].as_u64().expect("a process");
    signal("STOP", agent);
    for options in [&["--connected"][..], &[]] {
        for _ in 0..20 {
            let said = send(mesh, CALLER, &[v4], options);
            assert_eq!(said[0]["from"], v4.to_string(), "{options:?}: {said:?}");
        }
    }
    signal("CONT", agent);
    // Sockets end their exchanges themselves.
    until_none_is_open(mesh);
}

fn signal(name: &str, pid: u64) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.expect("kill(1)").success(), "SIG{name} to {pid}");
}
