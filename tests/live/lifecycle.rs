//! What a person does with a mesh: starting it, looking at it, running things in it, changing and stopping it.
//!
//! Tests that count what is left on the machine are in `leftovers.rs`.

use std::sync::OnceLock;

use wabe_tests::{
    manifest::{Service, Workload, all},
    testkit::{TestMesh, shared},
};

#[path = "lifecycle/agent.rs"]
mod agent;
#[path = "lifecycle/bad_input.rs"]
mod bad_input;
#[path = "lifecycle/egress.rs"]
mod egress;
#[path = "lifecycle/exec.rs"]
mod exec;
#[path = "lifecycle/logs.rs"]
mod logs;
#[path = "lifecycle/readiness.rs"]
mod readiness;
#[path = "lifecycle/refused_up.rs"]
mod refused_up;
#[path = "lifecycle/up.rs"]
mod up;
#[path = "lifecycle/workloads.rs"]
mod workloads;

/// A caller and a service of two, for tests that leave them as they are. Others bring workloads of their own, in a
/// namespace of their own.
fn mesh() -> &'static TestMesh {
    static MESH: OnceLock<TestMesh> = OnceLock::new();
    shared(&MESH, || {
        let server = Workload::server("shop/cart").with("replicas", 2.into());
        all(&[&Workload::idle("shop/caller"), &server, &Service::new("shop/cart")])
    })
}
