//! The endpoint: HTTP, as much of it as a scrape needs.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use super::render;
use crate::{
    api::{Reply, Request},
    flows::FlowLog,
    reconcile::Input,
};

/// What a client gets to ask and to read in. One that is slower keeps others waiting so long, and nobody else.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a request's head.
const LONGEST_HEAD: usize = 8 << 10;
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers at `socket`, for root only, and at `listener`, for everybody on the machine, until the process ends.
pub(crate) fn serve(
    socket: &Path,
    listener: Option<TcpListener>,
    inputs: &Sender<Input>,
    flows: &Arc<FlowLog>,
) -> io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let unix = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    let (asked, log) = (inputs.clone(), Arc::clone(flows));
    let answer = move || {
        for stream in unix.incoming().flatten() {
            let _ = converse(&stream, &asked, &log);
        }
    };
    thread::Builder::new().name("metrics".into()).spawn(answer)?;
    if let Some(listener) = listener {
        let (asked, log) = (inputs.clone(), Arc::clone(flows));
        let answer = move || {
            for stream in listener.incoming().flatten() {
                let _ = converse(&stream, &asked, &log);
            }
        };
        thread::Builder::new().name("metrics-tcp".into()).spawn(answer)?;
    }
    Ok(())
}

/// A connection of either kind.
trait Stream {
    fn limit(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn limit(&self) -> io::Result<()> {
        self.set_read_timeout(Some(PATIENCE))?;
        self.set_write_timeout(Some(PATIENCE))
    }
}

impl Stream for UnixStream {
    fn limit(&self) -> io::Result<()> {
        self.set_read_timeout(Some(PATIENCE))?;
        self.set_write_timeout(Some(PATIENCE))
    }
}

/// One request, one answer.
fn converse<S: Stream>(stream: &S, inputs: &Sender<Input>, flows: &FlowLog) -> io::Result<()>
where
    for<'a> &'a S: Read + Write,
{
    stream.limit()?;
    let head = head(stream)?;
    let mut words = head.split(' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics" | "/")) => match scrape(inputs, flows) {
            Some(text) => ("200 OK", text),
            None => ("503 Service Unavailable", "the agent is about to end; try again\n".into()),
        },
        (Some("GET"), Some(_)) => ("404 Not Found", "metrics are at /metrics\n".into()),
        (_, _) => ("405 Method Not Allowed", "ask with GET\n".into()),
    };
    let kind = if status.starts_with('2') { CONTENT_TYPE } else { "text/plain; charset=utf-8" };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// The request's head, or as much as came of it.
fn head<S>(stream: &S) -> io::Result<String>
where
    for<'a> &'a S: Read,
{
    let (mut head, mut buffer, mut stream) = (Vec::new(), [0; 1024], stream);
    while head.len() < LONGEST_HEAD && !head.windows(4).any(|it| it == b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        head.extend_from_slice(&buffer[..length]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn scrape(inputs: &Sender<Input>, flows: &FlowLog) -> Option<String> {
    let (replies, answers) = mpsc::channel();
    inputs.send(Input::Request(Request::Status, replies)).ok()?;
    let Reply::Status(status) = answers.recv().ok()? else { return None };
    Some(render(&status, &flows.traffic()))
}
