//! What a head says about its connection.

use http::{HeaderMap, Version, header, request};

/// Whether the connection may be used for another message after this one (RFC 9112, section 9.3).
///
/// An answer that ends with the connection ([`crate::Framing::UntilClose`]) ends it whatever this says.
#[must_use]
pub fn is_persistent(version: Version, headers: &HeaderMap) -> bool {
    let mut keep = version >= Version::HTTP_11;
    for value in headers.get_all(header::CONNECTION) {
        for option in value.as_bytes().split(|it| *it == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keep |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keep
}

/// Whether the client waits for a 100 before it sends the body (RFC 9110, section 10.1.1).
#[must_use]
pub fn expects_continue(head: &request::Parts) -> bool {
    let expected = || head.headers.get_all(header::EXPECT).into_iter();
    head.version >= Version::HTTP_11
        && expected().any(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
