//! Addresses and ports in network byte order.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A 16-bit number in network byte order: a port.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct Be16(u16);

impl Be16 {
    /// From host byte order.
    #[inline(always)]
    pub const fn new(value: u16) -> Self {
        Self(value.to_be())
    }

    /// From a number that is in network byte order already.
    #[inline(always)]
    pub const fn from_network(raw: u16) -> Self {
        Self(raw)
    }

    /// In host byte order.
    #[inline(always)]
    pub const fn host(self) -> u16 {
        u16::from_be(self.0)
    }

    /// As it lies in memory.
    #[inline(always)]
    pub const fn network(self) -> u16 {
        self.0
    }
}

/// A 32-bit number in network byte order: a quarter of an address.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct Be32(u32);

impl Be32 {
    /// From host byte order.
    #[inline(always)]
    pub const fn new(value: u32) -> Self {
        Self(value.to_be())
    }

    /// From a number that is in network byte order already, as the kernel's contexts have it.
    #[inline(always)]
    pub const fn from_network(raw: u32) -> Self {
        Self(raw)
    }

    /// In host byte order.
    #[inline(always)]
    pub const fn host(self) -> u32 {
        u32::from_be(self.0)
    }

    /// As it lies in memory.
    #[inline(always)]
    pub const fn network(self) -> u32 {
        self.0
    }
}

/// An address. IPv4 is kept as the IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2), so that one key serves both
/// families and a mapped address can't be a way round a rule.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct Ip {
    /// Most significant first.
    pub words: [Be32; 4],
}

impl Ip {
    /// `::`, which is also "no address".
    pub const UNSPECIFIED: Self = Self { words: [Be32(0); 4] };

    /// From an IPv4 address as the kernel's contexts have it.
    #[inline(always)]
    pub const fn v4(raw: u32) -> Self {
        Self { words: [Be32(0), Be32(0), Be32::new(0xffff), Be32(raw)] }
    }

    /// From an IPv6 address as the kernel's contexts have it.
    #[inline(always)]
    pub const fn v6(raw: [u32; 4]) -> Self {
        Self { words: [Be32(raw[0]), Be32(raw[1]), Be32(raw[2]), Be32(raw[3])] }
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.words[0].0 == 0 && self.words[1].0 == 0 && self.words[2].0 == Be32::new(0xffff).0
    }

    /// Whether this is `::` or `0.0.0.0`.
    #[inline(always)]
    pub const fn is_unspecified(&self) -> bool {
        self.words[3].0 == 0
            && self.words[0].0 == 0
            && self.words[1].0 == 0
            && (self.words[2].0 == 0 || self.words[2].0 == Be32::new(0xffff).0)
    }

    /// Whether this is in 127.0.0.0/8 or is `::1`.
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        if self.is_v4() {
            return self.words[3].host() >> 24 == 127;
        }
        self.words[0].0 == 0 && self.words[1].0 == 0 && self.words[2].0 == 0 && self.words[3].host() == 1
    }

    /// Whether packets to this address could leave the machine or reach several receivers: multicast, broadcast and
    /// IPv6 link-local addresses, none of which a mesh routes.
    #[inline(always)]
    pub const fn is_link_scoped(&self) -> bool {
        if self.is_v4() {
            let address = self.words[3].host();
            return address >> 28 == 0xe || address == u32::MAX || address >> 16 == 0xa9fe;
        }
        let first = self.words[0].host();
        first >> 24 == 0xff || first >> 22 == 0xfe80 >> 6
    }
}

impl From<IpAddr> for Ip {
    fn from(address: IpAddr) -> Self {
        let octets = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut words = [Be32(0); 4];
        for (word, chunk) in words.iter_mut().zip(octets.chunks_exact(4)) {
            *word = Be32::new(u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
        }
        Self { words }
    }
}

impl From<Ip> for IpAddr {
    fn from(ip: Ip) -> Self {
        if ip.is_v4() {
            return Self::V4(Ipv4Addr::from(ip.words[3].host()));
        }
        let [a, b, c, d] = ip.words.map(|word| u128::from(word.host()));
        Self::V6(Ipv6Addr::from(a << 96 | b << 64 | c << 32 | d))
    }
}

/// A range of addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Prefix {
    /// The first address.
    pub base: Ip,
    /// 1 for each bit of an address that must equal that of `base`; all zero means an empty range.
    pub mask: Ip,
}

impl Prefix {
    /// From an address and a prefix length in bits of its own family (0-32 or 0-128; more counts as the maximum).
    pub fn new(address: IpAddr, length: u8) -> Self {
        let bits = match address {
            IpAddr::V4(_) => 96 + u32::from(length.min(32)),
            IpAddr::V6(_) => u32::from(length.min(128)),
        };
        let mut prefix = Self { base: address.into(), mask: Ip::UNSPECIFIED };
        for index in 0..4 {
            let here = bits.saturating_sub(index as u32 * 32).min(32);
            let mask = (u64::from(u32::MAX) << (32 - here)) as u32;
            prefix.mask.words[index] = Be32::new(mask);
            prefix.base.words[index] = Be32(prefix.base.words[index].0 & Be32::new(mask).0);
        }
        prefix
    }

    /// Whether `ip` is in the range.
    #[inline(always)]
    pub const fn contains(&self, ip: &Ip) -> bool {
        let (m, b, w) = (&self.mask.words, &self.base.words, &ip.words);
        (m[0].0 | m[1].0 | m[2].0 | m[3].0) != 0
            && w[0].0 & m[0].0 == b[0].0
            && w[1].0 & m[1].0 == b[1].0
            && w[2].0 & m[2].0 == b[2].0
            && w[3].0 & m[3].0 == b[3].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ip {
        text.parse::<IpAddr>().expect("a test's address").into()
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(ip("::ffff:10.1.2.3"), ip("10.1.2.3"));
        assert_eq!(std::format!("{}", IpAddr::from(ip("::ffff:10.1.2.3"))), "10.1.2.3");
        assert_eq!(std::format!("{}", IpAddr::from(ip("fd00::1:2"))), "fd00::1:2");
    }

    #[test]
    fn kinds_of_addresses() {
        for (text, loopback, link) in [
            ("127.0.0.53", true, false),
            ("::1", true, false),
            ("10.0.0.1", false, false),
            ("224.0.0.1", false, true),
            ("255.255.255.255", false, true),
            ("169.254.1.1", false, true),
            ("fe80::1", false, true),
            ("ff02::1", false, true),
            ("fd00::1", false, false),
        ] {
            assert_eq!(ip(text).is_loopback(), loopback, "{text}");
            assert_eq!(ip(text).is_link_scoped(), link, "{text}");
        }
        assert!(ip("0.0.0.0").is_unspecified() && ip("::").is_unspecified());
    }

    #[test]
    fn prefixes_contain_their_own_only() {
        let four = Prefix::new("10.8.3.1".parse().expect("address"), 16);
        assert!(four.contains(&ip("10.8.255.255")) && !four.contains(&ip("10.9.0.0")));
        assert!(!four.contains(&ip("::0a08:1")));
        let six = Prefix::new("fd00:8::".parse().expect("address"), 64);
        assert!(six.contains(&ip("fd00:8::1")) && !six.contains(&ip("fd00:8:0:1::1")));
        assert!(!Prefix::default().contains(&ip("::")));
    }
}
