//! What can go wrong.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

/// Why programs can't be attached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A target that the lab can't have made.
    #[error("{0}: attaching there would reach beyond the lab")]
    NotOurs(PathBuf),
    /// A file or folder.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Envoy listens nowhere there.
    #[error("process {pid} does not listen on port {port}")]
    NoListener {
        /// The process.
        pid: u32,
        /// The port.
        port: u16,
    },
    /// The kernel's types do not have what the programs read.
    #[error(
        "{0}: this kernel's types do not tell where it is, so data can't go from socket to socket with a bound"
    )]
    NoField(&'static str),
    /// The object is not what this program expects.
    #[error("the lab's eBPF object lacks {0}")]
    Lacks(&'static str),
    /// The object could not be loaded.
    #[error("loading the lab's programs: {0}")]
    Load(#[from] EbpfError),
    /// A program was refused, or could not be attached.
    #[error("program {name}: {source}")]
    Program {
        /// Its name.
        name: &'static str,
        /// Why, with the verifier's words.
        source: ProgramError,
    },
    /// A map could not be read or written.
    #[error("the lab's maps: {0}")]
    Map(#[from] MapError),
}
