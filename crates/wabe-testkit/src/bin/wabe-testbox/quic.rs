//! QUIC, as real programs speak it: many connections over one unconnected socket, segmentation offload, packet information.

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, TransportConfig, VarInt};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use serde_json::json;

use crate::{args::Args, connect, report};

/// The name in the certificate, which nobody checks.
const NAME: &str = "echo";
/// The longest message.
const LONGEST: usize = 4 << 20;

/// Sends back what comes on each stream.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve(args: &Args) -> Result<()> {
    provide();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()])?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::with_single_cert(vec![cert.der().clone()], key)?;
    let endpoint = Endpoint::server(config, args.listen()?)?;
    report::line(&json!({ "listening": endpoint.local_addr()?.to_string() }));
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    // A caller that has gone wants no echo.
                    if let Ok(bytes) = receive.read_to_end(LONGEST).await {
                        send.write_all(&bytes).await.ok();
                        send.finish().ok();
                    }
                });
            }
        });
    }
    Ok(())
}

/// Keeps connections to every address over one socket, and sends messages on all of them.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn call(args: &mut Args) -> Result<()> {
    provide();
    let mut targets = vec![connect::target(args)?];
    while let Some(more) = connect::maybe_target(args)? {
        targets.push(more);
    }
    let connections: usize = args.option("parallel")?.unwrap_or(1);
    let count: usize = args.option("count")?.unwrap_or(1);
    let bytes: usize = args.option("bytes")?.unwrap_or(1000);
    let pause = args.millis("delay", 0)?;
    let any = if targets.iter().any(SocketAddr::is_ipv6) {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from(([0, 0, 0, 0], 0))
    };
    let mut endpoint = Endpoint::client(any)?;
    endpoint.set_default_client_config(trusting(args.millis("timeout", 5000)?)?);
    let mut open = Vec::new();
    for target in targets.iter().cycle().take(connections * targets.len()) {
        let connection =
            endpoint.connect(*target, NAME)?.await.with_context(|| format!("connecting to {target}"))?;
        open.push(connection);
    }
    let from: Vec<String> = open.iter().map(|it| it.remote_address().to_string()).collect();
    report::line(&json!({ "open": open.len(), "from": from }));
    let (mut echoes, mut errors) = (0_u64, Vec::new());
    for _ in 0..count {
        for connection in &open {
            match echo(connection, bytes).await {
                Ok(()) => echoes += 1,
                Err(error) => errors.push(format!("{error:#}")),
            }
        }
        tokio::time::sleep(pause).await;
    }
    report::line(&json!({ "echoes": echoes, "errors": errors }));
    endpoint.close(VarInt::from_u32(0), b"");
    endpoint.wait_idle().await;
    Ok(())
}

async fn echo(connection: &Connection, bytes: usize) -> Result<()> {
    let message: Vec<u8> = (0..bytes).map(|it| (it % 251) as u8).collect();
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&message).await?;
    send.finish()?;
    let answer = receive.read_to_end(LONGEST).await?;
    anyhow::ensure!(answer == message, "{} bytes came back, or others", answer.len());
    Ok(())
}

/// Another library in the program may have chosen another.
fn provide() {
    aws_lc_rs::default_provider().install_default().ok();
}

/// Gives up on a connection that is silent for so long.
fn trusting(idle: Duration) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(idle.try_into()?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Takes every certificate: who is who is the mesh's business here.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
