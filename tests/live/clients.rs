//! Programs that people use, through the node's proxy: gRPC of Python, WebSockets of Node, h2load, wrk, and a server that
//! speaks first.

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{
    Applied, eventually,
    manifest::{Document, Policy, Route, Service, Workload, all},
    steps,
};

const CALLER: &str = "shop/caller";

const EVERYTHING_LOGGED: &str = "---\napiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: mesh}\nspec: {accessLog: all}\n";

const GRPC_SERVER: &str = r#"
import grpc, time
from concurrent import futures
def unary(request, context):
    context.set_trailing_metadata((("x-trailer", "said"),))
    return request + b"!"
def out(request, context):
    for number in range(3):
        yield request + str(number).encode()
def both(requests, context):
    for request in requests:
        yield request.upper()
def slow(request, context):
    time.sleep(5)
    return request
handlers = grpc.method_handlers_generic_handler("shop.Echo", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Out": grpc.unary_stream_rpc_method_handler(out),
    "In": grpc.stream_unary_rpc_method_handler(lambda requests, context: b",".join(requests)),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
})
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((handlers,))
server.add_insecure_port("[::]:8080")
server.start()
server.wait_for_termination()
"#;

const GRPC_CALLER: &str = r#"
import grpc, json
channel = grpc.insecure_channel("echo.shop:80")
def code(call):
    try:
        call()
        return "OK"
    except grpc.RpcError as error:
        return error.code().name
unary = channel.unary_unary("/shop.Echo/Unary")
answer, call = unary.with_call(b"hello", timeout=10)
said = {
    "unary": answer.decode(),
    "trailer": dict(call.trailing_metadata())["x-trailer"],
    "out": [it.decode() for it in channel.unary_stream("/shop.Echo/Out")(b"n", timeout=10)],
    "in": channel.stream_unary("/shop.Echo/In")(iter([b"a", b"b"]), timeout=10).decode(),
    "both": [it.decode() for it in channel.stream_stream("/shop.Echo/Both")(iter([b"x", b"y"]), timeout=10)],
    "slow": code(lambda: channel.unary_unary("/shop.Echo/Slow")(b"", timeout=0.3)),
    "nowhere": code(lambda: channel.unary_unary("/other.Service/Method")(b"", timeout=10)),
    "large": len(unary(b"z" * 1000000, timeout=10)),
}
print(json.dumps(said))
"#;

/// Says what became of a call that is under way, and of the next one.
const GRPC_STAYER: &str = r#"
import grpc, json, os, queue
channel = grpc.insecure_channel("echo.shop:80")
sent = queue.Queue()
sent.put(b"x")
answers = channel.stream_stream("/shop.Echo/Both")(iter(sent.get, None))
print(next(answers).decode(), flush=True)
def told(call):
    try:
        call()
    except grpc.RpcError as error:
        print(json.dumps({ "code": error.code().name, "policy": "policy" in error.details() }), flush=True)
told(lambda: next(answers))
told(lambda: channel.unary_unary("/shop.Echo/Unary")(b"", timeout=10))
os._exit(0)
"#;

const CHAT_SERVER: &str = r#"
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ port: 8080, host: "::" });
server.on("connection", (caller) => caller.on("message", (data, isBinary) => caller.send(data, { binary: isBinary })));
"#;

const CHAT_CALLER: &str = r#"
const WebSocket = require("ws");
const chat = new WebSocket("ws://chat.shop/room?of=1");
const sent = [];
for (let number = 0; number < 100; number++) sent.push(Buffer.alloc(number * 997, number));
let back = 0;
chat.on("open", () => sent.forEach((it) => chat.send(it)));
chat.on("message", (data) => {
  if (!sent[back].equals(data)) throw new Error("message " + back + " is another one");
  if (++back === sent.length) chat.close(4001, "enough");
});
chat.on("close", (code) => { console.log(JSON.stringify({ back, code })); });
"#;

