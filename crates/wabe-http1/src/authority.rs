//! A host with at most a port, in `Host` and in targets.

use std::net::Ipv6Addr;

use crate::Refusal;

/// Host and port as they were written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Stricter than RFC 3986: a name has letters, digits, `-`, `.`, `_` and `~`, an address in brackets is an IPv6 one
    /// without a zone, and a colon is followed by a port. Percent-encoding and the delimiters that the RFC allows in names
    /// are in no name of DNS; readers disagree about what they mean.
    ///
    /// # Errors
    /// [`Refusal::UserInfo`], or else `malformed`.
    pub(crate) fn parse(text: &'a [u8], malformed: Refusal) -> Result<Self, Refusal> {
        let wrong = || if text.contains(&b'@') { Refusal::UserInfo } else { malformed };
        let length = if text.first() == Some(&b'[') {
            bracketed(text).ok_or_else(wrong)?
        } else {
            text.iter().position(|it| !is_of_a_name(*it)).unwrap_or(text.len())
        };
        let (host, rest) = text.split_at(length);
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(port(digits).ok_or_else(wrong)?),
            [..] => return Err(wrong()),
        };
        if host.is_empty() { Err(malformed) } else { Ok(Self { host, port }) }
    }

    /// Whether both are the same, if no port means `default`.
    pub(crate) fn is(&self, other: &Self, default: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }

    pub(crate) fn has_port(&self) -> bool {
        self.port.is_some()
    }
}

/// Whether a request that came by another protocol says whom it is for as one of HTTP/1.1 must: once at least, in a form that
/// `Host` may have, and the same if its authority and its `Host` are both there (RFC 9113, section 8.3.1).
///
/// # Errors
/// [`Refusal::HostMissing`], [`Refusal::HostMalformed`], [`Refusal::UserInfo`] or [`Refusal::HostDiffers`].
pub fn check_host(authority: Option<&[u8]>, host: Option<&[u8]>, default_port: u16) -> Result<(), Refusal> {
    let parse = |text| Authority::parse(text, Refusal::HostMalformed);
    match (authority.map(parse).transpose()?, host.map(parse).transpose()?) {
        (None, None) => Err(Refusal::HostMissing),
        (Some(one), Some(other)) if !one.is(&other, default_port) => Err(Refusal::HostDiffers),
        (Some(_), _) | (None, Some(_)) => Ok(()),
    }
}

/// Octets of the address with its brackets.
fn bracketed(text: &[u8]) -> Option<usize> {
    let close = text.iter().position(|it| *it == b']')?;
    std::str::from_utf8(&text[1..close]).ok()?.parse::<Ipv6Addr>().ok()?;
    Some(close + 1)
}

fn is_of_a_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

fn port(digits: &[u8]) -> Option<u16> {
    if !(1..=5).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
