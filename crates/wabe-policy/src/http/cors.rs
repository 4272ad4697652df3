//! Which origins a `CORS` filter allows.

use wabe_model::{Cors, HostPattern, OriginPattern, Scheme};

/// Whether pages of this origin may read answers. `origin` is the header's value: `SCHEME://HOST` with a port if it is not the
/// scheme's own, or `null` (RFC 6454, section 7).
pub fn allows(cors: &Cors, origin: &str) -> bool {
    let parts = parts(origin);
    cors.origins.iter().any(|pattern| match (pattern, &parts) {
        (OriginPattern::Any, _) => true,
        (OriginPattern::Of { .. }, None) => false,
        (OriginPattern::Of { scheme, host, port }, Some((asking, name, number))) => {
            scheme == asking && port == number && host.as_ref().is_none_or(|it| is_of(name, it))
        }
    })
}

/// `*` stands for one label or more before the name, as the standard has it.
fn is_of(name: &str, pattern: &HostPattern) -> bool {
    match pattern {
        HostPattern::Exact(host) => name == host,
        HostPattern::Below(host) => {
            let before = name.strip_suffix(host.as_str()).and_then(|it| it.strip_suffix('.'));
            before.is_some_and(|it| !it.is_empty())
        }
    }
}

/// Scheme, host in lower case, port.
fn parts(origin: &str) -> Option<(Scheme, String, u16)> {
    let (scheme, rest) = origin.split_once("://")?;
    let scheme =
        [Scheme::Http, Scheme::Https].into_iter().find(|it| it.as_str().eq_ignore_ascii_case(scheme))?;
    // An address of IPv6 has colons of its own.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        Some(_) | None => (rest, scheme.port()),
    };
    Some((scheme, host.to_ascii_lowercase(), port))
}

/// Whether a browser asks by this request whether it may ask for something
/// (<https://fetch.spec.whatwg.org/#cors-preflight-request>). `has` tells which headers it has.
pub fn is_preflight(method: &str, has: impl Fn(&str) -> bool) -> bool {
    method == "OPTIONS" && has("origin") && has("access-control-request-method")
}
