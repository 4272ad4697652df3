//! Certificates of the sidecars: a root of this run's own and SPIFFE identities.

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// The client's identity.
pub(super) const CLIENT: &str = "spiffe://cluster.local/ns/lab/sa/client";
/// The server's identity.
pub(super) const SERVER: &str = "spiffe://cluster.local/ns/lab/sa/server";

/// PEM texts; they live as long as the arm.
pub(super) struct Certificates {
    root: String,
    client: [String; 2],
    server: [String; 2],
}

impl Certificates {
    /// What each file is called, and holds.
    pub(super) fn files(&self) -> [(&'static str, &str); 5] {
        [
            ("root.pem", &self.root),
            ("client.pem", &self.client[0]),
            ("client.key", &self.client[1]),
            ("server.pem", &self.server[0]),
            ("server.key", &self.server[1]),
        ]
    }
}

/// Makes them with P-256 keys, as Istio's authority does if asked for elliptic curves.
pub(super) fn make() -> Result<Certificates> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "cluster.local");
    let root = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let identity = |name: &str| -> Result<[String; 2]> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.subject_alt_names = vec![SanType::URI(name.try_into().context("a SPIFFE id")?)];
        let key = KeyPair::generate()?;
        Ok([params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()])
    };
    Ok(Certificates { root, client: identity(CLIENT)?, server: identity(SERVER)? })
}
