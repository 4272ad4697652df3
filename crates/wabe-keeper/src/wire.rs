//! Messages with file descriptors over a stream socket: four bytes of length (little endian), then JSON. Descriptors
//! travel with the length.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Serialize, de::DeserializeOwned};

/// The longest message; a list of a thousand workloads with long environments is far below it.
const LONGEST: usize = 16 << 20;

/// The most descriptors that one message may carry: more than all that a role of several processes leaves to its heir.
pub(crate) const MOST_DESCRIPTORS: usize = 16;

/// Sends one message, and copies of these descriptors with it.
///
/// # Errors
/// The peer has gone (`EPIPE`), or the message is longer than 16 MiB.
pub(crate) fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|it| *it as usize <= LONGEST)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "message longer than 16 MiB: split it"))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("more than {MOST_DESCRIPTORS} descriptors in one message"),
        ));
    }
    let header = length.to_le_bytes();
    let mut sent = retry(|| sendmsg(&socket, &[IoSlice::new(&header)], &mut control, SendFlags::NOSIGNAL))?;
    // A stream socket takes at least one byte, and the descriptors with it; the rest is bytes.
    let rest = [&header[sent..], &body].concat();
    sent = 0;
    while sent < rest.len() {
        sent += retry(|| rustix::net::send(&socket, &rest[sent..], SendFlags::NOSIGNAL))?;
    }
    Ok(())
}

/// Receives one message and the descriptors that came with it (close-on-exec). `None` if the peer has closed.
///
/// # Errors
/// It closed in the middle of a message, or what came is no message of this protocol.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut descriptors = Vec::new();
    let mut header = [0; 4];
    if !fill(&socket, &mut header, &mut descriptors)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(header) as usize;
    if length > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "message longer than 16 MiB: not this protocol?",
        ));
    }
    let mut body = vec![0; length];
    if !fill(&socket, &mut body, &mut descriptors)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((serde_json::from_slice(&body)?, descriptors)))
}

/// Reads until the buffer is full; `false` if the peer had closed before the first byte.
fn fill(socket: &impl AsFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = retry(|| {
            recvmsg(
                socket,
                &mut [IoSliceMut::new(&mut buffer[filled..])],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        match (got.bytes, filled) {
            (0, 0) => return Ok(false),
            (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (bytes, _) => filled += bytes,
        }
    }
    Ok(true)
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other.map_err(Into::into),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use std::{
        fs::File,
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
        thread,
    };

    use super::*;

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (near, far) = UnixStream::pair().unwrap();
        let long = "x".repeat(1 << 20);
        let sender = thread::spawn({
            let long = long.clone();
            move || {
                send(&near, &long, &[]).unwrap();
                send(&near, &"short", &[]).unwrap();
            }
        });
        assert_eq!(receive::<String>(&far).unwrap().unwrap().0, long);
        assert_eq!(receive::<String>(&far).unwrap().unwrap().0, "short");
        sender.join().unwrap();
        assert!(receive::<String>(&far).unwrap().is_none());
    }

    #[test]
    fn descriptors_stay_with_their_message() {
        let (near, far) = UnixStream::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send(&near, &1, &[]).unwrap();
        send(&near, &2, &[writer.as_fd()]).unwrap();
        send(&near, &3, &[]).unwrap();
        drop(writer);
        let counts: Vec<_> = (0..3)
            .map(|_| receive::<u32>(&far).unwrap().unwrap())
            .map(|(number, mut descriptors)| {
                if let Some(writer) = descriptors.pop() {
                    File::from(writer).write_all(b"hello").unwrap();
                    (number, true)
                } else {
                    (number, false)
                }
            })
            .collect();
        assert_eq!(counts, [(1, false), (2, true), (3, false)]);
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn refuses_what_is_no_message() {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        assert_eq!(receive::<u32>(&far).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_cut_message_is_an_error() {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(&[10, 0, 0, 0, b'1']).unwrap();
        drop(near);
        assert_eq!(receive::<u32>(&far).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
