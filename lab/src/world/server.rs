//! What answers in every arm: nginx with one worker, and an echo of datagrams.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
};

use anyhow::{Context, Result};

use super::pods::SERVER_CORE;
use crate::tools::nginx::Nginx;

/// Where nginx answers in its pod.
pub(crate) const HTTP: u16 = 8080;
/// Where nginx answers HTTP/2 with prior knowledge.
pub(crate) const HTTP2: u16 = 8082;
/// Where datagrams are echoed.
pub(crate) const ECHO: u16 = 9000;
/// nginx's configuration. Whatever it writes it writes into `scratch`; bodies are files in `bodies`.
pub(crate) fn nginx(scratch: &Path, bodies: &Path) -> String {
    let address = Ipv4Addr::UNSPECIFIED.into();
    Nginx { core: SERVER_CORE, address, port: HTTP, http2_port: HTTP2, bodies, scratch }.config()
}

/// Answers datagrams with themselves until killed.
///
/// # Errors
/// The address is taken.
pub fn echo(at: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(at).with_context(|| format!("binding {at}"))?;
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        // The peer may have gone.
        let _ = socket.send_to(&buffer[..length], from);
    }
}
