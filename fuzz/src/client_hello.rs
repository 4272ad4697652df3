//! A connection's first bytes: none panics what detects protocols and reads the name that TLS asks for; what shows early stays
//! however many bytes follow; what is read as a ClientHello was detected as TLS.
//!
//! An input is what a caller sends, behind one octet that says where it is cut.

use wabe_proxy::{
    detect::{Detected, sniff},
    sni::{MOST_BYTES, read},
};

use crate::Seed;

/// Reads a beginning, and then the whole.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    let early = &bytes[..bytes.len() * usize::from(*cut) / 256];
    if let Some(detected) = sniff(early) {
        assert_eq!(sniff(bytes), Some(detected), "detected as something else than its beginning");
    }
    let whole = read(bytes);
    match read(early) {
        Ok(None) => {}
        Ok(Some(hello)) => assert_eq!(whole.as_ref(), Ok(&Some(hello)), "another hello than its beginning"),
        Err(_) => assert!(whole.is_err(), "its beginning was refused"),
    }
    if let Ok(Some(hello)) = &whole {
        assert_eq!(sniff(bytes), Some(Detected::Tls), "a hello that is not detected");
        let name = hello.server_name.as_deref().unwrap_or("none");
        assert!(!name.is_empty() && name.len() <= 253 && !name.ends_with('.'), "{name:?}");
        assert!(!name.bytes().any(|it| it.is_ascii_uppercase() || !it.is_ascii_graphic()), "{name:?}");
    }
    assert!(bytes.len() <= MOST_BYTES || whole != Ok(None), "more is wanted than is kept");
}

/// What real clients send, of TLS and other protocols.
pub fn seeds() -> Vec<Seed> {
    let hellos = [
        ("openssl", include_str!("../../crates/wabe-proxy/tests/hellos/openssl.hex")),
        (
            "openssl-tls12-no-name",
            include_str!("../../crates/wabe-proxy/tests/hellos/openssl-tls12-no-name.hex"),
        ),
        ("openssl-in-records", include_str!("../../crates/wabe-proxy/tests/hellos/openssl-in-records.hex")),
        ("curl", include_str!("../../crates/wabe-proxy/tests/hellos/curl.hex")),
    ];
    let others: [(&str, &[u8]); 6] = [
        ("http1", b"GET http://web/ HTTP/1.1\r\nhost: web\r\n\r\n"),
        ("connect", b"CONNECT web:443 HTTP/1.1\r\n"),
        ("options", b"OPTIONS * HTTP/1.0\r\n"),
        ("http2", wabe_proxy::detect::PREFACE),
        ("smtp", b"EHLO mail.example.com\r\n"),
        ("redis", b"*1\r\n$4\r\nPING\r\n"),
    ];
    let seed = |name: &str, bytes: &[u8]| (name.to_owned(), [&[128], bytes].concat());
    let hellos = hellos.into_iter().map(|(name, text)| seed(name, &hex(text)));
    hellos.chain(others.into_iter().map(|(name, bytes)| seed(name, bytes))).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|it| it.to_digit(16)).filter_map(|it| u8::try_from(it).ok()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
