//! The agent's side: one thread a conversation, none of which decides anything.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
};

use super::{Reply, Request};
use crate::{flows::FlowLog, reconcile::Input};

/// The longest request, in bytes: more than the largest manifests that `wabe check` reads.
const LONGEST_REQUEST: u64 = 256 << 20;
/// Flows that a follower may be behind before it loses some.
const FOLLOWER_BACKLOG: usize = 4096;

/// Listens at `socket`, for root only, until the process ends.
pub(crate) fn serve(socket: &Path, inputs: mpsc::Sender<Input>, flows: Arc<FlowLog>) -> io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    thread::Builder::new().name("api".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let (inputs, flows) = (inputs.clone(), Arc::clone(&flows));
            let conversation = move || {
                if let Err(error) = converse(stream, &inputs, &flows) {
                    tracing::debug!(%error, "a conversation broke off");
                }
            };
            if let Err(error) = thread::Builder::new().name("conversation".into()).spawn(conversation) {
                tracing::warn!(%error, "no thread for a conversation");
            }
        }
    })?;
    Ok(())
}

fn converse(stream: UnixStream, inputs: &mpsc::Sender<Input>, flows: &FlowLog) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new((&stream).take(LONGEST_REQUEST)).read_line(&mut line)?;
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            let message =
                format!("the request can't be read: {error}; is `wabe` another version than the agent?");
            return send(&stream, &Reply::Refused { message });
        }
    };
    if let Request::Flows { follow, last } = request {
        return send_flows(&stream, flows, follow, last);
    }
    let (replies, answers) = mpsc::channel();
    if inputs.send(Input::Request(request, replies)).is_err() {
        return send(&stream, &Reply::Refused { message: "the agent is about to end; try again".into() });
    }
    forward(&stream, &answers)
}

fn forward(stream: &UnixStream, answers: &Receiver<Reply>) -> io::Result<()> {
    answers.iter().try_for_each(|reply| send(stream, &reply))
}

fn send_flows(stream: &UnixStream, flows: &FlowLog, follow: bool, last: usize) -> io::Result<()> {
    let (past, new) = flows.read(last, follow.then_some(FOLLOWER_BACKLOG));
    for flow in past {
        send(stream, &Reply::Flow(Box::new((*flow).clone())))?;
    }
    if let Some(new) = new {
        return new.iter().try_for_each(|flow| send(stream, &Reply::Flow(Box::new((*flow).clone()))));
    }
    send(stream, &Reply::FlowsEnd { lost: flows.lost() })
}

fn send(mut stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}
