//! The keeper's socket: for root only, one thread a connection.

use std::{
    fs, io,
    net::Shutdown,
    os::{
        fd::AsFd as _,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use crate::{
    protocol::{Request, Response},
    supervise::{Message, Reply},
    wire,
};

/// Numbers for clients, and for probes that act as such.
pub(crate) static NEXT_CLIENT: AtomicU64 = AtomicU64::new(0);

/// Pause after a connection could not be accepted (no descriptors left, say).
const BREATH: Duration = Duration::from_millis(100);

/// Makes the socket.
///
/// # Errors
/// `AddrInUse` if a keeper listens there.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Its folder is root's alone, so that nobody gets in before the mode is set.
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Accepts connections for as long as the process lives.
pub(crate) fn serve(listener: UnixListener, outbox: Sender<Message>) -> io::Result<()> {
    thread::Builder::new().name("accept".into()).spawn(move || {
        for connection in listener.incoming() {
            let accepted = connection.and_then(|socket| admit(socket, outbox.clone()));
            if accepted.is_err() {
                thread::sleep(BREATH);
            }
        }
    })?;
    Ok(())
}

fn admit(socket: UnixStream, outbox: Sender<Message>) -> io::Result<()> {
    if !rustix::net::sockopt::socket_peercred(&socket)?.uid.is_root() {
        let message = "the keeper talks with root only: use sudo".into();
        return wire::send(&socket, &Response::Error { message }, &[]);
    }
    let client = NEXT_CLIENT.fetch_add(1, Ordering::Relaxed);
    thread::Builder::new().name("client".into()).stack_size(512 << 10).spawn(move || {
        // What goes wrong on a connection is between it and the client, who sees it close.
        let _ = converse(&socket, client, &outbox);
        let _ = socket.shutdown(Shutdown::Both);
    })?;
    Ok(())
}

fn converse(socket: &UnixStream, client: u64, outbox: &Sender<Message>) -> io::Result<()> {
    loop {
        let (request, descriptors) = match wire::receive::<Request>(socket) {
            Ok(Some(received)) => received,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let message = format!("not understood ({error}): are `wabe` and the mesh of one version?");
                return wire::send(socket, &Response::Error { message }, &[]);
            }
            Err(error) => return Err(error),
        };
        let lasting = matches!(request, Request::Exec(_) | Request::Subscribe);
        if lasting {
            notice_end(socket.try_clone()?, client, outbox.clone())?;
        }
        let (answer, replies) = channel();
        if outbox.send(Message::Asked { client, request, descriptors, answer }).is_err() {
            return Ok(());
        }
        // No reply comes if the keeper ends first.
        match replies.recv() {
            Err(_) => return Ok(()),
            Ok(Reply::Response(response, descriptors)) => {
                let descriptors: Vec<_> = descriptors.iter().map(|it| it.as_fd()).collect();
                wire::send(socket, &response, &descriptors)?;
            }
            Ok(Reply::Last(response, _written)) => wire::send(socket, &response, &[])?,
            Ok(Reply::Events(events)) => {
                for event in events {
                    wire::send(socket, &event, &[])?;
                }
            }
        }
        if lasting {
            return Ok(());
        }
    }
}

/// Tells when the client closes. It has nothing more to say on such a connection.
fn notice_end(socket: UnixStream, client: u64, outbox: Sender<Message>) -> io::Result<()> {
    thread::Builder::new().name("client-end".into()).stack_size(128 << 10).spawn(move || {
        while let Ok(Some(_)) = wire::receive::<serde_json::Value>(&socket) {}
        let _ = outbox.send(Message::Left { client });
    })?;
    Ok(())
}
