//! How a caller is answered, whatever protocol it speaks.

use std::{cell::Cell, io};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use http::{
    HeaderMap, Method, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, HeaderValue},
    response,
};
use serde::Serialize;
use wabe_http1::{BodyEncoder, Framing, write_response_head};

use crate::{
    body::{Sink, put},
    wire::Writer,
};

/// An answer that has not begun.
pub(crate) enum Answerer<'a> {
    /// On a connection that has one message at a time.
    Http1 {
        writer: &'a mut Writer,
        method: Method,
        version: Version,
        /// Whether the connection ends after this answer.
        closes: &'a Cell<bool>,
        /// Some of the request's body may not have been read.
        unread: bool,
    },
    /// Nobody waits for it.
    Nobody { method: Method },
    /// On a stream.
    Http2 { respond: SendResponse<Bytes>, method: Method },
}

/// What a caller speaks, as logs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Protocol {
    #[serde(rename = "HTTP/1.0")]
    Http10,
    #[serde(rename = "HTTP/1.1")]
    Http11,
    #[serde(rename = "HTTP/2")]
    Http2,
}

impl<'a> Answerer<'a> {
    /// Tells that the answer is still to come (1xx).
    pub(crate) async fn interim(&mut self, mut head: response::Parts) -> io::Result<()> {
        match self {
            // HTTP/1.0 knows none.
            Self::Nobody { .. } | Self::Http1 { version: Version::HTTP_10, .. } => Ok(()),
            Self::Http1 { writer, .. } => {
                write_response_head(&mut writer.buffer, &head, Framing::None);
                writer.flush().await
            }
            Self::Http2 { respond, .. } => {
                head.version = Version::HTTP_2;
                // One that can't be told can be done without; a caller that has left is heard of otherwise.
                let _ = respond.send_informational(Response::from_parts(head, ()));
                Ok(())
            }
        }
    }

    /// The answer's head. `framing` is how its body comes, or would come if the caller asked for it.
    pub(crate) fn begin(self, mut head: response::Parts, framing: Framing) -> io::Result<Sink<'a>> {
        match self {
            Self::Nobody { .. } => Ok(Sink::Nothing),
            Self::Http1 { writer, method, version, closes, unread: _ } => {
                let switches = switches_protocol(&method, head.status);
                if method == Method::CONNECT && !switches && !head.status.is_informational() {
                    // What follows was meant for somebody else, perhaps, and is no request.
                    closes.set(true);
                }
                let bodyless = has_no_body(&method, head.status);
                let framing = match framing {
                    Framing::Chunked | Framing::UntilClose if version == Version::HTTP_10 => {
                        Framing::UntilClose
                    }
                    // What ends with its connection there can be told from what broke off, here.
                    Framing::UntilClose => Framing::Chunked,
                    framing @ (Framing::None | Framing::Length(_) | Framing::Chunked) => framing,
                };
                if framing == Framing::UntilClose && !bodyless {
                    closes.set(true);
                }
                if !switches {
                    if closes.get() {
                        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
                    } else if version == Version::HTTP_10 {
                        head.headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
                    }
                }
                let framing = if bodyless || switches { Framing::None } else { framing };
                write_response_head(&mut writer.buffer, &head, framing);
                Ok(Sink::Http1 { writer, encoder: Some(BodyEncoder::new(framing)) })
            }
            Self::Http2 { mut respond, method } => {
                head.version = Version::HTTP_2;
                let ends = has_no_body(&method, head.status)
                    || matches!(framing, Framing::None | Framing::Length(0));
                let stream =
                    respond.send_response(Response::from_parts(head, ()), ends).map_err(io::Error::other)?;
                Ok(if ends { Sink::Nothing } else { Sink::Http2(stream) })
            }
        }
    }

    /// Whether [`Self::begin_plain`] can begin it.
    pub(crate) fn takes_plain(&self) -> bool {
        matches!(self, Self::Http1 { version: Version::HTTP_11, method, .. } if method != Method::CONNECT)
    }

    /// What its caller speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Http1 { version: Version::HTTP_10, .. } => Protocol::Http10,
            Self::Http1 { .. } | Self::Nobody { .. } => Protocol::Http11,
            Self::Http2 { .. } => Protocol::Http2,
        }
    }

    /// The answer's head as [`wabe_http1::plain_response`] gives it: for callers of HTTP/1.1.
    pub(crate) fn begin_plain(self, mut lines: BytesMut, framing: Framing) -> io::Result<Sink<'a>> {
        let Self::Http1 { writer, closes, .. } = self else { return Err(io::ErrorKind::Unsupported.into()) };
        if closes.get() {
            lines.extend_from_slice(b"connection: close\r\n");
        }
        lines.extend_from_slice(b"\r\n");
        writer.put(lines);
        Ok(Sink::Http1 { writer, encoder: Some(BodyEncoder::new(framing)) })
    }

    /// All of the request was read.
    pub(crate) fn has_read(&mut self) {
        match self {
            Self::Http1 { unread, .. } => *unread = false,
            Self::Nobody { .. } | Self::Http2 { .. } => {}
        }
    }

    /// Looks again whether the caller leaves, as before something came of which nobody knew what it is.
    pub(crate) fn heed(&mut self) {
        match self {
            Self::Http1 { writer, .. } => writer.heed(),
            Self::Nobody { .. } | Self::Http2 { .. } => {}
        }
    }

    /// Nothing more is answered on this connection, if it has one message at a time.
    pub(crate) fn is_last(&self) {
        match self {
            Self::Http1 { closes, .. } => closes.set(true),
            Self::Nobody { .. } | Self::Http2 { .. } => {}
        }
    }

    /// An answer of the proxy's own. Where not all of the request was read it is the last one on its connection.
    pub(crate) async fn tell(self, head: response::Parts, text: Bytes) -> io::Result<()> {
        match &self {
            Self::Http1 { closes, unread: true, .. } => closes.set(true),
            Self::Http1 { unread: false, .. } | Self::Nobody { .. } | Self::Http2 { .. } => {}
        }
        let bodyless = has_no_body(self.method(), head.status);
        let framing = Framing::Length(text.len() as u64);
        let mut sink = self.begin(head, framing)?;
        put(&mut sink, if bodyless { Bytes::new() } else { text }).await
    }

    /// Waits until the caller has no more use for the answer; for ever if it can't say so.
    pub(crate) async fn forsaken(&mut self) {
        match self {
            Self::Nobody { .. } => std::future::pending().await,
            Self::Http1 { writer, .. } => writer.left().await,
            Self::Http2 { respond, .. } => {
                let _ = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            }
        }
    }

    pub(crate) fn method(&self) -> &Method {
        match self {
            Self::Http1 { method, .. } | Self::Http2 { method, .. } | Self::Nobody { method } => method,
        }
    }
}

/// Whether what follows is another protocol (RFC 9110, sections 9.3.6 and 15.2.2).
pub(crate) fn switches_protocol(method: &Method, status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || (method == Method::CONNECT && status.is_success())
}

/// RFC 9110, section 6.4.1.
fn has_no_body(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// What a head says of its body's length.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
