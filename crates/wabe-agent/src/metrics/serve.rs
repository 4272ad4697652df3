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
    time::{Duration, Instant},
};

use wabe_keeper::protocol::ChildState;

use super::render;
use crate::{
    api::{Reply, Request},
    figures::Ledger,
    flows::FlowLog,
    reconcile::Input,
};

/// What a client gets to ask and to read in, all in all. One that is slower keeps other scrapes waiting so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause after a connection could not be accepted (no descriptors left, say).
const BREATH: Duration = Duration::from_millis(100);
/// How often what ended proxies counted is summed up.
const SUM_UP: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const LONGEST_HEAD: usize = 8 << 10;
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How the keeper's other processes are; empty if it can't tell.
pub(crate) type Processes = Arc<dyn Fn() -> Vec<ChildState> + Send + Sync>;

/// What a scrape asks.
#[derive(Clone)]
struct Sources {
    inputs: Sender<Input>,
    flows: Arc<FlowLog>,
    processes: Processes,
    ledger: Arc<Ledger>,
}

/// Answers at `socket`, for root only, and at `listener`, for everybody on the machine, until the process ends.
pub(crate) fn serve(
    socket: &Path,
    listener: Option<TcpListener>,
    inputs: &Sender<Input>,
    flows: &Arc<FlowLog>,
    processes: Processes,
    ledger: Ledger,
) -> io::Result<()> {
    let (inputs, flows, ledger) = (inputs.clone(), Arc::clone(flows), Arc::new(ledger));
    let sources = Sources { inputs, flows, processes, ledger };
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let unix = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    let of_ended = sources.clone();
    let sum_up = move || {
        loop {
            thread::sleep(SUM_UP);
            // Whether anybody scrapes or not: the keeper makes few files.
            if of_ended.ledger.has_ended() {
                drop(scrape(&of_ended));
            }
        }
    };
    thread::Builder::new().name("figures".into()).spawn(sum_up)?;
    let of_unix = sources.clone();
    let answer = move || {
        for stream in unix.incoming() {
            attend(stream, &of_unix);
        }
    };
    thread::Builder::new().name("metrics".into()).spawn(answer)?;
    if let Some(listener) = listener {
        let answer = move || {
            for stream in listener.incoming() {
                attend(stream, &sources);
            }
        };
        thread::Builder::new().name("metrics-tcp".into()).spawn(answer)?;
    }
    Ok(())
}

/// A connection of either kind.
trait Stream {
    /// For the next call.
    fn limit(&self, patience: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn limit(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))?;
        self.set_write_timeout(Some(patience))
    }
}

impl Stream for UnixStream {
    fn limit(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))?;
        self.set_write_timeout(Some(patience))
    }
}

/// What is left of the time until `deadline`; an error if nothing is.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A connection, or why there is none: then a breath, as the next try would fail as well.
fn attend<S: Stream>(stream: io::Result<S>, sources: &Sources)
where
    for<'a> &'a S: Read + Write,
{
    match stream {
        // What goes wrong on a connection is between it and the client.
        Ok(stream) => drop(converse(&stream, sources)),
        Err(_) => thread::sleep(BREATH),
    }
}

/// One request, one answer.
fn converse<S: Stream>(stream: &S, sources: &Sources) -> io::Result<()>
where
    for<'a> &'a S: Read + Write,
{
    let deadline = Instant::now() + PATIENCE;
    let head = head(stream, deadline)?;
    let mut words = head.split(' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics" | "/")) => match scrape(sources) {
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
    let (whole, mut written, mut writer) = ([head.as_bytes(), body.as_bytes()].concat(), 0, stream);
    while written < whole.len() {
        stream.limit(left(deadline)?)?;
        match writer.write(&whole[written..])? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            length => written += length,
        }
    }
    Ok(())
}

/// The request's head, or as much as came of it.
fn head<S: Stream>(stream: &S, deadline: Instant) -> io::Result<String>
where
    for<'a> &'a S: Read,
{
    let (mut head, mut buffer, mut reader) = (Vec::new(), [0; 1024], stream);
    while head.len() < LONGEST_HEAD && !head.windows(4).any(|it| it == b"\r\n\r\n") {
        stream.limit(left(deadline)?)?;
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        head.extend_from_slice(&buffer[..length]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn scrape(sources: &Sources) -> Option<String> {
    let (replies, answers) = mpsc::channel();
    sources.inputs.send(Input::Request(Request::Status, replies)).ok()?;
    let Reply::Status(status) = answers.recv().ok()? else { return None };
    let sums = sources.ledger.sums(&status);
    Some(render(&status, &(sources.processes)(), &sources.flows.traffic(), &sums))
}
