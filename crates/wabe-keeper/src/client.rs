//! Talking with the keeper.

use std::{
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::socket_peercred,
    process::{PidfdFlags, pidfd_open},
};
use thiserror::Error;

use crate::{
    layout::Mesh,
    protocol::{
        Created, Event, ExecSpec, ExitStatus, InstanceSpec, InstanceState, KeeperState, Reconnection,
        Request, Response,
    },
    wire,
};

/// How long the keeper's process is waited for once it has said that nothing is left.
const LAST_BREATH: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// A connection to the keeper. Calls block until the keeper has answered, which takes milliseconds but for
/// [`Client::remove`] (until the processes are gone), [`Client::exec`] and [`Client::shutdown`].
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
}

/// A workload's namespaces, as the keeper made them.
#[derive(Debug)]
pub struct CreatedInstance {
    /// What the kernel calls it.
    pub created: Created,
    /// Its network namespace.
    pub netns: OwnedFd,
    /// A `sock_diag` netlink socket inside it.
    pub diag: OwnedFd,
    /// The proxy's listener inside it; an earlier keeper has none.
    pub proxy: Option<OwnedFd>,
}

/// Why the keeper didn't do it.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is no keeper.
    #[error("mesh `{mesh}` does not run: start it with `wabe up`")]
    NotRunning {
        /// Which mesh.
        mesh: String,
    },
    /// Only root may.
    #[error("the keeper of mesh `{mesh}` talks with root only: use sudo")]
    Forbidden {
        /// Which mesh.
        mesh: String,
    },
    /// The keeper says no.
    #[error("{0}")]
    Refused(String),
    /// The keeper went away, or is not a keeper.
    #[error("the keeper does not answer ({0}): look for it with `wabe status`")]
    Io(#[from] io::Error),
    /// An answer to another question.
    #[error("the keeper's answer was not understood: are `wabe` and the mesh of one version?")]
    Misunderstood,
}

