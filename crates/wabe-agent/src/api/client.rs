//! The command line's side.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Reply, Request};

/// Talking to the agent failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "the agent of this mesh does not answer at {path} ({source}); the keeper starts it again within seconds"
    )]
    Absent {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It broke off.
    #[error("the agent broke off: {0}; try again")]
    Broken(#[from] io::Error),
    /// It speaks another language.
    #[error(
        "the agent's answer can't be read ({0}); is it another version than this program? `wabe down`, `wabe up`"
    )]
    Language(#[from] serde_json::Error),
}

/// A conversation: one request, and its replies.
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Sends a request to the agent that listens at `socket`.
    pub fn ask(socket: &Path, request: &Request) -> Result<Self, ClientError> {
        let absent = |source| ClientError::Absent { path: socket.to_owned(), source };
        let mut stream = UnixStream::connect(socket).map_err(absent)?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// How long to wait for each reply; for ever unless this is called.
    ///
    /// # Errors
    /// The time is zero.
    pub fn set_patience(&self, patience: Duration) -> Result<(), ClientError> {
        Ok(self.stream.get_ref().set_read_timeout(Some(patience))?)
    }

    /// The next reply, as soon as there is one; `None` after the last.
    pub fn reply(&mut self) -> Result<Option<Reply>, ClientError> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&line)?))
    }
}
