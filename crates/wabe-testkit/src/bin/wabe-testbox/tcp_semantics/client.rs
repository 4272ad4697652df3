//! The side that judges.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    Case,
    data::{LARGE, PIECES, SMALL, Sum, WAIT_ALL, bytes},
};

/// Whom to ask, and how much.
pub(super) struct Client {
    pub(super) target: SocketAddr,
    /// Connections of [`Case::ParallelUploads`].
    pub(super) uploads: u32,
    /// Bytes on each.
    pub(super) upload_bytes: usize,
    /// A transfer that stands still this long has failed.
    pub(super) patience: Duration,
}

impl Client {
    /// Tries one case.
    ///
    /// # Errors
    /// What was not as TCP promises.
    pub(super) fn run(&self, case: Case) -> Result<()> {
        match case {
            Case::HalfClose => {
                let mut stream = self.open(case, id())?;
                stream.write_all(&bytes(5, SMALL))?;
                finish(&stream, Sum::of(&bytes(5, SMALL)))
            }
            Case::HalfCloseByServer => self.half_close_by_server(),
            Case::Ask => bail!("no case of its own"),
            Case::ResetOnUnreadClose => {
                let mut stream = self.open(case, id())?;
                stream.write_all(b"nobody reads this")?;
                match stream.read(&mut [0]) {
                    Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => Ok(()),
                    other => bail!("expected ECONNRESET, got {other:?}"),
                }
            }
            Case::Splice => self.splice(),
            Case::WaitAll => self.wait_all(),
            Case::SendFile => self.send_file(),
            Case::BothWays => self.both_ways(),
            Case::ParallelUploads => self.parallel_uploads(),
        }
    }

    fn open(&self, case: Case, id: [u8; 8]) -> Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&self.target, self.patience).context("connect")?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        stream.set_nodelay(true)?;
        stream.write_all(&[&[case.byte()], &id[..]].concat())?;
        Ok(stream)
    }

    fn half_close_by_server(&self) -> Result<()> {
        let id = id();
        let mut stream = self.open(Case::HalfCloseByServer, id)?;
        expect(&mut stream, Sum::of(&bytes(1, SMALL)))?;
        stream.write_all(&bytes(2, SMALL)).context("after the server's end of file")?;
        drop(stream);
        let heard = Sum::receive(self.open(Case::Ask, id)?)?;
        ensure!(heard == Sum::of(&bytes(2, SMALL)), "the server got {heard:?}");
        Ok(())
    }

    fn splice(&self) -> Result<()> {
        let mut stream = self.open(Case::Splice, id())?;
        let mut writer = stream.try_clone()?;
        let sender = thread::spawn(move || -> io::Result<()> {
            writer.write_all(&bytes(6, LARGE))?;
            writer.shutdown(Shutdown::Write)
        });
        expect(&mut stream, Sum::of(&bytes(6, LARGE)))?;
        joined(sender)
    }

    fn wait_all(&self) -> Result<()> {
        let mut stream = self.open(Case::WaitAll, id())?;
        let all = bytes(7, WAIT_ALL);
        for piece in all.chunks(WAIT_ALL / PIECES) {
            stream.write_all(piece)?;
            // Not to wait for anything: the pause is what an early return would show in.
            thread::sleep(Duration::from_millis(20));
        }
        let heard = Sum::receive(&stream)?;
        ensure!(heard == Sum::of(&all), "of {WAIT_ALL} bytes one recv() got {}", heard.length);
        Ok(())
    }

    fn send_file(&self) -> Result<()> {
        let stream = self.open(Case::SendFile, id())?;
        let mut file = memory_file(c"testbox")?;
        let all = bytes(8, LARGE);
        file.write_all(&all)?;
        let mut offset: libc::off_t = 0;
        while usize::try_from(offset)? < LARGE {
            let left = LARGE - usize::try_from(offset)?;
            // SAFETY: the offset lives until the call returns.
            let sent = unsafe { libc::sendfile(stream.as_raw_fd(), file.as_raw_fd(), &raw mut offset, left) };
            ensure!(sent > 0, "sendfile: {}", io::Error::last_os_error());
        }
        finish(&stream, Sum::of(&all))
    }

    fn both_ways(&self) -> Result<()> {
        let mut stream = self.open(Case::BothWays, id())?;
        let mut writer = stream.try_clone()?;
        let sender = thread::spawn(move || -> io::Result<()> {
            writer.write_all(&bytes(4, LARGE))?;
            writer.shutdown(Shutdown::Write)
        });
        let mut all = vec![0; LARGE];
        stream.read_exact(&mut all)?;
        ensure!(all == bytes(3, LARGE), "what came differs from what was sent");
        joined(sender)?;
        let heard = Sum::receive(&stream)?;
        ensure!(heard == Sum::of(&bytes(4, LARGE)), "the server got {heard:?}");
        Ok(())
    }

    fn parallel_uploads(&self) -> Result<()> {
        // All are open before the first sends.
        let open =
            |number| self.open(Case::ParallelUploads, id()).with_context(|| format!("connection {number}"));
        let streams = (0..self.uploads).map(open).collect::<Result<Vec<_>>>()?;
        let length = self.upload_bytes;
        let mut uploads = Vec::new();
        for (number, mut stream) in (0_u64..).zip(streams) {
            let upload = move || {
                let all = bytes(100 + number, length);
                stream.write_all(&all)?;
                finish(&stream, Sum::of(&all)).with_context(|| format!("connection {number}"))
            };
            // Hundreds of them: small stacks.
            uploads.push(thread::Builder::new().stack_size(256 << 10).spawn(upload)?);
        }
        for upload in uploads {
            upload.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(())
    }
}

/// Ends this half, and compares what the server then says that it got.
fn finish(stream: &TcpStream, sent: Sum) -> Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let heard = Sum::receive(stream).context("no answer after half-close")?;
    ensure!(heard == sent, "sent {sent:?}, the server got {heard:?}");
    Ok(())
}

fn expect(stream: &mut TcpStream, sum: Sum) -> Result<()> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let got = Sum::of(&all);
    ensure!(got == sum, "expected {sum:?}, got {got:?}");
    Ok(())
}

fn joined(sender: thread::JoinHandle<io::Result<()>>) -> Result<()> {
    sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?.context("sending")
}

/// Different for each connection that this or another client makes.
fn id() -> [u8; 8] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    ((u64::from(process::id()) << 32) | u64::from(number)).to_ne_bytes()
}

fn memory_file(name: &CStr) -> io::Result<File> {
    // SAFETY: a string that ends in zero and lives until the call returns.
    let descriptor = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}
