//! From one keeper to the next: the process stays the parent of all that runs, only its program is replaced (`execve`).
//!
//! What must not get lost travels as messages with descriptors through a socket pair whose other end becomes the new
//! program's stdin. Before the old program gives up anything, the new one reads the same messages in a trial run, so that
//! a program which can't take over is found out while there is still a keeper.

use std::{
    io::{self, BufRead, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt;
use serde::{Deserialize, Serialize};

use crate::{
    layout::Mesh,
    protocol::{ChildState, InstanceState},
    wire,
};

/// Grows when an older program would not understand what is left to it.
const FORMAT: u32 = 3;
/// The oldest form that this program understands.
const OLDEST_FORMAT: u32 = 1;
/// Bytes that wait in the socket pair while there is no program to read them: some ten thousand instances.
const ROOM: usize = 256 << 20;
/// How long a trial run may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One thing that is left to the next program. Descriptors go with each, in the order that is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Heirloom {
    /// First. With the listener and the node namespace.
    Keeper { format: u32, since_ms: u64 },
    /// Agent, dns or proxy. With both ends of its log's pipe, and the sockets that it serves; from form 3 on, with the links to
    /// the proxy's processes: the one in charge, then those that drain.
    Role(ChildState),
    /// A workload's replica. With its namespace, its `sock_diag` socket, both ends of its log's pipe, and, from form 2 on,
    /// the proxy's listener.
    Instance(Box<InstanceState>),
    /// Last.
    End,
}

impl Heirloom {
    pub(crate) fn keeper(since_ms: u64) -> Self {
        Self::Keeper { format: FORMAT, since_ms }
    }
}

/// What a program needs to go on as the keeper.
pub(crate) struct Legacy {
    pub(crate) since_ms: u64,
    pub(crate) listener: OwnedFd,
    pub(crate) node: OwnedFd,
    pub(crate) roles: Vec<(ChildState, Vec<OwnedFd>)>,
    pub(crate) instances: Vec<LeftInstance>,
}

/// A workload's replica that runs.
pub(crate) struct LeftInstance {
    pub(crate) state: InstanceState,
    /// Its namespace, its `sock_diag` socket, and both ends of its log's pipe.
    pub(crate) descriptors: [OwnedFd; 4],
    /// The proxy's listener.
    pub(crate) proxy: Option<OwnedFd>,
}

/// Whether a program understands what would be left to it; its own words if not.
pub(crate) fn rehearse(program: &Path, mesh: &Mesh, heirlooms: &[Heirloom]) -> Result<(), String> {
    let failed = |error: io::Error| format!("{} can't be tried: {error}", program.display());
    let mut child = successor(program, mesh)
        .arg("--rehearse")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut text = Vec::new();
    for heirloom in heirlooms {
        serde_json::to_writer(&mut text, heirloom).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
    }
    let input = child.stdin.take();
    // On a thread of its own: a program that doesn't read must not hold us up.
    thread::spawn(move || input.map(|mut input| input.write_all(&text)));
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{} can't take over ({}): {said}", program.display(), output.status))
}

/// The trial run: reads heirlooms as text.
///
/// # Errors
/// They are not understood.
pub fn rehearsal(input: impl BufRead) -> io::Result<()> {
    let mut last = None;
    for line in input.lines() {
        let heirloom: Heirloom = serde_json::from_str(&line?)?;
        check_format(&heirloom)?;
        last = Some(heirloom);
    }
    if last == Some(Heirloom::End) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Becomes the program. Returns only if that failed; nothing has changed then.
pub(crate) fn succeed(
    program: &Path,
    mesh: &Mesh,
    heirlooms: &[(Heirloom, Vec<BorrowedFd<'_>>)],
) -> io::Error {
    let leave = || -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        sockopt::set_socket_send_buffer_size_force(&ours, ROOM)?;
        ours.set_write_timeout(Some(PATIENCE))?;
        heirlooms.iter().try_for_each(|(heirloom, descriptors)| wire::send(&ours, heirloom, descriptors))?;
        Ok(theirs)
    };
    match leave() {
        Ok(theirs) => successor(program, mesh).arg("--succeed").stdin(OwnedFd::from(theirs)).exec(),
        Err(error) => error,
    }
}

/// What an earlier program left, read from stdin.
///
/// # Errors
/// It is not what [`succeed`] leaves.
pub(crate) fn inherit() -> io::Result<Legacy> {
    let socket = rustix::stdio::stdin().try_clone_to_owned()?;
    let next = || -> io::Result<(Heirloom, Vec<OwnedFd>)> {
        wire::receive(&socket)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    };
    let (first, descriptors) = next()?;
    check_format(&first)?;
    let (Heirloom::Keeper { since_ms, .. }, Ok([listener, node])) =
        (first, <[OwnedFd; 2]>::try_from(descriptors))
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut legacy = Legacy { since_ms, listener, node, roles: Vec::new(), instances: Vec::new() };
    loop {
        let (heirloom, descriptors) = next()?;
        match heirloom {
            Heirloom::Role(state) => legacy.roles.push((state, descriptors)),
            Heirloom::Instance(state) => {
                let mut descriptors = descriptors;
                let proxy = if descriptors.len() > 4 { descriptors.pop() } else { None };
                let descriptors = descriptors.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
                legacy.instances.push(LeftInstance { state: *state, descriptors, proxy });
            }
            Heirloom::End => break,
            Heirloom::Keeper { .. } => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    // Children must not inherit the socket.
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    Ok(legacy)
}

fn successor(program: &Path, mesh: &Mesh) -> Command {
    let mut command = Command::new(program);
    command.args(["--name", mesh.name(), "keeper"]);
    command
}

fn check_format(heirloom: &Heirloom) -> io::Result<()> {
    match heirloom {
        Heirloom::Keeper { format, .. } if !(OLDEST_FORMAT..=FORMAT).contains(format) => {
            let message = format!(
                "the running keeper leaves form {format}, this program knows {OLDEST_FORMAT} to {FORMAT}"
            );
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
        Heirloom::Keeper { .. } | Heirloom::Role(_) | Heirloom::Instance(_) | Heirloom::End => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    fn lines(heirlooms: &[Heirloom]) -> Vec<u8> {
        heirlooms.iter().flat_map(|it| [serde_json::to_vec(it).unwrap(), b"\n".to_vec()].concat()).collect()
    }

    #[test]
    fn a_rehearsal_takes_what_is_complete_and_understood() {
        let whole = [Heirloom::keeper(1), Heirloom::End];
        assert!(rehearsal(lines(&whole).as_slice()).is_ok());
        assert!(rehearsal(lines(&whole[..1]).as_slice()).is_err());
        let later = [Heirloom::Keeper { format: FORMAT + 1, since_ms: 1 }, Heirloom::End];
        let error = rehearsal(lines(&later).as_slice()).unwrap_err();
        assert!(error.to_string().contains("this program knows"), "{error}");
        assert!(rehearsal(b"{\"jewels\":{}}\n".as_slice()).is_err());
    }
}
