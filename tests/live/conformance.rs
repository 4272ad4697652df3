//! The Gateway API's conformance tests of meshes, with requests of HTTP and calls of gRPC (in `grpc`): each named after the original in
//! `conformance/tests/mesh` of kubernetes-sigs/gateway-api (Apache-2.0), with its own YAML (the files in `conformance/`) and its
//! expectations as a table. What `MeshBasic` and `MeshFrontend*` ask besides routes is here, too. Where the original lets
//! requests fail until what was applied is in force everywhere, so does this: for five seconds. Drafts of the originals that
//! became others (`*-redirect-host-and-status` of single codes: `MeshHTTPRoute303Redirect`, 307, 308) are not repeated.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{
    facts::Facts,
    manifest::{Service, Workload, all},
    steps,
};

#[path = "conformance/grpc.rs"]
mod grpc;

const CLIENT: &str = "gateway-conformance-mesh/echo-v1";
const CONSUMER: &str = "gateway-conformance-mesh-consumer/echo-v1";
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests of a test of weights. The original asks 500 and up to ten times, as chance alone takes one try in seventy out of its
/// tolerance; with so many it never does (7 standard deviations), and once is enough.
const DRAWN: u32 = 4000;

#[test]
fn conformance() {
    let echo = |name: &str, version: &str| {
        let command = json!(["$TESTBOX", "web", "--listen", "[::]:8080", "--grpc", "[::]:7070", "--tell"]);
        Workload::web(name).with("command", command).label("app", "echo").label("version", version)
    };
    // As in `conformance/mesh/manifests.yaml`, but for the ports of TLS.
    let service = |name: &str, selector: Value| {
        Service::new(&format!("gateway-conformance-mesh/{name}")).with("selector", selector).with(
            "ports",
            json!([
                { "name": "http", "port": 80, "appProtocol": "http", "targetPort": 8080 },
                { "name": "http-alt", "port": 8080, "appProtocol": "http" },
                { "name": "tcp", "port": 9090 },
                { "name": "grpc", "port": 7070, "appProtocol": "kubernetes.io/h2c" },
            ]),
        )
    };
    let mesh = TestMesh::up(&all(&[
        &echo(CLIENT, "v1"),
        &echo("gateway-conformance-mesh/echo-v2", "v2"),
        &echo(CONSUMER, "v1"),
        &service("echo", json!({ "app": "echo" })),
        &service("echo-v1", json!({ "app": "echo", "version": "v1" })),
        &service("echo-v2", json!({ "app": "echo", "version": "v2" })),
    ]));
    steps::run(
        &mesh,
        &wabe_tests::steps![
            mesh_basic,
            mesh_http_route_simple_same_namespace,
            mesh_http_route_matching,
            mesh_http_route_query_param_matching,
            mesh_http_route_named_rule,
            mesh_http_route_request_header_modifier,
            mesh_http_route_backend_request_header_modifier,
            mesh_http_route_rewrite_path,
            mesh_http_route_redirect_host_and_status,
            mesh_http_route_redirect_path,
            mesh_http_route_redirect_port,
            mesh_http_route_scheme_redirect,
            mesh_http_route_303_redirect,
            mesh_http_route_307_redirect,
            mesh_http_route_308_redirect,
            mesh_http_route_weight,
            mesh_traffic_split,
            mesh_ports,
            mesh_consumer_route,
            mesh_frontend,
            mesh_frontend_hostname,
            grpc::mesh_grpc_route_request_header_modifier,
            grpc::mesh_grpc_route_weight,
            grpc::mesh_grpc_route_request_mirror,
            a_route_says_what_has_become_of_it_and_explain_what_it_does,
        ],
    );
    mesh.down();
}

/// Applies a file of the original, looks at all cases, and deletes it.
macro_rules! with {
    ($mesh:expr, $file:literal, $cases:expr) => {{
        let manifest = include_str!(concat!("conformance/", $file, ".yaml"));
        let _ = $mesh.apply(manifest).success();
        for case in $cases {
            case.check($mesh);
        }
        let _ = $mesh.delete(manifest).success();
    }};
}

fn mesh_basic(mesh: &TestMesh) {
    get("/").status(200).check(mesh);
}

