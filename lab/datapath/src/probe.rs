//! Whether the lab's programs can run here.

use crate::{
    Error, Limits,
    object::{self, Settings},
    offsets::Offsets,
    place, redirection, sockets,
};

/// Loads all programs, attaches none, and lets go of them. Takes some 100 ms.
///
/// # Errors
/// Why they can't run here, for people: no rights, no cgroup v2, or what the kernel or its verifier says.
pub fn probe() -> Result<(), String> {
    try_probe().map_err(|error| match std::error::Error::source(&error) {
        Some(source) if !error.to_string().contains(&source.to_string()) => format!("{error}: {source}"),
        Some(_) | None => error.to_string(),
    })
}

fn try_probe() -> Result<(), Error> {
    if place::mount_points()?.is_empty() {
        let source = std::io::Error::other("not mounted (mount -t cgroup2 none /sys/fs/cgroup)");
        return Err(Error::Place { what: "cgroup v2".to_owned(), source });
    }
    let mut ebpf = object::load(Limits { connections: 1 }, Settings::default(), Some(Offsets::of_kernel()?))?;
    redirection::PROGRAMS
        .into_iter()
        .chain(sockets::PROGRAMS)
        .try_for_each(|name| object::verify(&mut ebpf, name))
}
