//! From a workload's stdout and stderr to its log file.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::Path,
    process::Stdio,
    thread,
};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::rotate::RotatingFile;

/// What a pipe holds while the disk is slow, in bytes. More can't be had without privilege.
const PIPE: usize = 256 << 10;

/// Writes what comes out of a pipe to a file, on a thread of its own, until all who write are gone: this value, and
/// the processes that were given [`Pump::writer`].
#[derive(Debug)]
pub(crate) struct Pump {
    input: OwnedFd,
}

impl Pump {
    /// Starts to write to this file; a new one is begun after `full` bytes.
    pub(crate) fn start(path: &Path, full: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut log = Log { file: RotatingFile::open(path, full)?, lost: 0 };
        let (output, input) = pipe_with(PipeFlags::CLOEXEC)?;
        // A smaller pipe works too.
        let _ = fcntl_setpipe_size(&input, PIPE);
        thread::Builder::new().name("log".into()).stack_size(256 << 10).spawn(move || {
            let mut output = File::from(output);
            let mut buffer = vec![0; 64 << 10];
            loop {
                match output.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => log.write(&buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        })?;
        Ok(Self { input })
    }

    /// For a process to write to.
    pub(crate) fn writer(&self) -> io::Result<Stdio> {
        Ok(self.input.try_clone()?.into())
    }
}

struct Log {
    file: RotatingFile,
    lost: usize,
}

impl Log {
    /// Never waits for a full disk: a workload is more important than its log.
    fn write(&mut self, bytes: &[u8]) {
        if self.lost > 0 {
            let note = format!("wabe: {} bytes were lost here, they could not be written\n", self.lost);
            if self.file.write(note.as_bytes()).is_ok() {
                self.lost = 0;
            }
        }
        if self.lost > 0 || self.file.write(bytes).is_err() {
            self.lost += bytes.len();
        }
    }
}
