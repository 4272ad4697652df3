//! The four forms of a request's target (RFC 9112, section 3.2).

use bytes::Bytes;
use http::{Method, Uri, uri};

use crate::{Refusal, authority::Authority};

/// Reads `target` as the form that goes with `method`; `host` is the value of `Host`.
pub(crate) fn read(target: Bytes, method: &Method, host: Option<&Authority<'_>>) -> Result<Uri, Refusal> {
    characters(&target)?;
    if *method == Method::CONNECT {
        return authority_form(target, host);
    }
    match &target[..] {
        [b'/', ..] => uri(target),
        b"*" if *method == Method::OPTIONS => uri(target),
        [..] => absolute_form(target, method, host),
    }
}

/// A path with the query, if there is one, and nothing else.
pub(crate) fn path(target: &[u8]) -> Result<Uri, Refusal> {
    characters(target)?;
    match target {
        b"/" => Ok(Uri::default()),
        [b'/', ..] => uri(Bytes::copy_from_slice(target)),
        [..] => Err(Refusal::TargetMalformed),
    }
}

fn characters(target: &[u8]) -> Result<(), Refusal> {
    // Without branches: the compiler makes vectors of it.
    if target.iter().fold(false, |bad, it| bad | !(0x21..=0x7e).contains(it) | (*it == b'#')) {
        let fragment = target.iter().all(u8::is_ascii_graphic);
        return Err(if fragment { Refusal::TargetFragment } else { Refusal::TargetCharacter });
    }
    Ok(())
}

fn uri(target: Bytes) -> Result<Uri, Refusal> {
    Uri::from_maybe_shared(target).map_err(|_| Refusal::TargetCharacter)
}

fn authority_form(target: Bytes, host: Option<&Authority<'_>>) -> Result<Uri, Refusal> {
    let authority = Authority::parse(&target, Refusal::TargetMalformed)?;
    if !authority.has_port() {
        return Err(Refusal::TargetMalformed);
    }
    // A default that the scheme would give does not exist: a host without a port is another one.
    if host.is_some_and(|host| !host.has_port() || !host.is(&authority, 0)) {
        return Err(Refusal::HostDiffers);
    }
    uri(target)
}

fn absolute_form(target: Bytes, method: &Method, host: Option<&Authority<'_>>) -> Result<Uri, Refusal> {
    let colon = memchr::memmem::find(&target, b"://").ok_or(Refusal::TargetMalformed)?;
    let default = match target[..colon].to_ascii_lowercase().as_slice() {
        b"http" => 80,
        b"https" => 443,
        [..] => return Err(Refusal::TargetScheme),
    };
    let rest = colon + 3;
    let length = target[rest..].iter().position(|it| matches!(it, b'/' | b'?'));
    let end = length.map_or(target.len(), |it| rest + it);
    let authority = Authority::parse(&target[rest..end], Refusal::TargetMalformed)?;
    if host.is_some_and(|host| !host.is(&authority, default)) {
        return Err(Refusal::HostDiffers);
    }
    let has_path = end < target.len();
    let whole = uri(target)?;
    if *method != Method::OPTIONS || has_path {
        return Ok(whole);
    }
    // OPTIONS of a whole server, as a proxy is asked for it (RFC 9112, section 3.2.4).
    let mut parts = whole.into_parts();
    parts.path_and_query = Some(uri::PathAndQuery::from_static("*"));
    Uri::from_parts(parts).map_err(|_| Refusal::TargetMalformed)
}
