//! Asking the keeper what no command does.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use serde_json::Value;
use wabe_testkit::{PATIENCE, TestMesh};

/// One request to the keeper, and its answer.
///
/// # Panics
/// If it doesn't answer in JSON, or within a minute.
#[track_caller]
pub fn ask_keeper(mesh: &TestMesh, request: &Value) -> Value {
    let mut stream =
        UnixStream::connect(format!("/run/wabe/{}/keeper.sock", mesh.name())).expect("the keeper listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let body = request.to_string();
    stream.write_all(&u32::try_from(body.len()).expect("short").to_le_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("sent");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut body).expect("an answer");
    serde_json::from_slice(&body).expect("JSON")
}
