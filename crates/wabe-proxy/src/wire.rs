//! A connection's two directions, each with the bytes that wait in it.

use std::{
    cell::RefCell,
    future::{pending, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        RecvFlags, recv,
        sockopt::{set_socket_linger, set_tcp_user_timeout},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{sleep, timeout},
};

use crate::workers::busy_poll::heard;

/// Room for what is read at once: heads and small bodies.
const SMALL: usize = 8 << 10;
/// The same once a whole [`SMALL`] came at a time.
pub(crate) const LARGE: usize = 64 << 10;
/// How often it is looked whether the other end is done, while what came before that waits.
const BEHIND: Duration = Duration::from_secs(1);
/// What is longer is not copied to what waits to be written.
pub(crate) const COPIED: usize = 16 << 10;
/// So much waits to be written at most.
pub(crate) const WAITING: usize = 64 << 10;
/// How long, and for how many bytes, the other end is listened to once it was told that the connection ends: a reset would
/// take from it the answer that it has not read yet.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 256 << 10);
/// The same of one that has a body to send, and may not read before it has: how long it may be silent, and how long all may take.
const LINGER_FOR_BODY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What comes.
#[derive(Debug)]
pub(crate) struct Reader {
    half: OwnedReadHalf,
    /// Read and not used yet.
    pub(crate) buffer: BytesMut,
    /// The last read filled all the room there was.
    much: bool,
    /// And that was [`LARGE`].
    large: bool,
}

/// What goes.
#[derive(Debug)]
pub(crate) struct Writer {
    half: OwnedWriteHalf,
    /// Not written yet.
    pub(crate) buffer: BytesMut,
    heed: Heed,
    /// Something was written since this was set.
    pub(crate) wrote: bool,
}

/// Whether the other end is heeded that says that it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heed {
    Nothing,
    End,
    /// Something came that nobody reads yet; its end may be behind that.
    Behind,
}

/// Both directions.
pub(crate) fn split(stream: TcpStream) -> (Reader, Writer) {
    let (reading, writing) = stream.into_split();
    (
        Reader { half: reading, buffer: BytesMut::new(), much: false, large: false },
        Writer { half: writing, buffer: BytesMut::new(), heed: Heed::Nothing, wrote: false },
    )
}

impl Reader {
    /// More bytes, if there are any; 0 at the end.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.is_empty() && !self.much {
            return poll_fn(|context| self.poll_short(context)).await;
        }
        if self.buffer.capacity() == 0 {
            // Who waits for long needs no room meanwhile.
            poll_fn(|context| self.stream().poll_read_ready(context)).await?;
        }
        let room = if self.much { LARGE } else { SMALL };
        self.large = self.much;
        if self.buffer.capacity() - self.buffer.len() < room / 4 {
            self.buffer.reserve(room);
        }
        let free = self.buffer.capacity() - self.buffer.len();
        let got = self.half.read_buf(&mut self.buffer).await?;
        heard();
        self.much = got == free;
        Ok(got)
    }

    /// What begins: read to a place that all share, so that who waits holds no room, and who gets little holds little.
    fn poll_short(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        thread_local!(static PLACE: RefCell<Box<[u8]>> = RefCell::new(vec![0; SMALL].into()));
        PLACE.with_borrow_mut(|place| {
            let mut read = ReadBuf::new(place);
            ready!(Pin::new(&mut self.half).poll_read(context, &mut read))?;
            heard();
            self.buffer.extend_from_slice(read.filled());
            (self.much, self.large) = (read.remaining() == 0, false);
            Poll::Ready(Ok(read.filled().len()))
        })
    }

    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        pin!(self.fill()).poll(context)
    }

    /// Whether the last read filled all the room there was, and that was much.
    pub(crate) fn fills_its_room(&self) -> bool {
        self.large && self.much
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.half.as_ref()
    }

    /// Whether nothing came, the end neither. Costs no system call as long as nothing happens.
    pub(crate) fn is_quiet(&self) -> bool {
        let nothing = self.half.try_read(&mut [0]);
        self.buffer.is_empty() && nothing.is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock)
    }

    /// Gives its memory back while nobody needs it.
    pub(crate) fn rest(&mut self) {
        if self.buffer.is_empty() {
            (self.buffer, self.much) = (BytesMut::new(), false);
        }
    }
}

