//! kube-proxy's rules as text, as it writes them for services with cluster addresses (Kubernetes 1.31,
//! pkg/proxy/iptables/proxier.go, pkg/proxy/nftables/proxier.go and pkg/proxy/ipvs/proxier.go). Pure.

use std::{fmt::Write as _, net::Ipv4Addr};

mod iptables;
pub(crate) mod ipvs;
mod nftables;

pub(crate) use iptables::{chains, one_change as change_chains};
pub(crate) use nftables::{one_change as change_maps, table};

/// How many services there are on the node besides the one that is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flood {
    /// Services, each with an address and one port; at most 65 536.
    pub services: u32,
    /// Endpoints of each; all together at most 8 000 000.
    pub endpoints: u32,
}

impl Flood {
    /// Whether addresses suffice.
    ///
    /// # Errors
    /// A sentence that names the limit.
    pub fn check(self) -> Result<(), String> {
        let all = u64::from(self.services) * u64::from(self.endpoints);
        if self.services > 65_536 {
            Err(format!("{} services: at most 65536 fit into the address range", self.services))
        } else if all > 8_000_000 {
            Err(format!("{all} endpoints: at most 8000000 fit into the address range"))
        } else {
            Ok(())
        }
    }
}

/// The range of all pods, the measured ones included.
const PODS: &str = "10.128.0.0/9";

/// A service with its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// `flood/service-7:http`.
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
    pub(crate) endpoints: Vec<(Ipv4Addr, u16)>,
}

/// The services of a flood.
pub(crate) fn flood(flood: Flood) -> impl Iterator<Item = Service> {
    (0..flood.services).map(move |service| Service {
        name: format!("flood/service-{service}:http"),
        address: Ipv4Addr::from_bits(Ipv4Addr::new(10, 100, 0, 0).to_bits() + service),
        protocol: "tcp",
        port: 80,
        endpoints: (0..flood.endpoints).map(|it| (endpoint(service * flood.endpoints + it), 8080)).collect(),
    })
}

/// The measured services in the middle of the others: where one of many is on average, as chains are walked in order.
pub(crate) fn all(measured: &[Service], flood_size: Flood) -> Vec<Service> {
    let mut all: Vec<Service> = flood(flood_size).collect();
    let middle = all.len() / 2;
    all.splice(middle..middle, measured.iter().cloned());
    all
}

/// The first service of a flood with another first endpoint each time; none without a flood.
pub(crate) fn changed(size: Flood, turn: u32) -> Option<Service> {
    let mut service = flood(size).next()?;
    let first = service.endpoints.first_mut()?;
    // Beyond all others: 10.254.0.0 and on.
    first.0 = Ipv4Addr::from_bits(Ipv4Addr::new(10, 254, 0, 0).to_bits() + turn % 65_536);
    Some(service)
}

fn endpoint(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 128, 0, 0).to_bits() + number)
}

/// Sixteen letters as kube-proxy makes them of names, by another hash (FNV-1a): only their length matters.
fn letters(words: &[&str]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in words.iter().flat_map(|it| it.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // Five bits a letter.
    let mut random = crate::stats::Random::new(hash);
    let bits = u128::from(random.word()) << 64 | u128::from(random.word());
    (0..16)
        .map(|it| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(bits >> (5 * it)) as usize & 31]))
        .collect()
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing into a string can't fail.
    let _ = text.write_fmt(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_letters_of_their_own() {
        let all: std::collections::BTreeSet<String> =
            flood(Flood { services: 5_000, endpoints: 1 }).map(|it| letters(&[&it.name])).collect();
        assert_eq!(all.len(), 5_000);
        assert!(all.iter().all(|it| it.len() == 16));
    }

    #[test]
    fn no_two_endpoints_share_an_address() {
        let all: std::collections::BTreeSet<(Ipv4Addr, u16)> =
            flood(Flood { services: 50, endpoints: 40 }).flat_map(|it| it.endpoints).collect();
        assert_eq!(all.len(), 2_000);
        let changed = changed(Flood { services: 50, endpoints: 40 }, 3).expect("a flood");
        assert!(!all.contains(&changed.endpoints[0]) && all.contains(&changed.endpoints[1]));
    }

    #[test]
    fn a_flood_beyond_the_addresses_is_refused() {
        assert!(Flood { services: 65_537, endpoints: 0 }.check().is_err());
        assert!(Flood { services: 65_536, endpoints: 200 }.check().is_err());
        assert!(Flood { services: 500, endpoints: 50 }.check().is_ok());
    }
}
