//! Writes heads: in one form, whatever they were read from.

use bytes::{BufMut as _, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request, response, uri::Authority,
};

use crate::{EncodeError, Framing, Reason, framing::never_has_body};

/// Appends the head of a request, as HTTP/1.1 whatever its version was.
///
/// The target is in origin form (`*` and, of CONNECT, the authority are as they are). Without a `Host` among the fields the
/// target's authority becomes one, as in a request that came by HTTP/2.
/// `Content-Length` and `Transfer-Encoding` are written by the framing, those among the fields are left out. `TE` is announced in
/// `Connection`.
///
/// # Errors
/// Nothing has been written then.
pub fn write_request_head(
    out: &mut BytesMut,
    head: &request::Parts,
    framing: Framing,
) -> Result<(), EncodeError> {
    let target = if head.method == Method::CONNECT {
        head.uri.authority().filter(|it| it.port().is_some()).ok_or(EncodeError::NoAuthority)?.as_str()
    } else {
        head.uri.path_and_query().map_or("/", |it| it.as_str())
    };
    if framing == Framing::UntilClose {
        return Err(EncodeError::RequestUntilClose);
    }
    if !target.bytes().all(|it| it.is_ascii_graphic()) {
        return Err(EncodeError::Target);
    }
    let host = if head.headers.contains_key(header::HOST) {
        None
    } else {
        Some(head.uri.authority().map(without_user).ok_or(EncodeError::NoHost)?)
    };
    let line = head.method.as_str().len() + target.len() + host.map_or(0, str::len);
    reserve(out, &head.headers, line);
    out.put_slice(head.method.as_str().as_bytes());
    out.put_u8(b' ');
    // A query without a path has one.
    if target.starts_with('?') {
        out.put_u8(b'/');
    }
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    if let Some(host) = host {
        out.put_slice(b"host: ");
        out.put_slice(host.as_bytes());
        out.put_slice(b"\r\n");
    }
    fields(&head.headers, framing, false, out);
    if head.headers.contains_key(header::TE) {
        // Of this connection only, which has to be said (RFC 9110, section 10.1.4).
        out.put_slice(b"connection: te\r\n");
    }
    out.put_slice(b"\r\n");
    Ok(())
}

fn without_user(authority: &Authority) -> &str {
    authority.as_str().rsplit('@').next().unwrap_or_default()
}

/// Appends the head of an answer, as HTTP/1.1 whatever its version was.
///
/// `Content-Length` and `Transfer-Encoding` are written by the framing, those among the fields are left out; with 1xx and
/// 204, which may have neither, always. But an answer without a body to HEAD, and a 304, say by `Content-Length` how long it
/// would be: with [`Framing::None`], and in a 304 always, the field stays. Who answers anything else without a body gives
/// [`Framing::Length`] of 0.
/// With [`Framing::UntilClose`] the caller has to close, and should say so in `Connection`.
pub fn write_response_head(out: &mut BytesMut, head: &response::Parts, framing: Framing) {
    let reason = head.extensions.get::<Reason>().map(Reason::as_bytes);
    let reason = reason.unwrap_or_else(|| head.status.canonical_reason().unwrap_or_default().as_bytes());
    reserve(out, &head.headers, reason.len());
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(head.status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(reason);
    out.put_slice(b"\r\n");
    let nothing = never_has_body(head.status);
    let framing = if nothing || head.status == StatusCode::NOT_MODIFIED { Framing::None } else { framing };
    fields(&head.headers, framing, framing == Framing::None && !nothing, out);
    out.put_slice(b"\r\n");
}

/// One growth of the buffer instead of several, if fields are as long as usual and the body is short. To measure them would take
/// longer than it saves.
fn reserve(out: &mut BytesMut, headers: &HeaderMap, line: usize) {
    const OF_A_FIELD: usize = 64;
    const REST: usize = 512;
    out.reserve(line + headers.len() * OF_A_FIELD + REST);
}

fn fields(headers: &HeaderMap, framing: Framing, keep_length: bool, out: &mut BytesMut) {
    for (name, value) in headers {
        let of_framing =
            *name == header::TRANSFER_ENCODING || (*name == header::CONTENT_LENGTH && !keep_length);
        if !of_framing {
            field(name, value, out);
        }
    }
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => {
            out.put_slice(b"content-length: ");
            decimal(length, out);
            out.put_slice(b"\r\n");
        }
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
    }
}

pub(crate) fn field(name: &HeaderName, value: &HeaderValue, out: &mut BytesMut) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

fn decimal(number: u64, out: &mut BytesMut) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}