fn mesh_http_route_simple_same_namespace(mesh: &TestMesh) {
    with!(mesh, "httproute-simple-same-namespace", [get("/").by("echo-v1")]);
}

fn mesh_http_route_matching(mesh: &TestMesh) {
    with!(
        mesh,
        "httproute-matching",
        [
            get("/").by("echo-v1"),
            get("/example").by("echo-v1"),
            get("/").with("Version", "one").by("echo-v1"),
            get("/v2").by("echo-v2"),
            get("/v2/example").by("echo-v2"),
            get("/").with("Version", "two").by("echo-v2"),
            get("/v2/").by("echo-v2"),
            get("/v2example").by("echo-v1"),
            get("/foo/v2/example").by("echo-v1"),
        ]
    );
}

fn mesh_http_route_query_param_matching(mesh: &TestMesh) {
    with!(
        mesh,
        "httproute-query-param-matching",
        [
            get("/?animal=whale").by("echo-v1"),
            get("/?animal=dolphin").by("echo-v2"),
            get("/?animal=whale&otherparam=irrelevant").by("echo-v1"),
            get("/?animal=dolphin&color=yellow").by("echo-v2"),
            get("/?color=blue").status(404),
            get("/?animal=dog").status(404),
            get("/?animal=whaledolphin").status(404),
            get("/").status(404),
            get("/path1?animal=whale").by("echo-v1"),
            get("/?animal=whale").with("version", "one").by("echo-v2"),
            get("/path3?animal=shark").by("echo-v1"),
            get("/path4?animal=kraken").with("version", "three").by("echo-v1"),
            get("/?animal=shark").status(404),
            get("/path4?animal=kraken").status(404),
            get("/path5?animal=hydra").by("echo-v1"),
        ]
    );
}

/// The original writes `/named` for what the second backend sees, too; nothing rewrites the path, and its YAML asks for nothing of
/// the kind.
fn mesh_http_route_named_rule(mesh: &TestMesh) {
    with!(mesh, "httproute-named-rule", [get("/named").by("echo-v1"), get("/unnamed").by("echo-v2")]);
}

fn mesh_http_route_request_header_modifier(mesh: &TestMesh) {
    with!(mesh, "httproute-request-header-modifier", header_cases());
}

fn mesh_http_route_backend_request_header_modifier(mesh: &TestMesh) {
    with!(mesh, "httproute-request-header-modifier-backend", header_cases());
}

fn header_cases() -> Vec<Case> {
    let set =
        |case: Case| case.seen("some-other-header", "val").seen("x-header-set", "set-overwrites-values");
    vec![
        set(get("/set").by("echo-v1").with("Some-Other-Header", "val")),
        set(get("/set")
            .by("echo-v1")
            .with("Some-Other-Header", "val")
            .with("X-Header-Set", "some-other-value")),
        get("/add")
            .by("echo-v1")
            .with("Some-Other-Header", "val")
            .seen("some-other-header", "val")
            .seen("x-header-add", "add-appends-values"),
        get("/add")
            .by("echo-v1")
            .with("X-Header-Add", "some-other-value")
            .seen("x-header-add", "some-other-value,add-appends-values"),
        get("/remove").by("echo-v1").with("X-Header-Remove", "val").unseen("x-header-remove"),
        get("/multiple")
            .by("echo-v1")
            .with("X-Header-Set-2", "set-val-2")
            .with("X-Header-Add-2", "add-val-2")
            .with("X-Header-Remove-2", "remove-val-2")
            .with("Another-Header", "another-header-val")
            .seen("x-header-set-1", "header-set-1")
            .seen("x-header-set-2", "header-set-2")
            .seen("x-header-add-1", "header-add-1")
            .seen("x-header-add-2", "add-val-2,header-add-2")
            .seen("x-header-add-3", "header-add-3")
            .seen("another-header", "another-header-val")
            .unseen("x-header-remove-1")
            .unseen("x-header-remove-2"),
        get("/case-insensitivity")
            .by("echo-v1")
            .with("x-header-set", "original-val-set")
            .with("x-header-add", "original-val-add")
            .with("x-header-remove", "original-val-remove")
            .with("Another-Header", "another-header-val")
            .seen("x-header-set", "header-set")
            .seen("x-header-add", "original-val-add,header-add")
            .seen("another-header", "another-header-val")
            .unseen("x-header-remove"),
    ]
}

