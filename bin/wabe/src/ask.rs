//! Asking the agent.

use std::io;

use wabe_agent::api::{Changed, Client, ClientError, NotReady, Reply, Request};
use wabe_keeper::{client, layout::Mesh};
use wabe_model::{Kind, Object, ObjectName, Objects};

use crate::failure::{Failure, require_root};

/// A request with one reply.
pub(crate) fn once(mesh: &Mesh, request: &Request) -> Result<Reply, Failure> {
    match conversation(mesh, request)?.reply()? {
        Some(Reply::Refused { message }) => Err(Failure::refused(message)),
        Some(reply) => Ok(reply),
        None => Err(broken()),
    }
}

/// A request with several replies.
pub(crate) fn conversation(mesh: &Mesh, request: &Request) -> Result<Client, Failure> {
    require_root()?;
    match Client::ask(&mesh.agent_socket(), request) {
        // Without a keeper there is no mesh, which is the better thing to say.
        Err(error @ ClientError::Absent { .. }) => {
            client::Client::connect(mesh)?;
            Err(error.into())
        }
        other => Ok(other?),
    }
}

/// A request that changes something.
pub(crate) fn change(mesh: &Mesh, request: &Request) -> Result<Changed, Failure> {
    let reply = once(mesh, request)?;
    if let Reply::Changed(changed) = reply { Ok(changed) } else { Err(unexpected(&reply)) }
}

/// The mesh's objects.
pub(crate) fn objects(mesh: &Mesh, kind: Option<Kind>) -> Result<Objects, Failure> {
    let reply = once(mesh, &Request::Get { kind })?;
    if let Reply::Objects { objects } = reply { Ok(collect(objects)) } else { Err(unexpected(&reply)) }
}

/// Waits until workloads (all if none are named) are ready; `progress` hears of each step.
pub(crate) fn wait_ready(
    mesh: &Mesh,
    workloads: Vec<ObjectName>,
    timeout: u64,
    mut progress: impl FnMut(&ObjectName, u32, u32),
) -> Result<Result<(), Vec<NotReady>>, Failure> {
    let timeout = timeout.saturating_mul(1000);
    let mut replies = conversation(mesh, &Request::WaitReady { workloads, timeout })?;
    loop {
        match replies.reply()? {
            Some(Reply::Progress { workload, ready, wanted }) => progress(&workload, ready, wanted),
            Some(Reply::Ready) => return Ok(Ok(())),
            Some(Reply::NotReady { workloads }) => return Ok(Err(workloads)),
            Some(Reply::Refused { message }) => return Err(Failure::refused(message)),
            Some(other) => return Err(unexpected(&other)),
            None => return Err(broken()),
        }
    }
}

/// What no agent of this version answers.
pub(crate) fn unexpected(reply: &Reply) -> Failure {
    Failure::environment(format!("the agent answered something else: {reply:?}; is it another version?"))
}

/// The agent ended in the middle.
pub(crate) fn broken() -> Failure {
    ClientError::Broken(io::ErrorKind::UnexpectedEof.into()).into()
}

fn collect(objects: Vec<Object>) -> Objects {
    let mut all = Objects::default();
    objects.into_iter().for_each(|object| drop(all.insert(object)));
    all
}
