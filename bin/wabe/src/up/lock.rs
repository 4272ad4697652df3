//! One `up` at a time: two that look for free address ranges at once would find the same.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use rustix::fs::{FlockOperation, flock};
use wabe_keeper::layout::RUN;

use crate::failure::Failure;

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing it releases the lock")] fs::File);

/// Waits until no other `up` on this machine is starting a mesh.
pub(crate) fn meshes() -> Result<Lock, Failure> {
    loop {
        fs::create_dir_all(RUN)?;
        let folder = match fs::File::open(RUN) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        flock(&folder, FlockOperation::LockExclusive).map_err(io::Error::from)?;
        // `down` of the last mesh may have removed it meanwhile; then this lock locks nothing.
        if is_still(&folder, Path::new(RUN))? {
            return Ok(Lock(folder));
        }
    }
}

fn is_still(folder: &fs::File, path: &Path) -> io::Result<bool> {
    let ours = folder.metadata()?;
    match fs::metadata(path) {
        Ok(now) => Ok((now.dev(), now.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
