//! Names below `in-addr.arpa` and `ip6.arpa`.

use std::net::IpAddr;

use hickory_proto::rr::Name;

/// The address that a reverse name stands for; none if it is no reverse name or one of a whole network.
pub(crate) fn address_of(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_addresses_only() {
        for address in ["10.96.0.1", "fd00:1::a"] {
            let address: IpAddr = address.parse().expect("address");
            assert_eq!(address_of(&Name::from(address)), Some(address));
        }
        for name in
            ["96.10.in-addr.arpa.", "0.0.d.f.ip6.arpa.", "300.0.0.1.in-addr.arpa.", "x.arpa.", "arpa.", "."]
        {
            assert_eq!(address_of(&name.parse().expect("name")), None, "{name}");
        }
    }
}
