//! The name that a TLS connection asks for: reads a ClientHello, and passes judgement on nothing else in it.
//!
//! TLS is passed on as it is, so the bytes that are read here are those that the endpoint reads. Where two readers could
//! understand them differently the hello is refused: another server than the one that was routed to could answer. All lengths must
//! fit exactly, nothing may be there twice. Nothing is allocated beyond the handshake message's own bytes, and no bytes panic.
//!
//! A hello may come in several records, cut anywhere. Of one whose name is encrypted (ECH) the outer name is seen.

use std::net::IpAddr;

/// Bytes of a handshake message that is read: key shares for post-quantum exchange take some thousand.
pub const MOST_MESSAGE: usize = 16 << 10;
/// Records that it may come in.
pub const MOST_RECORDS: usize = 32;
/// Bytes that are looked at before a hello is complete or refused.
pub const MOST_BYTES: usize = MOST_MESSAGE + MOST_RECORDS * RECORD_HEADER;

/// Of each record: type, version, length.
const RECORD_HEADER: usize = 5;
/// Of a handshake message: type, length.
const MESSAGE_HEADER: usize = 4;
/// Of a record's plaintext (RFC 8446, section 5.1).
const MOST_RECORD: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host's name, in lower case, without a dot at its end. `None` if there is none, or an address in its place.
    pub server_name: Option<String>,
    /// The protocols that it would speak, best first.
    pub protocols: Vec<Vec<u8>>,
}

/// Why bytes are no ClientHello that can be routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHello {
    /// Not TLS, or another message.
    #[error("no ClientHello of TLS")]
    NotTls,
    /// More than [`MOST_MESSAGE`] bytes or [`MOST_RECORDS`] records.
    #[error("a ClientHello that is too long, or in too many records")]
    TooLong,
    /// A length that does not fit, or what must not be there.
    #[error("a ClientHello that is malformed")]
    Malformed,
    /// The same extension twice.
    #[error("a ClientHello with an extension twice")]
    Twice,
    /// A name that is none, several names, or a name of an unknown kind.
    #[error("a ClientHello that asks for no name of a host")]
    BadName,
}

/// Reads a connection's first bytes, all that came so far; `None` if more are needed.
///
/// # Errors
/// What is wrong, as soon as it shows.
pub fn read(bytes: &[u8]) -> Result<Option<ClientHello>, BadHello> {
    match message(bytes)? {
        Some(message) => hello(&message).map(Some),
        None => Ok(None),
    }
}

/// The handshake message without its header, put together from its records. It is copied only once all of it is there.
fn message(bytes: &[u8]) -> Result<Option<Vec<u8>>, BadHello> {
    let mut fragments: Vec<&[u8]> = Vec::new();
    let mut have = 0;
    let mut rest = Reader(bytes);
    while let Some(Record { content, missing }) = record(&mut rest)? {
        fragments.push(content);
        have += content.len();
        let header: Vec<u8> = fragments.iter().copied().flatten().copied().take(MESSAGE_HEADER).collect();
        if header.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(BadHello::NotTls);
        }
        if let [_, high, middle, low] = header[..] {
            let wanted = MESSAGE_HEADER + u32::from_be_bytes([0, high, middle, low]) as usize;
            if wanted > MOST_MESSAGE {
                return Err(BadHello::TooLong);
            }
            // A client says no more until it is answered, but for early data, which is no handshake.
            if have + missing > wanted {
                return Err(BadHello::Malformed);
            }
            if have == wanted {
                return Ok(Some(fragments.concat().split_off(MESSAGE_HEADER)));
            }
        }
        if fragments.len() == MOST_RECORDS && missing == 0 {
            return Err(BadHello::TooLong);
        }
    }
    Ok(None)
}

/// A record, as far as it is there.
struct Record<'a> {
    content: &'a [u8],
    /// Bytes that are yet to come.
    missing: usize,
}

