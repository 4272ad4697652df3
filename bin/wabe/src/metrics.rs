//! `wabe metrics`: prints what a scrape would get.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::ExitCode,
};

use wabe_keeper::layout::Mesh;

use crate::{failure::Failure, screen::line};

/// OpenMetrics says more than the format that others get.
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: mesh\r\naccept: application/openmetrics-text\r\n\r\n";

pub(crate) fn run(mesh: &Mesh) -> Result<ExitCode, Failure> {
    let socket = mesh.metrics_socket();
    let broken = |error| {
        Failure::environment(format!(
            "mesh `{mesh}` serves no metrics at {} ({error}): is it up, and are you root?",
            socket.display()
        ))
    };
    let mut stream = UnixStream::connect(&socket).map_err(broken)?;
    stream.write_all(REQUEST).map_err(broken)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(broken)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => line(body.trim_end())?,
        Some((_, body)) => return Err(Failure::environment(body.trim_end())),
        None => return Err(broken(std::io::ErrorKind::UnexpectedEof.into())),
    }
    Ok(ExitCode::SUCCESS)
}
