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

use super::{render, text::Format};
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
                drop(scrape(&of_ended, Format::OpenMetrics));
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
    let format = Format::wanted(&accept(&head));
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics" | "/")) => match scrape(sources, format) {
            Some(text) => ("200 OK", text),
            None => ("503 Service Unavailable", "the agent is about to end; try again\n".into()),
        },
        (Some("GET"), Some(_)) => ("404 Not Found", "metrics are at /metrics\n".into()),
        (_, _) => ("405 Method Not Allowed", "ask with GET\n".into()),
    };
    let kind = if status.starts_with('2') { format.content_type() } else { "text/plain; charset=utf-8" };
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

/// What the head's fields `accept` say, together.
fn accept(head: &str) -> String {
    let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let named = fields.filter(|it| it.0.eq_ignore_ascii_case("accept")).map(|it| it.1.trim());
    named.collect::<Vec<_>>().join(",")
}

fn scrape(sources: &Sources, format: Format) -> Option<String> {
    let (replies, answers) = mpsc::channel();
    sources.inputs.send(Input::Request(Request::Status, replies)).ok()?;
    let Reply::Status(status) = answers.recv().ok()? else { return None };
    let sums = sources.ledger.sums(&status);
    Some(render(format, &status, &(sources.processes)(), &sources.flows.traffic(), &sums))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a request with these fields: head and body.
    fn asked(fields: &str) -> (String, String) {
        let (inputs, asked) = mpsc::channel();
        let folder = tempfile::tempdir().expect("a folder");
        let sources = Sources {
            inputs,
            flows: Arc::default(),
            processes: Arc::new(Vec::new),
            ledger: Arc::new(Ledger::at(folder.path(), &folder.path().join("none"))),
        };
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let answers = thread::spawn(move || converse(&theirs, &sources));
        write!(ours, "GET /metrics HTTP/1.1\r\nhost: mesh\r\n{fields}\r\n").expect("sent");
        let Input::Request(Request::Status, replies) = asked.recv().expect("it is asked") else {
            panic!("something else is asked for")
        };
        replies.send(Reply::Status(Box::default())).expect("told");
        let mut answer = String::new();
        ours.read_to_string(&mut answer).expect("an answer");
        answers.join().expect("it ends").expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn a_scrape_is_in_the_format_that_its_client_understands() {
        for fields in ["", "accept: */*\r\n", "Accept: text/plain;version=0.0.4\r\n"] {
            let (head, body) = asked(fields);
            assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
            assert!(body.contains("# TYPE wabe_build_info gauge\n"), "{body}");
            assert!(body.contains("# TYPE wabe_events_lost_total counter\n"), "{body}");
            let alien = |line: &&str| *line == "# EOF" || line.ends_with(" info");
            assert_eq!(body.lines().find(alien), None, "{body}");
        }
        let prometheus = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3\r\n";
        let (head, body) = asked(prometheus);
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
        assert!(body.contains("# TYPE wabe_build info\n") && body.ends_with("# EOF\n"), "{body}");
    }
}
