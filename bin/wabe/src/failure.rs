//! How commands fail: a message that names the next step, and an exit status.

use std::{fmt::Display, process::ExitCode};

use wabe_agent::api;
use wabe_keeper::client;

/// Why a command did not do what it was to do.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    message: String,
}

/// Refused, not ready, or invalid input.
const REFUSED: u8 = 1;
/// Wrong usage.
const USAGE: u8 = 2;
/// The mesh does not run, or the machine lacks something.
const ENVIRONMENT: u8 = 3;

impl Failure {
    /// The mesh says no, or the input is not valid.
    pub(crate) fn refused(message: impl Display) -> Self {
        Self { status: REFUSED, message: message.to_string() }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { status: USAGE, message: message.to_string() }
    }

    /// The mesh does not run, or the machine lacks something.
    pub(crate) fn environment(message: impl Display) -> Self {
        Self { status: ENVIRONMENT, message: message.to_string() }
    }

    /// The same, and what else went wrong because of it.
    pub(crate) fn and(self, more: impl Display) -> Self {
        Self { message: format!("{}\n{more}", self.message), ..self }
    }

    /// Prints the message and gives the status. With `json` the message is an object, on stderr too.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            eprintln!("{}", serde_json::json!({ "error": self.message, "status": self.status }));
        } else {
            eprintln!("wabe: {}", self.message);
        }
        ExitCode::from(self.status)
    }

    /// The message.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// Only root may do what nearly every command does.
pub(crate) fn require_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::environment("only root can do this: use sudo"))
}

impl From<client::ClientError> for Failure {
    fn from(error: client::ClientError) -> Self {
        match error {
            client::ClientError::Refused(_) => Self::refused(error),
            client::ClientError::NotRunning { .. }
            | client::ClientError::Forbidden { .. }
            | client::ClientError::Io(_)
            | client::ClientError::Misunderstood => Self::environment(error),
        }
    }
}

impl From<api::ClientError> for Failure {
    fn from(error: api::ClientError) -> Self {
        Self::environment(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::environment(error)
    }
}