impl Writer {
    /// Writes what waits.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            let written = self.half.write(&self.buffer).await?;
            self.written(written)?;
        }
        Ok(())
    }

    /// Adds a head.
    pub(crate) fn put(&mut self, head: BytesMut) {
        if self.buffer.is_empty() {
            self.buffer = head;
        } else {
            self.buffer.extend_from_slice(&head);
        }
    }

    /// Adds data, and writes if much waits.
    pub(crate) async fn data(&mut self, mut data: Bytes) -> io::Result<()> {
        if data.len() < COPIED {
            self.buffer.extend_from_slice(&data);
            return if self.buffer.len() > WAITING { self.flush().await } else { Ok(()) };
        }
        while !self.buffer.is_empty() {
            let both = [IoSlice::new(&self.buffer), IoSlice::new(&data)];
            let written = self.half.write_vectored(&both).await?;
            let of_buffer = written.min(self.buffer.len());
            self.written(written)?;
            data.advance(written - of_buffer);
        }
        self.half.write_all(&data).await
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.half.as_ref()
    }

    /// Completes once the other end says that it is done, if that is heeded. Costs no system call as long as nothing comes. What
    /// comes hides that, so it is looked behind it now and then. Can be dropped and called again.
    pub(crate) async fn left(&mut self) {
        match self.heed {
            Heed::Nothing => return pending().await,
            Heed::End => {
                if poll_fn(|context| self.poll_left(context)).await {
                    return;
                }
                self.heed = Heed::Behind;
            }
            Heed::Behind => {}
        }
        while !has_ended(self.half.as_ref()) {
            sleep(BEHIND).await;
        }
    }

    /// True if it is done, false if something else came.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let stream = self.half.as_ref();
        loop {
            if ready!(stream.poll_read_ready(context)).is_err() {
                return Poll::Ready(true);
            }
            let peek = || Ok(recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)?.1);
            match stream.try_io(Interest::READABLE, peek) {
                Ok(1..) => return Poll::Ready(false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return Poll::Ready(true),
            }
        }
    }

    /// Looks from now on whether the other end says that it is done.
    pub(crate) fn heed(&mut self) {
        self.heed = Heed::End;
    }

    /// Writes what waits, then says that no more comes.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.half.shutdown().await
    }

    /// Has the connection reset once both halves are gone: what broke off must not look as if it had come to its end.
    pub(crate) fn reset(self) {
        let _ = set_socket_linger(self.half.as_ref(), Some(Duration::ZERO));
        // Dropped, it would say that all was said.
        self.half.forget();
    }

    fn written(&mut self, bytes: usize) -> io::Result<()> {
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if bytes >= self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.advance(bytes);
        }
        self.wrote = true;
        Ok(())
    }

    /// Gives its memory back while nobody needs it.
    pub(crate) fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}

/// Has the kernel end a connection whose other end takes nothing of what it is sent for so long.
pub(crate) fn expect_to_read(stream: &TcpStream, patience: Option<Duration>) {
    let milliseconds = patience.map_or(0, |it| u32::try_from(it.as_millis()).unwrap_or(u32::MAX));
    // Without it, it may take its time.
    let _ = set_tcp_user_timeout(stream, milliseconds);
}

/// Whether the other end has closed its direction, or all of the connection, whatever it said before.
fn has_ended(stream: &TcpStream) -> bool {
    // Errors and hang-ups are told unasked.
    let mut ended = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

/// Says that no more comes, and reads on for a while, so that the other end gets all that was written.
pub(crate) async fn close(mut reader: Reader, mut writer: Writer) {
    if writer.end().await.is_err() {
        return;
    }
    let mut left = LINGER.1;
    let listen = async {
        loop {
            reader.buffer.clear();
            match reader.fill().await {
                Ok(got) if got > 0 && got < left => left -= got,
                Ok(_) | Err(_) => return,
            }
        }
    };
    let _ = timeout(LINGER.0, listen).await;
}

/// The same, where what comes is the rest of a body that nobody takes.
pub(crate) async fn close_behind_body(mut reader: Reader, mut writer: Writer) {
    if writer.end().await.is_err() {
        return;
    }
    let listen = async {
        while matches!(timeout(LINGER_FOR_BODY.0, reader.fill()).await, Ok(Ok(1..))) {
            reader.buffer.clear();
        }
    };
    let _ = timeout(LINGER_FOR_BODY.1, listen).await;
}

/// A connection of which something was read already.
#[derive(Debug)]
pub(crate) struct Prefixed {
    first: Bytes,
    stream: TcpStream,
}

impl Prefixed {
    pub(crate) fn new(stream: TcpStream, first: Bytes) -> Self {
        Self { first, stream }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            heard();
            return Poll::Ready(Ok(()));
        }
        let length = self.first.len().min(buffer.remaining());
        let part = self.first.split_to(length);
        buffer.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