impl Client {
    /// Connects to the keeper of this mesh.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] or [`ClientError::Forbidden`].
    pub fn connect(mesh: &Mesh) -> Result<Self, ClientError> {
        let mesh_name = mesh.name().to_owned();
        UnixStream::connect(mesh.keeper_socket()).map(|socket| Self { socket }).map_err(|error| {
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
                ClientError::NotRunning { mesh: mesh_name }
            } else if error.kind() == io::ErrorKind::PermissionDenied {
                ClientError::Forbidden { mesh: mesh_name }
            } else {
                error.into()
            }
        })
    }

    /// Gives up waiting for an answer after this time; the call fails with [`ClientError::Io`].
    ///
    /// # Errors
    /// The time is zero.
    pub fn set_patience(&self, patience: Option<Duration>) -> Result<(), ClientError> {
        Ok(self.socket.set_read_timeout(patience)?)
    }

    /// Asks anything.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the keeper's words, or the connection broke.
    pub fn call(&mut self, request: &Request) -> Result<Response, ClientError> {
        Ok(self.call_with(request, &[])?.0)
    }

    /// Who it is, and how agent, dns and proxy are.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn hello(&mut self) -> Result<KeeperState, ClientError> {
        let Response::Hello(state) = self.call(&Request::Hello)? else {
            return Err(ClientError::Misunderstood);
        };
        Ok(state)
    }

    /// Makes a workload's namespaces; finds them if they exist.
    ///
    /// # Errors
    /// As [`Client::call`]; also if there is a workload of this id with another spec.
    pub fn create(&mut self, spec: InstanceSpec) -> Result<CreatedInstance, ClientError> {
        self.created(&Request::Create(Box::new(spec)))
    }

    /// A workload's namespaces.
    ///
    /// # Errors
    /// As [`Client::call`]; also if there is no such workload.
    pub fn find(&mut self, id: u32) -> Result<CreatedInstance, ClientError> {
        self.created(&Request::Find { id })
    }

    /// Lets packets pass, and starts the process.
    ///
    /// # Errors
    /// As [`Client::call`]; also if there is no such workload.
    pub fn start(&mut self, id: u32) -> Result<(), ClientError> {
        self.done(&Request::Start { id })
    }

    /// Begins to stop it; an event tells when it is.
    ///
    /// # Errors
    /// As [`Client::call`]; also if there is no such workload.
    pub fn stop(&mut self, id: u32, grace: Option<Duration>) -> Result<(), ClientError> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.done(&Request::Stop { id, grace_ms: grace.map(milliseconds) })
    }

    /// Begins to stop it, to be started again.
    ///
    /// # Errors
    /// As [`Client::call`]; also if there is no such workload.
    pub fn restart(&mut self, id: u32) -> Result<(), ClientError> {
        self.done(&Request::Restart { id })
    }

    /// Kills it, and removes all that there is of it.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn remove(&mut self, id: u32) -> Result<(), ClientError> {
        self.done(&Request::Remove { id })
    }

    /// All workloads, by id.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn list(&mut self) -> Result<Vec<InstanceState>, ClientError> {
        let Response::List(list) = self.call(&Request::List)? else { return Err(ClientError::Misunderstood) };
        Ok(list)
    }

    /// Runs a command inside a workload, with this stdin, stdout and stderr, to its end. It is killed if this
    /// process ends before.
    ///
    /// # Errors
    /// As [`Client::call`]; also if the workload does not run, or the command can't be executed.
    pub fn exec(mut self, spec: ExecSpec, stdio: [BorrowedFd<'_>; 3]) -> Result<ExitStatus, ClientError> {
        let Response::Exited(status) = self.call_with(&Request::Exec(spec), &stdio)?.0 else {
            return Err(ClientError::Misunderstood);
        };
        Ok(status)
    }

    /// Everything that happens from now on, and first how things are. Ends when the keeper does, or if this side
    /// is too slow: subscribe again.
    ///
    /// # Errors
    /// The connection broke.
    pub fn subscribe(self) -> Result<impl Iterator<Item = Result<Event, ClientError>>, ClientError> {
        wire::send(&self.socket, &Request::Subscribe, &[])?;
        Ok(std::iter::from_fn(move || match wire::receive(&self.socket) {
            Ok(received) => received.map(|(event, _)| Ok(event)),
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Connects UDP sockets of a workload's processes anew; returns the inodes of those for which that went well.
    ///
    /// # Errors
    /// As [`Client::call`]; also if there is no such workload.
    pub fn reconnect(&mut self, id: u32, sockets: Vec<Reconnection>) -> Result<Vec<u32>, ClientError> {
        let Response::Reconnected(inodes) = self.call(&Request::Reconnect { id, sockets })? else {
            return Err(ClientError::Misunderstood);
        };
        Ok(inodes)
    }

    /// Ends the mesh: returns when nothing of it runs any more, the keeper included, which answers just before its end.
    ///
    /// # Errors
    /// As [`Client::call`]; also if something could not be removed.
    pub fn shutdown(mut self) -> Result<(), ClientError> {
        let keeper = socket_peercred(&self.socket).and_then(|it| pidfd_open(it.pid, PidfdFlags::empty()));
        self.done(&Request::Shutdown)?;
        if let Ok(keeper) = keeper {
            poll(&mut [PollFd::new(&keeper, PollFlags::IN)], Some(&LAST_BREATH)).map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// Makes the keeper another program, with everything that runs. Returns when that one answers.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if something is under way, or if the program can't take over: nothing has changed then.
    pub fn replace(mut self, mesh: &Mesh, program: std::path::PathBuf) -> Result<KeeperState, ClientError> {
        match self.call(&Request::Replace { program }) {
            Err(ClientError::Io(error)) if has_ended(&error) => Self::connect(mesh)?.hello(),
            Err(error) => Err(error),
            Ok(_) => Err(ClientError::Misunderstood),
        }
    }

    /// Starts another proxy, of another program or of the one that runs; the one in charge drains once it serves. Returns the
    /// new one's process.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it does not get as far as serving: the one in charge goes on then.
    pub fn relieve_proxy(&mut self, program: Option<std::path::PathBuf>) -> Result<u32, ClientError> {
        let Response::Relieved { pid } = self.call(&Request::RelieveProxy { program })? else {
            return Err(ClientError::Misunderstood);
        };
        Ok(pid)
    }

    fn done(&mut self, request: &Request) -> Result<(), ClientError> {
        let Response::Done = self.call(request)? else { return Err(ClientError::Misunderstood) };
        Ok(())
    }

    fn created(&mut self, request: &Request) -> Result<CreatedInstance, ClientError> {
        let (response, descriptors) = self.call_with(request, &[])?;
        let mut descriptors = descriptors.into_iter();
        match (response, descriptors.next(), descriptors.next(), descriptors.next()) {
            (Response::Created(created), Some(netns), Some(diag), proxy) => {
                Ok(CreatedInstance { created, netns, diag, proxy })
            }
            _ => Err(ClientError::Misunderstood),
        }
    }

    fn call_with(
        &mut self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Response, Vec<OwnedFd>), ClientError> {
        match wire::send(&self.socket, request, descriptors) {
            // A keeper that turns us away says why before it hangs up.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
        match wire::receive(&self.socket)? {
            Some((Response::Error { message }, _)) => Err(ClientError::Refused(message)),
            Some(answer) => Ok(answer),
            None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }
}

/// Whether the other end closed, as it does when its program is replaced.
fn has_ended(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}
