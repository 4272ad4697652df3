//! What is read of a ClientHello: those of real clients, in any pieces, and against what rustls reads of them.

use std::{sync::Arc, sync::LazyLock};

use proptest::{prelude::*, sample::Index};
use rustls::{ClientConfig, ClientConnection, RootCertStore, server::Acceptor};
use wabe_proxy::sni::{BadHello, ClientHello, MOST_BYTES, MOST_MESSAGE, MOST_RECORDS, read};

/// Each with the name and the protocols that its client was told to ask for.
static REAL: LazyLock<Vec<(Vec<u8>, ClientHello)>> = LazyLock::new(|| {
    let asks = |name: Option<&str>, protocols: &[&str]| ClientHello {
        server_name: name.map(str::to_owned),
        protocols: protocols.iter().map(|it| it.as_bytes().to_vec()).collect(),
    };
    vec![
        (rustls_hello("web.shop", &["h2", "http/1.1"]), asks(Some("web.shop"), &["h2", "http/1.1"])),
        (rustls_hello("10.0.0.1", &[]), asks(None, &[])),
        (hex(include_str!("hellos/openssl.hex")), asks(Some("db.example.com"), &["postgresql", "h2"])),
        (hex(include_str!("hellos/openssl-tls12-no-name.hex")), asks(None, &[])),
        (hex(include_str!("hellos/openssl-in-records.hex")), asks(Some("split.example.com"), &[])),
        (hex(include_str!("hellos/curl.hex")), asks(Some("shop.example.com"), &["h2", "http/1.1"])),
    ]
});

fn rustls_hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    let mut config =
        ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    let name = name.to_owned().try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

/// A hello with these extensions, as one message.
fn message(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    let list: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, content)| [&kind.to_be_bytes()[..], &length16(content.len()), content].concat())
        .collect();
    body.extend([&length16(list.len())[..], &list].concat());
    handshake(1, &body)
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[kind][..], &length[1..], body].concat()
}

fn length16(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("short").to_be_bytes()
}

/// In records of so many bytes at most.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    message.chunks(most).flat_map(|it| [&[22, 3, 1][..], &length16(it.len()), it].concat()).collect()
}

/// An extension `server_name` with entries of these kinds.
fn names(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = entries
        .iter()
        .flat_map(|(kind, name)| [&[*kind][..], &length16(name.len()), name].concat())
        .collect();
    [&length16(list.len())[..], &list].concat()
}

fn read_message(message: &[u8]) -> Result<Option<ClientHello>, BadHello> {
    read(&records(message, 1 << 14))
}

#[test]
fn hellos_of_real_clients_tell_what_they_ask_for() {
    for (bytes, expected) in REAL.iter() {
        assert_eq!(read(bytes), Ok(Some(expected.clone())));
    }
}

#[test]
fn a_hello_is_read_however_many_records_it_comes_in() {
    let name = names(&[(0, b"web.shop")]);
    let message = message(&[(0, &name)]);
    let expected = ClientHello { server_name: Some("web.shop".into()), protocols: Vec::new() };
    for most in [3, 4, 5, 16, 64, 1 << 14] {
        let bytes = records(&message, most);
        assert_eq!(read(&bytes), Ok(Some(expected.clone())), "records of {most}");
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), Ok(None), "{end} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_hello_in_too_many_records_or_too_long_is_refused() {
    let message = message(&[]);
    let most = message.len().div_ceil(MOST_RECORDS);
    assert!(matches!(read(&records(&message, most)), Ok(Some(_))));
    assert_eq!(read(&records(&message, 1)), Err(BadHello::TooLong));
    // Refused by the length that it tells, before all of it is there.
    let long = handshake(1, &vec![0; MOST_MESSAGE - 3]);
    assert_eq!(read(&records(&long[..4], 4)), Err(BadHello::TooLong));
    // The longest that is read fits what has to be kept.
    let padding = vec![0; MOST_MESSAGE - message.len() - 4];
    let longest = self::message(&[(21, &padding)]);
    assert_eq!(longest.len(), MOST_MESSAGE);
    let bytes = records(&longest, MOST_MESSAGE / MOST_RECORDS);
    assert_eq!(bytes.len(), MOST_BYTES);
    assert_eq!(read(&bytes), Ok(Some(ClientHello::default())));
}