/// Says when all are open, and of the first that end how.
const CHAT_STAYERS: &str = r#"
const WebSocket = require("ws");
let open = 0, ended = 0;
for (let number = 0; number < 20; number++) {
  const chat = new WebSocket("ws://chat.shop/room");
  chat.on("open", () => { if (++open === 20) console.log("open"); });
  chat.on("error", (error) => console.log(JSON.stringify({ error: error.code })));
  chat.on("close", (code) => {
    console.log(JSON.stringify({ code }));
    if (++ended === 5) process.exit();
  });
}
"#;

/// The same of a WebSocket.
const CHAT_STAYER: &str = r#"
const WebSocket = require("ws");
const again = () => {
  const next = new WebSocket("ws://chat.shop/room");
  next.on("unexpected-response", (_, answer) => { console.log(JSON.stringify({ status: answer.statusCode })); process.exit(); });
};
const chat = new WebSocket("ws://chat.shop/room");
chat.on("open", () => console.log("open"));
chat.on("error", (error) => console.log(JSON.stringify({ error: error.code })));
chat.on("close", (code) => { console.log(JSON.stringify({ code })); again(); });
"#;

const GREETER: &str = r#"
import socket
listener = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    caller, _ = listener.accept()
    try:
        caller.sendall(b"220 greeter ESMTP\r\n")
        caller.sendall(b"you said " + caller.recv(100))
    except OSError:
        pass  # the probe
    caller.close()
"#;

const GREETED: &str = r#"
import socket
caller = socket.create_connection(("greeter.shop", 80), 10)
greeting = caller.recv(100)
caller.sendall(b"QUIT\r\n")
rest = b""
while part := caller.recv(100):
    rest += part
print((greeting + rest).decode(), end="")
"#;

#[test]
fn clients() {
    let served = |name: &str, command: &[&str]| {
        Workload::new(name, command)
            .with("ports", json!([{ "name": "main", "port": 8080 }]))
            .with("readiness", json!({ "tcp": { "port": 8080 }, "timeout": "5s" }))
    };
    let node = |workload: Workload| workload.with("env", json!({ "NODE_PATH": "/usr/share/nodejs" }));
    let speaking = |name: &str, protocol: &str| {
        let ports = json!([{ "name": "main", "port": 80, "targetPort": "main", "appProtocol": protocol }]);
        Service::new(name).with("ports", ports)
    };
    let to = |name: &str| {
        let backend = Route::backend(name.split('/').nth(1).expect("a name"), 1);
        Route::new(name, json!([{ "backendRefs": [backend] }]))
    };
    let mesh = TestMesh::up(
        &(all(&[
            &node(Workload::idle(CALLER)),
            &served("shop/echo", &["python3", "-c", GRPC_SERVER]),
            &node(served("shop/chat", &["node", "-e", CHAT_SERVER])),
            &served("shop/greeter", &["python3", "-c", GREETER]),
            &Workload::web("shop/web"),
            &speaking("shop/echo", "grpc"),
            &speaking("shop/chat", "kubernetes.io/ws"),
            &Service::new("shop/greeter").annotation("mesh.wabe.dev/l7", "always"),
            &speaking("shop/web", "http"),
            &to("shop/chat"),
            &to("shop/web"),
            &grpc_route(),
        ]) + EVERYTHING_LOGGED),
    );
    steps::run(
        &mesh,
        &wabe_tests::steps![
            grpc_of_every_kind,
            websockets,
            websockets_are_told_that_their_proxy_goes_away,
            calls_and_websockets_are_told_what_a_new_policy_refuses,
            http2_of_h2load_for_a_server_that_has_none,
            wrk_on_many_connections,
            a_server_that_speaks_first_is_heard,
        ],
    );
    mesh.down();
}

/// Only the service's own methods are let through.
fn grpc_route() -> Document {
    let spec = json!({
        "parentRefs": [{ "group": "", "kind": "Service", "name": "echo" }],
        "rules": [{ "matches": [{ "method": { "service": "shop.Echo" } }], "backendRefs": [Route::backend("echo", 1)] }],
    });
    Document::new("gateway.networking.k8s.io/v1", "GRPCRoute", "shop/echo", spec)
}

