//! Connected UDP sockets whose receiver is lost: the keeper connects them anew where something else serves what they
//! dialled; the others are disconnected, so that their applications hear of it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
    sync::mpsc::{Receiver, channel},
    thread,
};

use wabe_abi::{Be16, Exchange, Ip, Tuple};
use wabe_keeper::{client::Client, diag, layout::Mesh, protocol::Reconnection};

use crate::{reconcile::Follow, supervisor::Handles};

/// A workload whose sockets are to be seen to.
struct Task {
    workload: u32,
    diag: OwnedFd,
    exchanges: Vec<(Tuple, Exchange)>,
}

/// Starts a thread for that, so that the engine never waits for it.
///
/// # Errors
/// There can be no thread.
pub(crate) fn follower(mesh: &Mesh) -> io::Result<Follow> {
    let (sender, tasks) = channel();
    let mesh = mesh.clone();
    thread::Builder::new().name("datagrams".into()).spawn(move || work(&mesh, &tasks))?;
    Ok(Box::new(move |workload, handles: &Handles, exchanges| {
        let task = Task { workload, diag: handles.diag.try_clone()?, exchanges };
        sender.send(task).map_err(|_| io::Error::other("the thread for it has ended"))
    }))
}

fn work(mesh: &Mesh, tasks: &Receiver<Task>) {
    for task in tasks {
        match see_to(mesh, &task) {
            Ok((0, 0)) => {}
            Ok((moved, disconnected)) => {
                tracing::info!(
                    workload = task.workload,
                    moved,
                    disconnected,
                    "UDP sockets of a lost receiver"
                );
            }
            Err(error) => {
                tracing::error!(workload = task.workload, %error, "UDP sockets of a lost receiver can't be seen to");
            }
        }
    }
}

/// How many were moved, and how many disconnected.
fn see_to(mesh: &Mesh, task: &Task) -> io::Result<(usize, usize)> {
    let mut sockets = Vec::new();
    for (socket, inode) in diag::datagram_sockets(task.diag.as_fd())? {
        let is_its = |(tuple, _): &&(Tuple, Exchange)| {
            socket.local == address(tuple.source, tuple.source_port)
                && socket.remote == address(tuple.destination, tuple.destination_port)
        };
        sockets.extend(task.exchanges.iter().find(is_its).map(|(_, exchange)| (socket, inode, exchange)));
    }
    if sockets.is_empty() {
        return Ok((0, 0));
    }
    // Who dialled the workload itself wanted no other.
    let to_service = sockets.iter().filter(|(_, _, exchange)| exchange.service != 0);
    let reconnections = to_service.map(|(_, inode, exchange)| Reconnection {
        inode: *inode,
        to: address(exchange.dialled, exchange.dialled_port),
    });
    let moved = Client::connect(mesh)
        .and_then(|mut keeper| keeper.reconnect(task.workload, reconnections.collect()))
        .unwrap_or_else(|error| {
            tracing::error!(workload = task.workload, %error, "the keeper can't connect UDP sockets anew");
            Vec::new()
        });
    let mut disconnected = 0;
    for (socket, _, _) in sockets.iter().filter(|(_, inode, _)| !moved.contains(inode)) {
        disconnected += usize::from(diag::destroy_datagram_socket(task.diag.as_fd(), socket)?);
    }
    Ok((moved.len(), disconnected))
}

fn address(ip: Ip, port: Be16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(ip), port.host())
}
