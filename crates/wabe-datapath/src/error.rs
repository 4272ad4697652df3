//! What can go wrong between user space and the kernel.

use std::{io, path::PathBuf};

/// An operation on the data plane that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object could not be loaded.
    #[error("the eBPF object could not be loaded: {0} (is the kernel 6.6 or newer, with BTF?)")]
    Load(#[from] aya::EbpfError),
    /// A program was refused by the verifier, or could not be attached.
    #[error("program {program}: {source}")]
    Program {
        /// Its name.
        program: &'static str,
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
    /// A map has no room for another row.
    #[error("map {map} is full ({limit} rows): remove services, endpoints or policies, or split the mesh")]
    Full {
        /// Its name.
        map: &'static str,
        /// Rows it has room for.
        limit: u64,
    },
    /// A pin could not be made, read or removed.
    #[error("{path}: {source}")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Living connections have their state in another version's layout.
    #[error(
        "map {0} is pinned in the layout of another version, and living connections have their state in it: what is in \
         force stays; to use this version, `wabe down` and `wabe up` the mesh"
    )]
    OtherLayout(&'static str),
    /// The object lacks something that it must have.
    #[error("the eBPF object has no {0}: it was built from other sources than this program")]
    Missing(&'static str),
}

impl Error {
    pub(crate) fn map(map: &'static str, source: impl Into<aya::maps::MapError>) -> Self {
        Self::Map { map, source: Box::new(source.into()) }
    }

    pub(crate) fn program(program: &'static str, source: impl Into<aya::programs::ProgramError>) -> Self {
        Self::Program { program, source: Box::new(source.into()) }
    }

    pub(crate) fn pin(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Pin { path: path.into(), source }
    }
}
