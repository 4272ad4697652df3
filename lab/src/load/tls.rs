//! TLS below HTTP/1.1: the bytes of one connection, in and out.

use std::{
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

/// Whom to believe, and who is expected.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// Roots from a PEM file; `host` is the name or address in the URL.
    ///
    /// # Errors
    /// The file has no certificate, or the host is no name.
    pub(super) fn new(roots: &Path, host: &str) -> Result<Self> {
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(roots).with_context(|| format!("{}", roots.display()))? {
            store.add(root.with_context(|| format!("{}", roots.display()))?)?;
        }
        anyhow::ensure!(!store.is_empty(), "{}: no certificate in it; PEM is expected", roots.display());
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let mut config = builder
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name =
            ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no name for TLS"))?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// A session's beginning.
    pub(super) fn begin(&self) -> Result<Session, String> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        session.map(|it| Session(Box::new(it))).map_err(|error| error.to_string())
    }
}

/// One connection's.
#[derive(Debug)]
pub(super) struct Session(Box<ClientConnection>);

impl Session {
    pub(super) fn is_ready(&self) -> bool {
        !self.0.is_handshaking()
    }

    /// Encrypts what is to be sent; [`Self::flush`] sends it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.writer().write_all(bytes).map_err(|error| error.to_string())
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self, socket: &OwnedFd) -> io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(&mut Wire(socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                other => other.map(drop)?,
            }
        }
        Ok(())
    }

    /// Takes what the socket has; false at its end.
    pub(super) fn fill(&mut self, socket: &OwnedFd) -> io::Result<bool> {
        loop {
            match self.0.read_tls(&mut Wire(socket)) {
                Ok(0) => return Ok(false),
                Ok(_) => {
                    self.0.process_new_packets().map_err(io::Error::other)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// What is decrypted and not read yet; 0 if there is nothing.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        // Nothing yet and the end are alike here: `fill` tells the end.
        self.0.reader().read(buffer).unwrap_or(0)
    }
}

struct Wire<'a>(&'a OwnedFd);

impl io::Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0, buffer, RecvFlags::empty())?.0)
    }
}

impl io::Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
