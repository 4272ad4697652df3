//! The programs of `wabe-testbox`, on loopback: what they say about TCP as the kernel does it, without any mesh.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use wabe_testkit::NetworkNamespace;

fn testbox(args: &[&str]) -> Command {
    // `nobody` runs it too, who can't where the checkout is below `/root`.
    let built = || env!("CARGO_BIN_EXE_wabe-testbox").into();
    let mut command = Command::new(std::env::var_os("WABE_TESTBOX").unwrap_or_else(built));
    command.args(args).env("WABE_WORKLOAD", "shop/cart").env("WABE_REPLICA", "3");
    command
}

fn lines(args: &[&str]) -> Vec<Value> {
    let output = testbox(args).output().expect("starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn line(args: &[&str]) -> Value {
    lines(args).pop().expect("a line")
}

/// A server of the box on a free port, killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut child = testbox(args).stdout(Stdio::piped()).spawn().expect("starts");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("a line");
        let first: Value = serde_json::from_str(&first).expect("JSON");
        let address = first["listening"].as_str().expect("an address").parse().expect("an address");
        Self { child, address }
    }

    fn at(&self, host: &str) -> String {
        format!("{host}:{}", self.address.port())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("still ours");
        self.child.wait().expect("still ours");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port()
}

#[test]
fn connect_tells_who_answered_and_the_addresses() {
    let server = Server::start(&["id", "--listen", "[::]:0"]);
    for host in ["127.0.0.1", "[::1]"] {
        let said = line(&["connect", &server.at(host)]);
        assert_eq!((&said["ok"], &said["first"]), (&true.into(), &"shop/cart/3".into()), "{said}");
        assert_eq!(said["peer"], server.at(host));
    }
}

#[test]
fn connect_goes_through_an_ipv6_socket_when_asked() {
    let server = Server::start(&["id", "--listen", "0.0.0.0:0"]);
    let said = line(&["connect", &server.at("127.0.0.1"), "--source-mapped"]);
    assert_eq!(said["first"], "shop/cart/3");
    assert_eq!(said["peer"], server.at("[::ffff:127.0.0.1]"));
}

#[test]
fn connect_names_the_refusal() {
    let said = line(&["connect", &format!("127.0.0.1:{}", free_port())]);
    assert_eq!((&said["ok"], &said["errno"]), (&false.into(), &"ECONNREFUSED".into()));
}

#[test]
fn connect_counts_when_asked_for_a_summary() {
    let server = Server::start(&["id", "--listen", "127.0.0.1:0"]);
    let parallel =
        line(&["connect", &server.at("127.0.0.1"), "--count", "100", "--parallel", "8", "--summary"]);
    assert_eq!(parallel["connections"], 100);
    assert_eq!(parallel["by_answer"]["shop/cart/3"], 100);
    let at_rate = line(&["connect", &server.at("127.0.0.1"), "--count", "20", "--rate", "1000", "--summary"]);
    assert_eq!(at_rate["by_answer"]["shop/cart/3"], 20);
    let refused = line(&["connect", &format!("127.0.0.1:{}", free_port()), "--count", "3", "--summary"]);
    assert_eq!(refused["by_errno"]["ECONNREFUSED"], 3);
}

#[test]
fn connect_gives_up_on_a_server_that_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound").to_string();
    let said = line(&["connect", &address, "--timeout", "20"]);
    assert_eq!((&said["ok"], &said["read_errno"]), (&true.into(), &"timeout".into()));
    let said = line(&["connect", &address, "--no-read"]);
    assert_eq!((&said["ok"], &said["first"]), (&true.into(), &Value::Null));
}