#[test]
fn what_is_no_clienthello_is_told_by_the_first_byte_that_does_not_fit() {
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\n"[..], BadHello::NotTls),
        (b"\x80\x2e\x01\x03\x01", BadHello::NotTls),
        (&[21], BadHello::NotTls),
        (&[22, 2], BadHello::NotTls),
        (&[22, 3, 1, 0, 0], BadHello::Malformed),
        (&[22, 3, 1, 0x40, 1], BadHello::Malformed),
        (&[22, 3, 1, 0, 4, 2], BadHello::NotTls),
        // A second message behind it, and the beginning of one in a record of its own.
        (&[22, 3, 1, 0, 9, 1, 0, 0, 4], BadHello::Malformed),
        // An alert in the midst of it.
        (&[22, 3, 1, 0, 1, 1, 21], BadHello::NotTls),
    ] {
        assert_eq!(read(bytes), Err(expected), "{bytes:?}");
    }
    for bytes in [&[][..], &[22], &[22, 3], &[22, 3, 1, 0], &[22, 3, 1, 0, 4], &[22, 3, 1, 0, 4, 1, 0, 0]] {
        assert_eq!(read(bytes), Ok(None), "{bytes:?}");
    }
}

#[test]
fn names_are_read_as_rfc_6066_has_them() {
    let long = [b'a'; 64];
    let named = |text: &str| Ok(Some(text.to_owned()));
    for (entries, expected) in [
        (&[(0_u8, &b"Web.SHOP"[..])][..], named("web.shop")),
        (&[(0, b"web.shop.")], named("web.shop")),
        (&[(0, b"_db._tcp.shop")], named("_db._tcp.shop")),
        (&[(0, b"10.0.0.1")], Ok(None)),
        (&[(0, b"::1")], Ok(None)),
        (&[(0, b"")], Err(BadHello::BadName)),
        (&[(0, b".")], Err(BadHello::BadName)),
        (&[(0, b"web..shop")], Err(BadHello::BadName)),
        (&[(0, b"web.shop..")], Err(BadHello::BadName)),
        (&[(0, b"*.shop")], Err(BadHello::BadName)),
        (&[(0, b"web shop")], Err(BadHello::BadName)),
        (&[(0, b"web\0.shop")], Err(BadHello::BadName)),
        (&[(0, b"w\xc3\xa4be.shop")], Err(BadHello::BadName)),
        (&[(0, b"\xff")], Err(BadHello::BadName)),
        (&[(0, b"web.shop:443")], Err(BadHello::BadName)),
        (&[(0, &long)], Err(BadHello::BadName)),
        (&[(0, b"a"), (0, b"b")], Err(BadHello::BadName)),
        (&[(0, b"a"), (1, b"b")], Err(BadHello::BadName)),
        (&[(1, b"a")], Err(BadHello::BadName)),
        (&[], Err(BadHello::Malformed)),
    ] {
        let found = read_message(&message(&[(0, &names(entries))]));
        let found = found.map(|it| it.expect("all of it is there").server_name);
        assert_eq!(found, expected, "{entries:?}");
    }
    // 253 characters are a name, 254 are none.
    let label = "a".repeat(61);
    for (name, good) in
        [(format!("{0}.{0}.{0}.{0}.aaaaa", label), true), (format!("{0}.{0}.{0}.{0}.aaaaaa", label), false)]
    {
        assert_eq!(name.len() <= 253, good);
        let found = read_message(&message(&[(0, &names(&[(0, name.as_bytes())]))]));
        assert_eq!(found.is_ok(), good, "{} characters", name.len());
    }
}

#[test]
fn protocols_are_read_as_rfc_7301_has_them() {
    for (content, expected) in [
        (&b"\0\x03\x02h2"[..], Some(vec![b"h2".to_vec()])),
        (b"\0\x0c\x02h2\x08http/1.1", Some(vec![b"h2".to_vec(), b"http/1.1".to_vec()])),
        (b"\0\0", None),
        (b"\0\x01\0", None),
        (b"\0\x02\x02h", None),
        (b"\0\x04\x02h2", None),
        (b"\0\x03\x02h2x", None),
        (b"\0", None),
    ] {
        let found = read_message(&message(&[(16, content)]));
        let expected = expected.map(|it| it.to_vec()).ok_or(BadHello::Malformed);
        assert_eq!(found.map(|it| it.expect("all of it is there").protocols), expected, "{content:?}");
    }
}