/// The next record; `None` if not even its header is there. Each byte of that is judged when it comes: who waits for more of what
/// is no TLS waits in vain.
fn record<'a>(rest: &mut Reader<'a>) -> Result<Option<Record<'a>>, BadHello> {
    let header = rest.0;
    if header.first().is_some_and(|it| *it != HANDSHAKE) || header.get(1).is_some_and(|it| *it != 3) {
        return Err(BadHello::NotTls);
    }
    let Some(length) = rest.take(3).and_then(|_| rest.number16()).map(usize::from) else { return Ok(None) };
    if length == 0 || length > MOST_RECORD {
        return Err(BadHello::Malformed);
    }
    let present = length.min(rest.0.len());
    let content = rest.take(present).unwrap_or_default();
    Ok(Some(Record { content, missing: length - present }))
}

/// RFC 8446, section 4.1.2, and RFC 5246, section 7.4.1.2, whose hellos may end without extensions.
fn hello(message: &[u8]) -> Result<ClientHello, BadHello> {
    let mut rest = Reader(message);
    let major = rest.take(2).ok_or(BadHello::Malformed)?[0];
    if major != 3 {
        return Err(BadHello::NotTls);
    }
    rest.take(32).ok_or(BadHello::Malformed)?;
    let session = rest.list8().ok_or(BadHello::Malformed)?;
    let ciphers = rest.list16().ok_or(BadHello::Malformed)?;
    let compressions = rest.list8().ok_or(BadHello::Malformed)?;
    if session.len() > 32 || ciphers.is_empty() || ciphers.len() % 2 != 0 || compressions.is_empty() {
        return Err(BadHello::Malformed);
    }
    if rest.0.is_empty() {
        return Ok(ClientHello::default());
    }
    let extensions = rest.list16().ok_or(BadHello::Malformed)?;
    if !rest.0.is_empty() {
        return Err(BadHello::Malformed);
    }
    read_extensions(extensions)
}

fn read_extensions(extensions: &[u8]) -> Result<ClientHello, BadHello> {
    let mut hello = ClientHello::default();
    let mut seen = Vec::new();
    let mut rest = Reader(extensions);
    while !rest.0.is_empty() {
        let kind = rest.number16().ok_or(BadHello::Malformed)?;
        let content = rest.list16().ok_or(BadHello::Malformed)?;
        seen.push(kind);
        match kind {
            SERVER_NAME => hello.server_name = server_name(content)?,
            ALPN => hello.protocols = protocols(content).ok_or(BadHello::Malformed)?,
            _other => {}
        }
    }
    seen.sort_unstable();
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(BadHello::Twice);
    }
    Ok(hello)
}

/// RFC 6066, section 3: a list with one name of the kind `host_name`, which is the only kind there is.
fn server_name(content: &[u8]) -> Result<Option<String>, BadHello> {
    let mut content = Reader(content);
    let mut list = Reader(content.list16().ok_or(BadHello::Malformed)?);
    let kind = list.take(1).ok_or(BadHello::Malformed)?[0];
    if kind != 0 {
        return Err(BadHello::BadName);
    }
    let name = list.list16().ok_or(BadHello::Malformed)?;
    if !content.0.is_empty() {
        return Err(BadHello::Malformed);
    }
    if !list.0.is_empty() {
        return Err(BadHello::BadName);
    }
    let text = std::str::from_utf8(name).map_err(|_| BadHello::BadName)?;
    // Forbidden there, and sent all the same; servers take it for no name.
    if text.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if is_host(&text) { Ok(Some(text)) } else { Err(BadHello::BadName) }
}

/// Labels of at most 63 letters, digits, `-` and `_` with dots between them, at most 253 in all.
fn is_host(text: &str) -> bool {
    let good = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-' || it == b'_';
    let label = |it: &str| !it.is_empty() && it.len() <= 63 && it.bytes().all(good);
    text.len() <= 253 && text.split('.').all(label)
}

/// RFC 7301, section 3.1: at least one name, none of them empty.
fn protocols(content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut content = Reader(content);
    let mut list = Reader(content.list16()?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.list8().filter(|it| !it.is_empty())?;
        protocols.push(name.to_vec());
    }
    (content.0.is_empty() && !protocols.is_empty()).then_some(protocols)
}

/// What is left to be read.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number16(&mut self) -> Option<u16> {
        self.take(2).map(|it| u16::from_be_bytes([it[0], it[1]]))
    }

    /// What follows a length of one byte.
    fn list8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    /// What follows a length of two bytes.
    fn list16(&mut self) -> Option<&'a [u8]> {
        let length = self.number16()?;
        self.take(usize::from(length))
    }
}
