//! The host's `resolv.conf`, as glibc reads it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// Suffixes that resolvers of the host's programs try; lower case, one list of labels each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchList(Vec<Vec<String>>);

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    /// At most three, as in glibc.
    pub(crate) nameservers: Vec<Nameserver>,
    /// The last `search` or `domain` line, else the domain of the host's name.
    pub(crate) search: SearchList,
}

/// A nameserver's address; link-local ones with their interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nameserver {
    address: IpAddr,
    scope: u32,
}

/// glibc's MAXNS.
const MAX_NAMESERVERS: usize = 3;

impl SearchList {
    /// From suffixes as `corp.example`; the root and empty ones are left out.
    pub fn new<S: AsRef<str>>(suffixes: impl IntoIterator<Item = S>) -> Self {
        let labels = |suffix: S| -> Vec<String> {
            let suffix = suffix.as_ref().trim_matches('.').to_ascii_lowercase();
            suffix.split('.').filter(|label| !label.is_empty()).map(str::to_owned).collect()
        };
        Self(suffixes.into_iter().map(labels).filter(|labels| !labels.is_empty()).collect())
    }

    /// What is left of `labels` without one of the suffixes, for each suffix that leaves something.
    pub(crate) fn strip<'a>(&self, labels: &'a [String]) -> impl Iterator<Item = &'a [String]> {
        self.0.iter().filter_map(|suffix| labels.strip_suffix(&suffix[..])).filter(|rest| !rest.is_empty())
    }
}

impl ResolvConf {
    /// Reads `text`. Lines that glibc would ignore are ignored; without `nameserver` it is 127.0.0.1. `index_of` knows
    /// the interfaces' numbers.
    pub(crate) fn parse(text: &str, hostname: &str, index_of: impl Fn(&str) -> Option<u32>) -> Self {
        let mut nameservers = Vec::new();
        let mut search = SearchList::new(hostname.split_once('.').map(|(_, domain)| domain));
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace().take_while(|word| !word.starts_with(['#', ';']));
            match words.next() {
                Some("nameserver") => {
                    nameservers.extend(words.next().and_then(|w| Nameserver::parse(w, &index_of)))
                }
                Some("search") => search = SearchList::new(words),
                Some("domain") => search = SearchList::new(words.next()),
                Some(_) | None => {}
            }
        }
        if nameservers.is_empty() {
            nameservers.push(Nameserver { address: Ipv4Addr::LOCALHOST.into(), scope: 0 });
        }
        nameservers.truncate(MAX_NAMESERVERS);
        Self { nameservers, search }
    }
}

impl Nameserver {
    /// Where it listens.
    pub(crate) fn at(self, port: u16) -> SocketAddr {
        match self.address {
            IpAddr::V4(v4) => (v4, port).into(),
            IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, self.scope).into(),
        }
    }

    fn parse(word: &str, index_of: impl Fn(&str) -> Option<u32>) -> Option<Self> {
        let (address, scope) = match word.split_once('%') {
            Some((address, scope)) => (address, scope.parse().ok().or_else(|| index_of(scope))?),
            None => (word, 0),
        };
        Some(Self { address: address.parse::<IpAddr>().ok()?.to_canonical(), scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, hostname: &str) -> ResolvConf {
        ResolvConf::parse(text, hostname, |name| (name == "lan0").then_some(7))
    }

    #[test]
    fn reads_what_glibc_reads() {
        let conf = parse(
            "# comment\n; another\nsearch old.example\nnameserver 192.0.2.1 # first\n\tnameserver\t2001:db8::1\n\
             nameserver nonsense\nnameserver\nnameserver fe80::1%lan0\nnameserver 192.0.2.4\noptions ndots:5\n\
             search Corp.Example. . eu.corp.example\n",
            "node.elsewhere.example",
        );
        let servers: Vec<String> = conf.nameservers.iter().map(|it| it.at(53).to_string()).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:53"]);
        assert_eq!(conf.search, SearchList::new(["corp.example", "eu.corp.example"]));
    }

    #[test]
    fn has_the_defaults_of_glibc() {
        let conf = parse("", "node.corp.example");
        assert_eq!(conf.nameservers[0].at(53).to_string(), "127.0.0.1:53");
        assert_eq!(conf.search, SearchList::new(["corp.example"]));
        assert_eq!(parse("", "node").search, SearchList::default());
        assert_eq!(parse("domain a.example b.example", "").search, SearchList::new(["a.example"]));
    }

    #[test]
    fn leaves_out_servers_on_unknown_interfaces() {
        let conf = parse("nameserver fe80::1%gone0\nnameserver fe80::1%3\n", "");
        let servers: Vec<String> = conf.nameservers.iter().map(|it| it.at(53).to_string()).collect();
        assert_eq!(servers, ["[fe80::1%3]:53"]);
    }

    #[test]
    fn strips_whole_labels_only() {
        let labels = |name: &str| name.split('.').map(str::to_owned).collect::<Vec<_>>();
        let search = SearchList::new(["corp.example"]);
        let name = labels("catalogue.shop.corp.example");
        assert_eq!(search.strip(&name).collect::<Vec<_>>(), [&labels("catalogue.shop")[..]]);
        assert_eq!(search.strip(&labels("catalogue.xcorp.example")).count(), 0);
        assert_eq!(search.strip(&labels("corp.example")).count(), 0);
    }
}