#[test]
fn hold_tells_those_that_live_from_those_that_ended() {
    let server = Server::start(&["echo", "--listen", "127.0.0.1:0"]);
    let mut hold = testbox(&["hold", &server.at("127.0.0.1"), "--count", "50"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = hold.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(hold.stdout.take().expect("a pipe"));
    let mut next = || {
        let mut text = String::new();
        stdout.read_line(&mut text).expect("a line");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    assert_eq!(next()["open"], 50);
    writeln!(stdin, "count").expect("reads");
    assert_eq!(next()["alive"], 50);
    drop(server);
    writeln!(stdin, "count").expect("reads");
    let after = next();
    assert_eq!(after["alive"], 0, "{after}");
    assert_eq!(
        after["ended"].as_object().expect("counts").values().filter_map(Value::as_u64).sum::<u64>(),
        50
    );
    drop(stdin);
    assert!(hold.wait().expect("ours").success());
}

#[test]
fn datagrams_come_back() {
    let server = Server::start(&["echo", "--udp", "--listen", "[::]:0"]);
    for extra in
        [&["--count", "3"][..], &["--count", "3", "--connected"], &["--count", "3", "--source-mapped"]]
    {
        let address = server.at("127.0.0.1");
        let said = lines(&[&["udp", &address], extra].concat());
        assert_eq!(said.len(), 3);
        assert_eq!(said[2]["first"], "datagram 2", "{extra:?}: {said:?}");
    }
    let server = Server::start(&["id", "--udp", "--listen", "127.0.0.1:0"]);
    assert_eq!(line(&["udp", &server.at("127.0.0.1")])["first"], "shop/cart/3");
}

#[test]
fn a_datagram_to_nobody_is_told_by_the_connected_socket_only() {
    let nobody =
        UdpSocket::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").to_string();
    assert_eq!(line(&["udp", &nobody, "--connected", "--timeout", "200"])["errno"], "ECONNREFUSED");
    assert_eq!(line(&["udp", &nobody, "--timeout", "20"])["errno"], "timeout");
}

#[test]
fn plain_tcp_passes_the_check_of_its_semantics() {
    let server = Server::start(&["tcp-semantics", "serve", "--listen", "[::]:0"]);
    let said = lines(&["tcp-semantics", "check", &server.at("[::1]"), "--bytes", "20000"]);
    assert_eq!(said.len(), 8);
    for case in said {
        assert_eq!(case["ok"], true, "{case}");
    }
}

#[test]
fn the_check_notices_a_server_that_is_not_what_it_says() {
    // An echo instead: sums differ, resets do not come.
    let server = Server::start(&["echo", "--listen", "127.0.0.1:0"]);
    for case in
        ["half-close", "half-close-by-server", "sendfile", "both-ways", "parallel-uploads", "msg-waitall"]
    {
        let args = [
            "tcp-semantics",
            "check",
            &server.at("127.0.0.1"),
            "--case",
            case,
            "--count",
            "3",
            "--timeout",
            "100",
        ];
        assert_eq!(line(&args)["ok"], false, "{case}");
    }
}

#[test]
fn root_may_make_sockets_that_a_workload_may_not() {
    for kind in ["raw-socket", "raw-socket6", "packet-socket"] {
        assert_eq!(line(&[kind])["ok"], true, "{kind}");
    }
    assert_eq!(lines(&["sockets"]).len(), 10);
    let output = {
        let mut command = testbox(&["raw-socket"]);
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
        command.output().expect("starts")
    };
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["errno"], "EPERM");
}

#[test]
fn forged_packets_leave() {
    let namespace = NetworkNamespace::fresh().expect("live tests need root");
    for (from, to) in [("127.0.0.9", "127.0.0.1"), ("::9", "::1")] {
        let mut command = testbox(&["spoof", from, to, "80", "--mac", "00:00:00:00:00:00"]);
        namespace.put(&mut command);
        let output = command.output().expect("starts");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let said: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(
            said.iter().map(|it| it["kind"].as_str().expect("a word")).collect::<Vec<_>>(),
            ["raw", "packet"]
        );
        assert!(said.iter().all(|it| it["ok"] == true), "{text}");
    }
}

#[test]
fn a_forged_syn_is_answered_so_it_is_well_formed() {
    let namespace = NetworkNamespace::fresh().expect("live tests need root");
    for (listen, source, target) in [("127.0.0.1:80", "127.0.0.9", "127.0.0.1"), ("[::1]:80", "::1", "::1")] {
        let listener = namespace.run(|| TcpListener::bind(listen)).expect("nobody else is here");
        let sent = || namespace.run(|| counter("OutSegs"));
        let before = sent();
        let mut command = testbox(&["spoof", source, target, "80", "--mac", "00:00:00:00:00:00"]);
        namespace.put(&mut command);
        assert!(command.status().expect("starts").success());
        // A SYN with a wrong checksum gets no answer; this one gets a SYN+ACK, or an RST to the answer's answer.
        assert!(sent() > before, "{listen}: no answer to the SYN");
        assert_eq!(namespace.run(|| counter("InCsumErrors")), 0, "{listen}");
        drop(listener);
    }
}

/// A counter of TCP in this namespace.
fn counter(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("/proc is mounted");
    let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (tcp.next().expect("names"), tcp.next().expect("values"));
    let at = names.split(' ').position(|it| it == name).expect("a known counter");
    values.split(' ').nth(at).expect("a value").parse().expect("a number")
}

#[test]
fn root_enters_namespaces_that_nobody_may_not() {
    let pid = std::process::id().to_string();
    let said = line(&["setns", &pid]);
    assert_eq!(said["kind"], "user");
    let net = lines(&["setns", &pid]).remove(0);
    assert_eq!((&net["kind"], &net["ok"]), (&"net".into(), &true.into()));
    let mut command = testbox(&["setns", &pid]);
    std::os::unix::process::CommandExt::uid(&mut command, 65534);
    let text = String::from_utf8(command.output().expect("starts").stdout).expect("UTF-8");
    for text in text.lines() {
        let said: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(said["ok"], false, "{said}");
    }
}

#[test]
fn mounts_are_listed() {
    assert!(lines(&["mounts"]).iter().any(|it| it["point"] == "/proc" && it["kind"] == "proc"));
}

#[test]
fn names_are_resolved() {
    assert_eq!(line(&["resolve", "127.0.0.1"])["addresses"][0], "127.0.0.1");
    assert_eq!(line(&["resolve", "no such name"])["ok"], false);
}

#[test]
fn grpc_tells_who_answered_and_what_was_sent() {
    let port = free_port();
    let _server = Server::start(&["web", "--listen", "127.0.0.1:0", "--grpc", &format!("127.0.0.1:{port}")]);
    let at = format!("127.0.0.1:{port}");
    for said in lines(&["grpc", &at, "--count", "3", "x-one:1", "x-two:a", "x-two:b"]) {
        let told = &said["told"];
        assert_eq!((&said["status"], &told["workload"]), (&"0".into(), &"shop/cart".into()), "{said}");
        assert_eq!(told["authority"], at);
        assert_eq!(
            (&told["headers"]["x-one"], &told["headers"]["x-two"]),
            (&["1"][..].into(), &["a", "b"][..].into())
        );
    }
}

#[test]
fn what_lasts_is_begun_anew_and_how_it_ended_is_counted() {
    let port = free_port();
    let calls = format!("127.0.0.1:{port}");
    let chat = format!("127.0.0.1:{}", free_port());
    let serve = || Server::start(&["web", "--listen", &chat, "--grpc", &calls]);
    let server = serve();
    let mut command = testbox(&["lasting", &chat, &calls, "--count", "3", "--parallel", "2"]);
    let mut caller = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    let mut words = caller.stdin.take().expect("a pipe");
    let mut said = BufReader::new(caller.stdout.take().expect("a pipe")).lines();
    let mut until = |is: &dyn Fn(&Value) -> bool| {
        let mut counts = Value::Null;
        for _ in 0..500 {
            writeln!(words, "count").expect("it reads");
            let line = said.next().expect("a line").expect("text");
            counts = serde_json::from_str(&line).expect("JSON");
            if is(&counts) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("not within ten seconds: {counts}");
    };
    let open = |counts: &Value| counts["websockets"]["open"] == 3 && counts["streams"]["open"] == 2;
    let ended = |counts: &Value, kind: &str| {
        let ways = counts[kind]["ended"].as_object().expect("counts").clone();
        ways.into_iter().map(|(way, count)| (way, count.as_u64().expect("a number"))).collect::<Vec<_>>()
    };
    until(&|counts| open(counts) && ended(counts, "websockets").is_empty());
    // Killed, it takes leave of nobody.
    drop(server);
    let _server = serve();
    until(&|counts| {
        let (websockets, streams) = (ended(counts, "websockets"), ended(counts, "streams"));
        let in_order = websockets.iter().chain(&streams).any(|(way, _)| way.ends_with("end"));
        let all = |ways: &[(String, u64)]| ways.iter().map(|it| it.1).sum::<u64>();
        open(counts) && all(&websockets) >= 3 && all(&streams) >= 2 && !in_order
    });
    drop(words);
    assert!(caller.wait().expect("still ours").success());
}
