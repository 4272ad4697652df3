//! The side that answers.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use anyhow::Result;
use serde_json::json;

use super::{
    Case,
    data::{LARGE, SMALL, Sum, WAIT_ALL, bytes},
};
use crate::report;

/// Serves for ever, a thread per connection.
pub(super) fn run(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    report::line(&json!({ "listening": listener.local_addr()?.to_string() }));
    let received = Arc::new(Received::default());
    loop {
        let (stream, _) = listener.accept()?;
        let received = Arc::clone(&received);
        // The client sees what goes wrong here; the line is for whoever reads the log.
        thread::spawn(move || {
            if let Err(error) = answer(stream, &received) {
                eprintln!("connection ended: {error}");
            }
        });
    }
}

/// What came on connections that leave no way to say so; asked for on another.
#[derive(Default)]
struct Received {
    sums: Mutex<HashMap<[u8; 8], Sum>>,
    came: Condvar,
}

impl Received {
    fn put(&self, id: [u8; 8], sum: Sum) {
        self.sums.lock().expect("invariant: nothing panics while locked").insert(id, sum);
        self.came.notify_all();
    }

    fn wait(&self, id: [u8; 8]) -> Sum {
        let mut sums = self.sums.lock().expect("invariant: nothing panics while locked");
        loop {
            match sums.remove(&id) {
                Some(sum) => return sum,
                None => sums = self.came.wait(sums).expect("invariant: nothing panics while locked"),
            }
        }
    }
}

fn answer(mut stream: TcpStream, received: &Received) -> io::Result<()> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let [case, id @ ..] = head;
    match Case::of_byte(case).ok_or(io::ErrorKind::InvalidData)? {
        Case::HalfClose | Case::SendFile | Case::ParallelUploads => rest(&mut stream)?.send(&stream),
        Case::HalfCloseByServer => {
            stream.write_all(&bytes(1, SMALL))?;
            stream.shutdown(Shutdown::Write)?;
            received.put(id, rest(&mut stream)?);
            Ok(())
        }
        Case::Ask => received.wait(id).send(&stream),
        // What the client sent lies unread in the buffer when this closes.
        Case::ResetOnUnreadClose => stream.peek(&mut [0]).map(drop),
        Case::Splice => {
            splice_back(&stream)?;
            stream.shutdown(Shutdown::Write)
        }
        Case::WaitAll => {
            let mut buffer = vec![0; WAIT_ALL];
            // SAFETY: the buffer is as long as said and lives until the call returns.
            let got = unsafe {
                libc::recv(stream.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_WAITALL)
            };
            Sum::of(&buffer[..length(got)?]).send(&stream)
        }
        Case::BothWays => {
            let mut writer = stream.try_clone()?;
            let sender = thread::spawn(move || writer.write_all(&bytes(3, LARGE)));
            let sum = rest(&mut stream)?;
            sender.join().map_err(|_| io::ErrorKind::Other)??;
            sum.send(&stream)
        }
    }
}

fn rest(stream: &mut TcpStream) -> io::Result<Sum> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    Ok(Sum::of(&all))
}

/// From the socket into a pipe and back, no byte through this program, until the client has sent all.
fn splice_back(stream: &TcpStream) -> io::Result<()> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptors were just made and nobody else has them.
    let [out, into] = ends.map(|it| unsafe { OwnedFd::from_raw_fd(it) });
    loop {
        let mut left = splice(stream.as_raw_fd(), into.as_raw_fd(), 1 << 16)?;
        if left == 0 {
            return Ok(());
        }
        while left > 0 {
            left -= splice(out.as_raw_fd(), stream.as_raw_fd(), left)?;
        }
    }
}

fn splice(from: i32, to: i32, most: usize) -> io::Result<usize> {
    let (nowhere, flags) = (std::ptr::null_mut(), libc::SPLICE_F_MOVE);
    // SAFETY: no offsets are passed, and no memory.
    length(unsafe { libc::splice(from, nowhere, to, nowhere, most, flags) })
}

fn length(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