fn mesh_http_route_rewrite_path(mesh: &TestMesh) {
    let with_headers = |path: &str, seen: &str| {
        get(path)
            .by("echo-v1")
            .path(seen)
            .with("X-Header-Remove", "remove-val")
            .with("X-Header-Add-Append", "append-val-1")
            .with("X-Header-Set", "set-val")
            .seen("x-header-add", "header-val-1")
            .seen("x-header-add-append", "append-val-1,header-val-2")
            .seen("x-header-set", "set-overwrites-values")
            .unseen("x-header-remove")
    };
    with!(
        mesh,
        "httproute-rewrite-path",
        [
            get("/prefix/one/two").by("echo-v1").path("/one/two"),
            get("/strip-prefix/three").by("echo-v1").path("/three"),
            get("/strip-prefix").by("echo-v1").path("/"),
            get("/full/one/two").by("echo-v1").path("/one"),
            with_headers("/full/rewrite-path-and-modify-headers/test", "/test"),
            with_headers("/prefix/rewrite-path-and-modify-headers/one", "/prefix/one"),
        ]
    );
}

fn mesh_http_route_redirect_host_and_status(mesh: &TestMesh) {
    with!(
        mesh,
        "httproute-redirect-host-and-status",
        [
            get("/hostname-redirect").redirected(302, "http://example.org/hostname-redirect"),
            get("/host-and-status").redirected(301, "http://example.org/host-and-status"),
        ]
    );
}

fn mesh_http_route_redirect_path(mesh: &TestMesh) {
    with!(
        mesh,
        "httproute-redirect-path",
        [
            get("/original-prefix/lemon").redirected(302, "http://echo/replacement-prefix/lemon"),
            get("/full/path/original").redirected(302, "http://echo/full-path-replacement"),
            get("/path-and-host").redirected(302, "http://example.org/replacement-prefix"),
            get("/path-and-status").redirected(301, "http://echo/replacement-prefix"),
            get("/full-path-and-host").redirected(302, "http://example.org/replacement-full"),
            get("/full-path-and-status").redirected(301, "http://echo/replacement-full"),
        ]
    );
}

fn mesh_http_route_redirect_port(mesh: &TestMesh) {
    with!(
        mesh,
        "httproute-redirect-port",
        [
            get("/port").redirected(302, "http://echo:8083/port"),
            get("/port-and-host").redirected(302, "http://example.org:8083/port-and-host"),
            get("/port-and-status").redirected(301, "http://echo:8083/port-and-status"),
            get("/port-and-host-and-status")
                .redirected(302, "http://example.org:8083/port-and-host-and-status"),
        ]
    );
}

fn mesh_http_route_scheme_redirect(mesh: &TestMesh) {
    with!(
        mesh,
        "httproute-redirect-scheme",
        [
            get("/scheme").redirected(302, "https://echo/scheme"),
            get("/scheme-and-host").redirected(302, "https://example.org/scheme-and-host"),
            get("/scheme-and-status").redirected(301, "https://echo/scheme-and-status"),
            get("/scheme-and-host-and-status")
                .redirected(302, "https://example.org/scheme-and-host-and-status"),
        ]
    );
}

fn mesh_http_route_303_redirect(mesh: &TestMesh) {
    with!(mesh, "httproute-303-redirect", [get("/redirect").redirected(303, "http://echo/redirect")]);
}

fn mesh_http_route_307_redirect(mesh: &TestMesh) {
    with!(mesh, "httproute-307-redirect", [get("/temporary").redirected(307, "http://echo/temporary")]);
}

fn mesh_http_route_308_redirect(mesh: &TestMesh) {
    with!(mesh, "httproute-308-redirect", [get("/permanent").redirected(308, "http://echo/permanent")]);
}

