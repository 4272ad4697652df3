//! What can go wrong.

use std::{io, path::PathBuf};

/// A data path of the lab that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object could not be loaded.
    #[error("the lab's eBPF object could not be loaded: {0}")]
    Load(#[from] aya::EbpfError),
    /// The verifier refused a program, or the kernel its attachment. The verifier's log is in the source's text.
    #[error("program {program}{on}: {source}", on = on.as_ref().map(|path| format!(" on {}", path.display())).unwrap_or_default())]
    Program {
        /// Its name.
        program: &'static str,
        /// The cgroup it was to be attached to.
        on: Option<PathBuf>,
        /// Why.
        source: Box<aya::programs::ProgramError>,
    },
    /// A map could not be read or written.
    #[error("map {map}: {source}")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        source: Box<aya::maps::MapError>,
    },
    /// A cgroup, a namespace or a process could not be looked at.
    #[error("{what}: {source}")]
    Place {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Something that the lab must not touch.
    #[error(
        "{what} is not the lab's own: its programs are attached to cgroups and namespaces that the lab made"
    )]
    Foreign {
        /// Which.
        what: String,
    },
    /// No socket of the process listens there.
    #[error("process {pid} has no socket that listens on port {port}")]
    NoListener {
        /// The process.
        pid: u32,
        /// The port.
        port: u16,
    },
    /// The kernel's own types are not as the bound on unread bytes needs them.
    #[error("this kernel's BTF has no {0}: socket to socket redirection can't be bounded here")]
    Unbounded(&'static str),
    /// The object lacks something that it must have.
    #[error("the lab's eBPF object has no {0}: it was built from other sources than this program")]
    Missing(&'static str),
}

impl Error {
    pub(crate) fn place(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Place { what, source }
    }

    pub(crate) fn map(map: &'static str, source: impl Into<aya::maps::MapError>) -> Self {
        Self::Map { map, source: Box::new(source.into()) }
    }

    pub(crate) fn program(program: &'static str, source: aya::programs::ProgramError) -> Self {
        Self::Program { program, on: None, source: Box::new(source) }
    }
}
