//! From a workload's stdout and stderr to its log file.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
};

use super::rotate::RotatingFile;

/// What a pipe holds while the disk is slow, in bytes. More can't be had without privilege.
const PIPE: usize = 256 << 10;

/// Writes what comes out of a pipe to a file, on a thread of its own, until all who write are gone: this value, and
/// the processes that were given [`Pump::writer`].
#[derive(Debug)]
pub(crate) struct Pump {
    input: OwnedFd,
    /// Kept for the program that may replace this one.
    output: OwnedFd,
    desk: Arc<Mutex<Log>>,
}

impl Pump {
    /// Starts to write to this file; a new one is begun after `full` bytes.
    pub(crate) fn start(path: &Path, full: u64) -> io::Result<Self> {
        let (output, input) = pipe_with(PipeFlags::CLOEXEC)?;
        // A smaller pipe works too.
        let _ = fcntl_setpipe_size(&input, PIPE);
        Self::resume(path, full, input, output)
    }

    /// Goes on with a pipe that is there.
    pub(crate) fn resume(path: &Path, full: u64, input: OwnedFd, output: OwnedFd) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let desk = Arc::new(Mutex::new(Log { file: RotatingFile::open(path, full)?, lost: 0 }));
        // Who polls may find nothing: a signal came, or somebody else read it. Nobody may wait for more while holding the lock.
        fcntl_setfl(&output, fcntl_getfl(&output)? | OFlags::NONBLOCK)?;
        let (theirs, mut pipe) = (Arc::clone(&desk), File::from(output.try_clone()?));
        thread::Builder::new().name("log".into()).stack_size(256 << 10).spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            loop {
                // Waits outside the lock, and reads inside: whoever holds the lock knows that no line is on its way.
                match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], None) {
                    Ok(_) => {}
                    Err(Errno::INTR) => continue,
                    Err(_) => return,
                }
                let mut log = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                match pipe.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => log.write(&buffer[..length]),
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                    }
                    Err(_) => return,
                }
            }
        })?;
        Ok(Self { input, output, desk })
    }

    /// Both ends of the pipe: where processes write, and where it is read.
    pub(crate) fn ends(&self) -> [BorrowedFd<'_>; 2] {
        [self.input.as_fd(), self.output.as_fd()]
    }

    /// Leaves what is printed from now on in the pipe, until the guard is dropped.
    pub(crate) fn hold(&self) -> MutexGuard<'_, impl Sized> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a process to write to.
    pub(crate) fn writer(&self) -> io::Result<Stdio> {
        Ok(self.input.try_clone()?.into())
    }
}

#[derive(Debug)]
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

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use rustix::io::{read, write};

    use super::*;

    #[test]
    fn nobody_waits_for_what_does_not_come_while_the_pipe_is_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let pump = Arc::new(Pump::start(&folder.path().join("log"), 1000).expect("a pump"));
        let held = pump.hold();
        assert_eq!(write(&pump.input, b"a line\n"), Ok(7));
        // Its thread has heard of the line by now, and waits for its turn. Then somebody else takes it.
        thread::sleep(Duration::from_millis(100));
        assert_eq!(read(&pump.output, &mut [0; 16][..]), Ok(7));
        drop(held);
        thread::sleep(Duration::from_millis(100));
        let (told, heard) = mpsc::channel();
        thread::spawn({
            let pump = Arc::clone(&pump);
            move || {
                let _held = pump.hold();
                told.send(()).expect("the test waits");
            }
        });
        heard.recv_timeout(Duration::from_secs(10)).expect("the lock is to be had");
    }
}
