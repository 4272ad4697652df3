//! A connection for a canary.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::BorrowedFd,
    thread,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Scene;

/// Longer than anything takes that works; shorter than what a canary may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Both ends. Reads and writes of either give up after [`PATIENCE`].
pub(super) struct Pair {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
}

impl Pair {
    /// A new connection whose two ends are established.
    pub(super) fn connect(scene: &Scene<'_>) -> io::Result<Self> {
        let listener = inside(scene.server_netns, || TcpListener::bind((scene.server_address, 0)))?;
        let address = listener.local_addr()?;
        let client = inside(scene.client_netns, || TcpStream::connect_timeout(&address, PATIENCE))?;
        listener.set_nonblocking(true)?;
        let server = accept(&listener, client.local_addr()?)?;
        for end in [&client, &server] {
            end.set_nonblocking(false)?;
            end.set_read_timeout(Some(PATIENCE))?;
            end.set_write_timeout(Some(PATIENCE))?;
            end.set_nodelay(true)?;
        }
        Ok(Self { client, server })
    }
}

/// The end of that caller, if it comes soon.
fn accept(listener: &TcpListener, caller: SocketAddr) -> io::Result<TcpStream> {
    const STEP: Duration = Duration::from_millis(1);
    for _ in 0..PATIENCE.as_millis() {
        match listener.accept() {
            Ok((stream, from)) if from == caller => return Ok(stream),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(STEP),
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Makes something in a network namespace, by a thread of its own: sockets stay where they were made.
pub(super) fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    make: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        let maker = scope.spawn(|| {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
            make()
        });
        maker.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
    })
}

/// No two places near each other are alike for long.
pub(super) fn content(length: usize) -> Vec<u8> {
    (0..length as u64).map(|place| (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}
