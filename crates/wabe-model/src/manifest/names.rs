//! Names, labels, ports, addresses: what Kubernetes allows in them.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::{IpNet, Ipv4Net};

use crate::{
    PortName, Transport,
    manifest::{
        field::Field,
        scalar::{self, duration_text, shown},
    },
};

/// RFC 1123 label.
pub(crate) fn label_name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_dns_label(text) {
        return Some(text.to_owned());
    }
    field.error(
        format!("{} can't be a name", shown(text)),
        "use at most 63 of a-z, 0-9 and -, with a letter or digit first and last (RFC 1123)",
    )
}

/// RFC 1123 subdomain: labels with dots between them.
pub(crate) fn subdomain_name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_dns_subdomain(text) {
        return Some(text.to_owned());
    }
    field.error(
        format!("{} can't be a name", shown(text)),
        "use at most 253 of a-z, 0-9, - and ., with a letter or digit first and last of each part (RFC 1123)",
    )
}

pub(crate) fn is_dns_label(text: &str) -> bool {
    is_word(text, 63, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), |c| c == b'-')
}

pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// `most` characters, `ends` anywhere, `inner` not first nor last.
fn is_word(text: &str, most: usize, ends: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    bytes.len() <= most && ends(*first) && ends(*last) && bytes.iter().all(|c| ends(*c) || inner(*c))
}

/// Labels as objects carry them and selectors demand them.
pub(crate) fn labels(field: &Field<'_>) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut good = true;
    for (key, value) in field.entries()? {
        if !is_label_key(key) {
            good = false;
            field.key_error(
                key,
                format!("{} can't be the name of a label", shown(key)),
                "use at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit first and last; `example.com/` may stand before it",
            );
        }
        let Some(text) = value.text() else {
            good = false;
            continue;
        };
        if text.is_empty() || is_label_word(text) {
            labels.insert(key.to_owned(), text.to_owned());
        } else {
            good = false;
            value.error::<()>(
                format!("{} can't be the value of a label", shown(text)),
                "use at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit first and last",
            );
        }
    }
    good.then_some(labels)
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_word(name),
        None => is_label_word(key),
    }
}

pub(crate) fn is_label_word(text: &str) -> bool {
    is_word(text, 63, |c| c.is_ascii_alphanumeric(), |c| matches!(c, b'-' | b'_' | b'.'))
}

/// 1-65535.
pub(crate) fn port(field: &Field<'_>) -> Option<u16> {
    field.integer("a port", 1..=65535).and_then(|it| u16::try_from(it).ok())
}

/// A workload's port name: at most 15 characters, one of them a letter (RFC 6335).
pub(crate) fn port_name(field: &Field<'_>) -> Option<PortName> {
    let text = field.text()?;
    let fits = is_dns_label(text) && text.len() <= 15 && !text.contains("--");
    if fits && text.bytes().any(|c| c.is_ascii_lowercase()) {
        return Some(text.to_owned());
    }
    let remedy = if text.parse::<u16>().is_ok() {
        format!("for the number {text}, leave out the quotes")
    } else {
        "use at most 15 of a-z, 0-9 and single -, at least one letter, a letter or digit first and last"
            .into()
    };
    field.error(format!("{} can't be the name of a port", shown(text)), remedy)
}

pub(crate) fn transport(field: &Field<'_>) -> Option<Transport> {
    field.choice(&[("TCP", Transport::Tcp), ("UDP", Transport::Udp)])
}

/// With units, in a range.
pub(crate) fn duration(field: &Field<'_>, least: Duration, most: Duration) -> Option<Duration> {
    let remedy = "write a number with a unit: 500ms, 2s, 1m30s";
    if let Some(number) = field.number() {
        return field.error(format!("{number} has no unit"), remedy);
    }
    let text = field.text()?;
    let Some(duration) = scalar::duration(text) else {
        return field.error(format!("{} is not a duration", shown(text)), remedy);
    };
    if duration < least || duration > most {
        return field.error(
            format!("{} is out of range", shown(text)),
            format!("{} to {} can be used", duration_text(least), duration_text(most)),
        );
    }
    Some(duration)
}

/// An address that one host can have.
pub(crate) fn unicast(field: &Field<'_>) -> Option<IpAddr> {
    let text = field.text()?;
    let Ok(address) = text.parse::<IpAddr>() else {
        return field.error(
            format!("{} is not an address", shown(text)),
            "write an IPv4 or IPv6 address, as 10.96.0.10",
        );
    };
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_special(address) {
        return field.error(
            format!("{address} can't be a service's address"),
            "leave it out to have one chosen, or write one of the mesh's service range",
        );
    }
    Some(address)
}

fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => it.is_broadcast() || it.is_link_local() || it.octets()[0] == 0,
        IpAddr::V6(it) => it.to_ipv4_mapped().is_some() || it.is_unicast_link_local(),
    }
}

/// A block or a single address; v4-mapped IPv6 becomes IPv4, as the kernel programs see it.
pub(crate) fn ip_block(field: &Field<'_>) -> Option<IpNet> {
    let text = field.text()?;
    let block = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(block) = block else {
        return field.error(
            format!("{} is neither an address nor a block", shown(text)),
            "write 10.0.0.0/8, fd00::/64, or a single address",
        );
    };
    if block != block.trunc() {
        field.warn(
            format!("{block} has bits behind its prefix; it means {}", block.trunc()),
            format!(
                "write {}, or {}/{} for this address alone",
                block.trunc(),
                block.addr(),
                block.max_prefix_len()
            ),
        );
    }
    Some(as_ipv4(block.trunc()))
}

fn as_ipv4(block: IpNet) -> IpNet {
    let IpNet::V6(v6) = block else { return block };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(address), Some(prefix)) => Ipv4Net::new(address, prefix).map_or(block, IpNet::V4),
        _ => block,
    }
}
