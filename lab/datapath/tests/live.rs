//! The programs in the real kernel, with small relays in place of Envoy: namespaces, cgroups and processes of the test's
//! own, all named `wabe-lab-test-*`. Each test has the machine for itself and first removes what a killed one left.

#[path = "live/canaries.rs"]
mod canaries;
#[path = "live/redirection.rs"]
mod redirection;
#[path = "live/refusal.rs"]
mod refusal;
#[path = "live/role.rs"]
mod role;
#[path = "live/scene.rs"]
mod scene;
#[path = "live/sockets.rs"]
mod sockets;