fn mesh_http_route_weight(mesh: &TestMesh) {
    let manifest = include_str!("conformance/httproute-weight.yaml");
    let _ = mesh.apply(manifest).success();
    get("/").status(200).check(mesh);
    let urls = format!("http://echo/[1-{DRAWN}]");
    let told = mesh.exec(CLIENT, &["curl", "-sS", "--max-time", "60", &urls]).success().stdout;
    let share =
        |name: &str| told.matches(&format!("\"workload\":\"{name}\"")).count() as f64 / f64::from(DRAWN);
    weighted(share("echo-v1"), share("echo-v2"));
    let _ = mesh.delete(manifest).success();
}

/// Whether what two backends got is what their weights say, within the original's tolerance.
#[track_caller]
fn weighted(one: f64, two: f64) {
    println!("weights 0.7 and 0.3: {one} and {two}");
    assert!((one - 0.7).abs() < 0.05 && (two - 0.3).abs() < 0.05, "0.7 and 0.3 are wanted: {one} and {two}");
}

fn mesh_traffic_split(mesh: &TestMesh) {
    with!(mesh, "mesh-split", [get("/v1").by("echo-v1"), get("/v2").by("echo-v2")]);
}

fn mesh_ports(mesh: &TestMesh) {
    with!(
        mesh,
        "mesh-ports",
        [
            get("/").at("echo-v1").by("echo-v1").told("x-header-set", Some("v1")),
            get("/").at("echo-v1:8080").by("echo-v1").told("x-header-set", None),
            get("/").at("echo-v2").by("echo-v2").told("x-header-set", Some("v2")),
            get("/").at("echo-v2:8080").by("echo-v2").told("x-header-set", Some("v2")),
        ]
    );
}

fn mesh_consumer_route(mesh: &TestMesh) {
    let at = "echo-v1.gateway-conformance-mesh";
    with!(
        mesh,
        "mesh-consumer-route",
        [
            get("/").at(at).from(CONSUMER).by("echo-v1").told("x-header-set", Some("set")),
            get("/").at(at).by("echo-v1").told("x-header-set", None),
        ]
    );
}

fn mesh_frontend(mesh: &TestMesh) {
    let [v4, v6] = Facts::of(mesh).addresses("gateway-conformance-mesh/echo-v2");
    let direct = |address| {
        let at = SocketAddr::new(address, 8080).to_string();
        get("/").at(&at).by("echo-v2").told("x-header-set", None)
    };
    with!(
        mesh,
        "mesh-frontend",
        [get("/").at("echo-v2").by("echo-v2").told("x-header-set", Some("set")), direct(v4), direct(v6),]
    );
}

fn mesh_frontend_hostname(mesh: &TestMesh) {
    with!(
        mesh,
        "mesh-frontend",
        [
            get("/").at("echo-v2").with("Host", "echo-v1").by("echo-v2").told("x-header-set", Some("set")),
            get("/").at("echo-v1").with("Host", "echo-v2").by("echo-v1").told("x-header-set", None),
        ]
    );
}

/// Besides the originals: `wabe get` and `wabe explain --http` say of these routes what the cases above show.
fn a_route_says_what_has_become_of_it_and_explain_what_it_does(mesh: &TestMesh) {
    let manifest = include_str!("conformance/httproute-matching.yaml");
    let _ = mesh.apply(manifest).success();
    let routes = mesh.json(&["get", "route"]);
    let parent = &routes[0]["status"]["parents"][0];
    assert_eq!(parent["parentRef"]["name"], "echo", "{routes}");
    let conditions = parent["conditions"].as_array().expect("conditions");
    assert!(conditions.len() == 3 && conditions.iter().all(|it| it["status"] == "True"), "{routes}");
    let explained = |words: &[&str]| mesh.json(&[&["explain", CLIENT, "echo:80", "--http"], words].concat());
    for (words, backend) in [
        (&["GET /"][..], "echo-v1"),
        (&["GET /v2/example"], "echo-v2"),
        (&["GET /", "-H", "Version: two"], "echo-v2"),
    ] {
        let told = explained(words);
        let service = format!("gateway-conformance-mesh/{backend}");
        assert_eq!(
            (&told["outcome"], &told["rule"]["kind"]),
            (&json!("forwarded"), &json!("HTTPRoute")),
            "{told}"
        );
        assert_eq!(told["backends"][0]["service"], *service, "{told}");
        assert_eq!(told["backends"][0]["endpoints"][0]["workload"], *service, "{told}");
    }
    let text = mesh.wabe(&["explain", CLIENT, "echo:80", "--http", "GET /v2"]).success().stdout;
    assert!(text.contains("echo:80: forwarded") && text.contains("allowed"), "{text}");
    let _ = mesh.delete(manifest).success();
    let refused = mesh.wabe(&["explain", CLIENT, "echo:80", "--http", "GET /v2"]);
    assert!(refused.stderr.contains("nobody looks at requests to it"), "{refused}");
}

