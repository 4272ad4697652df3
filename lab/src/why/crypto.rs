//! Which functions in user space encrypt. Pure.

use std::ops::Range;

use super::look::Frame;
use crate::tools::ENVOY_SHA256;

/// Beginnings of names in OpenSSL, BoringSSL, AWS-LC and rustls, prefixes of builds taken off.
const PREFIXES: &[&str] = &[
    "aes_",
    "aesni_",
    "vpaes_",
    "gcm_",
    "ghash",
    "sha1_",
    "sha256_",
    "sha512_",
    "SHA",
    "chacha20_",
    "ChaCha20_",
    "poly1305_",
    "SSL_",
    "ssl_",
    "ssl3_",
    "tls_",
    "tls13_",
    "EVP_",
    "evp_",
    "CRYPTO_",
    "HMAC",
    "bssl::",
    "bn_",
    "BN_",
    "EC_",
    "ec_",
    "RSA_",
    "x25519_",
    "rustls::",
    "<rustls::",
    "tokio_rustls::",
    "<tokio_rustls::",
    "aws_lc_rs::",
    "<aws_lc_rs::",
];
/// Libraries that do nothing else.
const LIBRARIES: &[&str] = &["/libssl.so", "/libcrypto.so"];

/// Whether a function encrypts, by its name or its library.
pub(super) fn is_named(frame: &Frame) -> bool {
    let object = frame.object.as_deref().unwrap_or_default();
    LIBRARIES.iter().any(|library| object.contains(library))
        || frame.symbol.as_deref().is_some_and(|symbol| {
            let symbol = without_build(symbol);
            PREFIXES.iter().any(|prefix| symbol.starts_with(prefix))
        })
}

/// AWS-LC's names begin with its version: `aws_lc_0_43_0_SHA256_Update`.
fn without_build(symbol: &str) -> &str {
    match symbol.strip_prefix("aws_lc_") {
        Some(rest) if rest.starts_with(|it: char| it.is_ascii_digit()) => {
            rest.trim_start_matches(|it: char| it.is_ascii_digit() || it == '_')
        }
        Some(_) | None => symbol,
    }
}

/// BoringSSL in Envoy 1.40.0 for x86-64, as the places of its functions in the file: from the function that first refers to
/// the name of one of its source files to the one that does last, with the assembly next to it. In between, no function
/// refers to another library's source files; all chains of calls into it, seen under load, enter within it.
const ENVOY: Range<u64> = 0x5bd_3f00..0x5cf_a0cc;

/// Places of encryption in the file of a program that has no names, by its checksum.
///
/// Only of programs that keep frame pointers: whatever such a place has called is its as well.
pub(super) fn of_program(sha256: &str) -> Option<Range<u64>> {
    (sha256 == ENVOY_SHA256).then_some(ENVOY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_is_known_by_name_or_library() {
        for (symbol, object, expected) in [
            (Some("aws_lc_0_43_0_aes_gcm_encrypt_avx512"), "/usr/bin/wabe", true),
            (Some("aws_lc_rs::aead::LessSafeKey::seal_in_place"), "/usr/bin/wabe", true),
            (Some("rustls::conn::ConnectionCommon<T>::process_new_packets"), "/usr/bin/wabe", true),
            (Some("bssl::SealRecord"), "/usr/bin/envoy", true),
            (None, "/usr/lib/x86_64-linux-gnu/libcrypto.so.3", true),
            (Some("ngx_http_process_request"), "/usr/sbin/nginx", false),
            (Some("wabe_lab::load::http1::run"), "/usr/bin/wabe", false),
            (None, "/usr/bin/envoy", false),
        ] {
            let symbol = symbol.map(str::to_owned);
            let frame = Frame { address: 0, symbol, object: Some(object.to_owned()) };
            assert_eq!(is_named(&frame), expected, "{frame:?}");
        }
    }
}
