//! The cases with calls of gRPC. The client of the originals calls `Echo`, whatever the route matches.

use std::{collections::BTreeMap, thread, time::Instant};

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::eventually;

use super::{CLIENT, DRAWN, PATIENCE, Seen, sees, weighted};

const CLIENT_V2: &str = "gateway-conformance-mesh/echo-v2";
const ECHO: &str = "echo:7070";

pub(super) fn mesh_grpc_route_request_header_modifier(mesh: &TestMesh) {
    let manifest = include_str!("grpcroute-request-header-modifier.yaml");
    let _ = mesh.apply(manifest).success();
    for case in [
        call("set", "echo-v1")
            .with("some-other-header", "this-header-should-be-set")
            .with("x-header-set", "this-value-should-be-overwritten")
            .seen("some-other-header", "this-header-should-be-set")
            .seen("x-header-set", "set-overwrites-values"),
        call("add", "echo-v1")
            .with("x-header-add", "this-value-should-be-appended")
            .seen("x-header-add", "this-value-should-be-appended,add-appends-values"),
        call("remove", "echo-v1").with("x-header-remove", "this-should-be-removed").unseen("x-header-remove"),
        call("multi", "echo-v2")
            .from(CLIENT_V2)
            .with("x-header-set-2", "set-header-2")
            .with("x-header-add-2", "add-header-2")
            .with("x-header-remove-2", "should-be-removed-2")
            .seen("x-header-set-1", "header-set-1")
            .seen("x-header-set-2", "header-set-2")
            .seen("x-header-add-1", "header-add-1")
            .seen("x-header-add-2", "add-header-2,header-add-2")
            .unseen("x-header-remove-1")
            .unseen("x-header-remove-2"),
    ] {
        case.check(mesh);
    }
    let _ = mesh.delete(manifest).success();
}

/// The third backend of the original's YAML is none; its weight is 0.
pub(super) fn mesh_grpc_route_weight(mesh: &TestMesh) {
    let manifest = include_str!("grpcroute-weight.yaml");
    let _ = mesh.apply(manifest).success();
    Case::by("echo-").check(mesh);
    let told = mesh.testbox(CLIENT, &["grpc", ECHO, "--count", &DRAWN.to_string()]).success().json_lines();
    assert_eq!(told.len(), DRAWN as usize);
    assert!(told.iter().all(|it| it["status"] == "0"), "{told:?}");
    let share = |name: &str| {
        told.iter().filter(|it| it["told"]["workload"] == name).count() as f64 / f64::from(DRAWN)
    };
    weighted(share("echo-v1"), share("echo-v2"));
    let _ = mesh.delete(manifest).success();
}

/// Of the original's pull request, which is in no release yet. A copy is seen in the log of who got it, as there.
pub(super) fn mesh_grpc_route_request_mirror(mesh: &TestMesh) {
    let manifest = include_str!("grpcroute-request-mirror.yaml");
    let _ = mesh.apply(manifest).success();
    let modified = Case::by("echo-v1")
        .with("x-mirror-and-modify", "true")
        .with("x-header-remove", "remove-val")
        .with("x-header-add-append", "append-val-1")
        .seen("x-header-set", "set-overwrites-values")
        .seen("x-header-add", "header-val-1")
        .seen("x-header-add-append", "append-val-1,header-val-2")
        .unseen("x-header-remove");
    for (marked, case) in [
        ("x-mirror-only", Case::by("echo-v1").with("x-mirror-only", "true")),
        ("x-mirror-and-modify", modified),
    ] {
        let case = case.seen(marked, "true");
        let copy = eventually("a copy comes", || {
            case.check(mesh);
            let log = mesh.wabe(&["logs", CLIENT_V2]).success().json_lines();
            log.into_iter().rfind(|it| it["called"]["headers"][marked] == json!(["true"]))
        });
        assert_eq!(copy["called"]["workload"], "echo-v2", "{copy}");
    }
    let _ = mesh.delete(manifest).success();
}

/// A call and what its backend sees.
#[derive(Debug)]
struct Case {
    from: &'static str,
    headers: Vec<String>,
    /// What the backend's name begins with, as in the original.
    backend: &'static str,
    seen: Seen,
}

/// A call of this `x-test-case`, answered by this backend.
fn call(case: &'static str, backend: &'static str) -> Case {
    Case::by(backend).with("x-test-case", case).seen("x-test-case", case)
}

impl Case {
    fn by(backend: &'static str) -> Self {
        Self { from: CLIENT, headers: Vec::new(), backend, seen: BTreeMap::new() }
    }

    fn from(self, from: &'static str) -> Self {
        Self { from, ..self }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}:{value}"));
        self
    }

    fn seen(mut self, name: &'static str, value: &'static str) -> Self {
        self.seen.insert(name, Some(value));
        self
    }

    fn unseen(mut self, name: &'static str) -> Self {
        self.seen.insert(name, None);
        self
    }

    #[track_caller]
    fn check(&self, mesh: &TestMesh) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(complaint) = self.ask(mesh) {
            assert!(Instant::now() < deadline, "{complaint}\n{self:#?}");
            thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn ask(&self, mesh: &TestMesh) -> Result<(), String> {
        let mut words = vec!["grpc", ECHO];
        words.extend(self.headers.iter().map(String::as_str));
        let ran = mesh.testbox(self.from, &words);
        let Some(said) = ran.json_lines().pop() else { return Err(ran.to_string()) };
        let told = &said["told"];
        let workload = told["workload"].as_str().unwrap_or_default();
        if said["status"] != "0" || said["http"] != json!(200) || !workload.starts_with(self.backend) {
            return Err(format!("OK and {} are wanted: {said}", self.backend));
        }
        sees(&self.seen, told)
    }
}