/// A request and what comes of it.
#[derive(Debug)]
struct Case {
    from: &'static str,
    host: String,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    status: u16,
    backend: Option<&'static str>,
    /// What the backend sees: the path, headers, and those that it must not see.
    path: Option<String>,
    seen: Seen,
    /// Headers of the answer.
    told: BTreeMap<&'static str, Option<String>>,
}

/// `GET` of the service `echo`.
fn get(target: &str) -> Case {
    Case {
        from: CLIENT,
        host: "echo".into(),
        target: target.into(),
        headers: Vec::new(),
        status: 200,
        backend: None,
        path: None,
        seen: BTreeMap::new(),
        told: BTreeMap::new(),
    }
}

impl Case {
    fn at(self, host: &str) -> Self {
        Self { host: host.into(), ..self }
    }

    fn from(self, from: &'static str) -> Self {
        Self { from, ..self }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Answered by this backend, which sees the path that was asked for unless said otherwise.
    fn by(self, backend: &'static str) -> Self {
        let path = self.path.or_else(|| Some(self.target.clone()));
        Self { backend: Some(backend), path, ..self }
    }

    fn path(self, path: &str) -> Self {
        Self { path: Some(path.into()), ..self }
    }

    fn seen(mut self, name: &'static str, value: &'static str) -> Self {
        self.seen.insert(name, Some(value));
        self
    }

    fn unseen(mut self, name: &'static str) -> Self {
        self.seen.insert(name, None);
        self
    }

    fn told(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.told.insert(name, value.map(str::to_owned));
        self
    }

    fn redirected(self, status: u16, location: &str) -> Self {
        self.status(status).told("location", Some(location))
    }

    #[track_caller]
    fn check(&self, mesh: &TestMesh) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(complaint) = self.ask(mesh) {
            assert!(Instant::now() < deadline, "{complaint}\n{self:#?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&self, mesh: &TestMesh) -> Result<(), String> {
        let url = format!("http://{}{}", self.host, self.target);
        let headers: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let mut words = vec!["curl", "-sS", "-g", "-i", "--max-time", "10"];
        headers.iter().for_each(|it| words.extend(["-H", it]));
        words.push(&url);
        let text = mesh.exec(self.from, &words).success().stdout;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|it| it.split(' ').nth(1)).and_then(|it| it.parse().ok());
        if status != Some(self.status) {
            return Err(format!("status {} is wanted: {text}", self.status));
        }
        let answer: Vec<(String, &str)> = lines
            .filter_map(|it| it.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim()))
            .collect();
        for (name, want) in &self.told {
            let found = answer.iter().find(|it| it.0 == *name).map(|it| it.1);
            if found != want.as_deref() {
                return Err(format!("{name} of the answer shall be {want:?}: {text}"));
            }
        }
        let Some(backend) = self.backend else { return Ok(()) };
        let seen: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {text}"))?;
        if seen["workload"] != backend || self.path.as_ref().is_some_and(|path| seen["path"] != **path) {
            return Err(format!("{backend} and the path {:?} are wanted: {seen}", self.path));
        }
        sees(&self.seen, &seen)
    }
}

/// Headers that a backend shall see, or `None` if it shall not.
type Seen = BTreeMap<&'static str, Option<&'static str>>;

/// Compares them with what a backend tells of a request.
fn sees(wanted: &Seen, told: &Value) -> Result<(), String> {
    for (name, want) in wanted {
        let values = told["headers"][name].as_array();
        let found = values.map(|it| it.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
        if found.as_deref() != *want {
            return Err(format!("the backend shall see {name} as {want:?}: {told}"));
        }
    }
    Ok(())
}