#[test]
fn nothing_is_there_twice_and_all_lengths_fit() {
    let name = names(&[(0, b"a")]);
    assert_eq!(read_message(&message(&[(0, &name), (0, &name)])), Err(BadHello::Twice));
    assert_eq!(read_message(&message(&[(0x2a2a, b""), (5, b""), (0x2a2a, b"")])), Err(BadHello::Twice));
    let good = message(&[(0, &name)]);
    // After the header of 4 bytes: version, random, then the lengths of session, ciphers, compressions, extensions.
    for (place, value, expected) in [
        (4, 2, BadHello::NotTls),
        (38, 33, BadHello::Malformed),
        (40, 1, BadHello::Malformed),
        (40, 0, BadHello::Malformed),
        (43, 0, BadHello::Malformed),
        (46, 0, BadHello::Malformed),
        (46, 200, BadHello::Malformed),
        (50, 200, BadHello::Malformed),
        (52, 200, BadHello::Malformed),
        (52, 3, BadHello::Malformed),
    ] {
        let mut bad = good.clone();
        bad[place] = value;
        assert_eq!(read_message(&bad), Err(expected), "byte {place} is {value}");
    }
    // Clients of TLS 1.2 may leave extensions out.
    let bare = handshake(1, &good[4..45]);
    assert_eq!(read_message(&bare), Ok(Some(ClientHello::default())));
    assert_eq!(read_message(&handshake(1, &good[4..44])), Err(BadHello::Malformed));
}

/// What rustls, a server, reads of a first flight. Names without a dot at their end, as here.
fn rustls_reads(bytes: &[u8]) -> Option<ClientHello> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).ok()?;
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let name = hello.server_name().map(|it| it.trim_end_matches('.').to_ascii_lowercase());
                let protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
                return Some(ClientHello { server_name: name, protocols });
            }
            Ok(None) => {}
            Err(_) => return None,
        }
    }
    None
}

#[test]
fn rustls_reads_the_same_of_real_hellos() {
    for (bytes, expected) in REAL.iter() {
        assert_eq!(rustls_reads(bytes).as_ref(), Some(expected));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// No bytes panic, and what shows early stays.
    #[test]
    fn more_bytes_change_no_answer(bytes in any_hello(), cut in any::<Index>()) {
        let cut = cut.index(bytes.len() + 1);
        let early = read(&bytes[..cut]);
        let whole = read(&bytes);
        match early {
            Ok(None) => {}
            Ok(Some(_)) => prop_assert_eq!(early, whole),
            Err(_) => prop_assert!(whole.is_err(), "{:?} and then {:?}", early, whole),
        }
    }

    /// What both understand they understand alike: nobody is routed by a name that a server would not see.
    #[test]
    fn rustls_understands_the_same(bytes in any_hello()) {
        if let (Ok(Some(own)), Some(its)) = (read(&bytes), rustls_reads(&bytes)) {
            prop_assert_eq!(own, its);
        }
    }

    /// The name of a hello is the same in whatever records it comes.
    #[test]
    fn records_change_nothing(which in any::<Index>(), most in 20_usize..600) {
        let (bytes, expected) = &REAL[which.index(REAL.len())];
        let mut message = Vec::new();
        let mut rest = &bytes[..];
        while let [_, _, _, high, low, content @ ..] = rest {
            let length = usize::from(*high) << 8 | usize::from(*low);
            message.extend(&content[..length]);
            rest = &content[length..];
        }
        prop_assume!(message.len().div_ceil(most) <= MOST_RECORDS);
        prop_assert_eq!(read(&records(&message, most)), Ok(Some(expected.clone())));
    }
}

/// Anything, real hellos, and real ones with a few bytes changed or cut.
fn any_hello() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    let real =
        (any::<Index>(), changes, prop::option::of(any::<Index>())).prop_map(|(which, changes, cut)| {
            let mut bytes = REAL[which.index(REAL.len())].0.clone();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Some(cut) = cut {
                bytes.remove(cut.index(bytes.len()));
            }
            bytes
        });
    let made = prop::collection::vec(
        (prop::sample::select(vec![0_u16, 16, 21, 5]), prop::collection::vec(any::<u8>(), 0..12)),
        0..4,
    )
    .prop_map(|list| {
        let list: Vec<(u16, &[u8])> = list.iter().map(|(kind, content)| (*kind, &content[..])).collect();
        records(&message(&list), 1 << 14)
    });
    prop_oneof![4 => real, 2 => made, 1 => prop::collection::vec(any::<u8>(), 0..64)]
}