fn grpc_of_every_kind(mesh: &TestMesh) {
    let said = mesh.exec(CALLER, &["python3", "-c", GRPC_CALLER]).success().json();
    let wanted = json!({
        "unary": "hello!", "trailer": "said", "out": ["n0", "n1", "n2"], "in": "a,b", "both": ["X", "Y"],
        "slow": "DEADLINE_EXCEEDED", "nowhere": "UNIMPLEMENTED", "large": 1_000_001,
    });
    assert_eq!(said, wanted);
}

fn websockets(mesh: &TestMesh) {
    let said = mesh.exec(CALLER, &["node", "-e", CHAT_CALLER]).success().json();
    assert_eq!(said, json!({ "back": 100, "code": 4001 }));
}

fn websockets_are_told_that_their_proxy_goes_away(mesh: &TestMesh) {
    let mut stayers = mesh.start_exec(CALLER, &["node", "-e", CHAT_STAYERS]);
    assert_eq!(stayers.next_line(), "open");
    let _ = mesh.json(&["upgrade", "proxy"]);
    for _ in 0..5 {
        assert_eq!(stayers.next_json(), json!({ "code": 1001 }));
    }
}

fn calls_and_websockets_are_told_what_a_new_policy_refuses(mesh: &TestMesh) {
    let mut call = mesh.start_exec(CALLER, &["python3", "-c", GRPC_STAYER]);
    let mut chat = mesh.start_exec(CALLER, &["node", "-e", CHAT_STAYER]);
    assert_eq!((call.next_line(), chat.next_line()), ("X".into(), "open".into()));
    let denied = |app: &str, operation: Value| {
        let selector = json!({ "matchLabels": { "app": app } });
        let spec = json!({ "selector": selector, "action": "DENY", "rules": [{ "to": [{ "operation": operation }] }] });
        Applied::new(mesh, Policy::new(&format!("shop/no-{app}"), spec))
    };
    let _calls = denied("echo", json!({ "paths": ["/shop.Echo/*"] }));
    let _chats = denied("chat", json!({ "methods": ["GET"] }));
    // The one that is under way, and the next one.
    for _ in 0..2 {
        assert_eq!(call.next_json(), json!({ "code": "PERMISSION_DENIED", "policy": true }));
    }
    assert_eq!(chat.next_json(), json!({ "code": 1008 }));
    assert_eq!(chat.next_json(), json!({ "status": 403 }));
}

fn http2_of_h2load_for_a_server_that_has_none(mesh: &TestMesh) {
    let run =
        mesh.exec(CALLER, &["h2load", "-n", "2000", "-c", "4", "-m", "10", "http://web.shop/"]).success();
    assert!(run.stdout.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{run}");
}

fn wrk_on_many_connections(mesh: &TestMesh) {
    let run = mesh
        .exec(CALLER, &["wrk", "-t", "1", "-c", "64", "-d", "2", "--timeout", "30s", "http://web.shop/"])
        .success();
    assert!(!run.stdout.contains("Non-2xx") && !run.stdout.contains("Socket errors"), "{run}");
    assert!(run.stdout.contains("requests in"), "{run}");
}

fn a_server_that_speaks_first_is_heard(mesh: &TestMesh) {
    let run = mesh.exec(CALLER, &["python3", "-c", GREETED]).success();
    assert_eq!(run.stdout, "220 greeter ESMTP\r\nyou said QUIT\r\n");
    // It came through the proxy, which tells of it without having read it.
    eventually("the connection is in the log", || {
        let log = mesh.wabe(&["logs", "proxy"]).success().stdout;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut of_it = lines.filter(|it| it["service"] == "shop/greeter:80");
        of_it.find(|it| it["complete"] == true && it["method"].is_null() && it["bytes"] == 34)
    });
}
