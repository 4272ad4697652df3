//! A server of unary gRPC calls, which none of the others is: HTTP/2 with trailers.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use http::{HeaderMap, Response, header::HeaderValue};

/// A file with the message that callers send, in the place's folder.
pub(crate) const FILE: &str = "message";
/// Bytes of a message with its frame.
pub(crate) const BYTES: usize = 5 + 64;

/// A message of 64 bytes as gRPC frames it: not compressed, then its length (gRPC over HTTP2, "Length-Prefixed-Message").
pub(crate) const fn message() -> [u8; BYTES] {
    let mut message = [b'w'; BYTES];
    [message[0], message[1], message[2], message[3], message[4]] = [0, 0, 0, 0, 64];
    message
}

static MESSAGE: [u8; BYTES] = message();

/// Answers every call with one message and status 0, until killed.
///
/// # Errors
/// The address is taken.
pub(crate) fn serve(at: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(at).await.with_context(|| format!("binding {at}"))?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // A caller that goes is none of the others' concern.
            tokio::spawn(connection(stream));
        }
    })
}

async fn connection(stream: tokio::net::TcpStream) -> Result<(), h2::Error> {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1024).initial_window_size(1 << 20).initial_connection_window_size(1 << 24);
    let mut connection = builder.handshake::<_, &'static [u8]>(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(call(request.into_body(), respond));
    }
    Ok(())
}

async fn call(
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<&'static [u8]>,
) -> Result<(), h2::Error> {
    // A unary call begins with the whole message.
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut answer = respond.send_response(head, false)?;
    answer.send_data(&MESSAGE, false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    answer.send_trailers(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_framed_with_its_length() {
        let message = message();
        assert_eq!(message[..5], [0, 0, 0, 0, 64]);
        assert_eq!(message[5..], [b'w'; 64]);
    }
}
