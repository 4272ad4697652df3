//! What programs tell as their version. Pure.

/// The first word that looks like a version: a number with a dot, maybe after a `v`, a name and a dash or a slash.
pub(super) fn parse(text: &str) -> Option<&str> {
    let words = text.split(|it: char| it.is_whitespace() || "/-,".contains(it));
    let words = words.map(|word| word.strip_prefix('v').unwrap_or(word));
    words.into_iter().find(|word| word.starts_with(|it: char| it.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_programs_version_is_found_in_what_it_tells() {
        for (text, version) in [
            ("nginx version: nginx/1.22.1", Some("1.22.1")),
            ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer", Some("4.1.0")),
            ("h2load nghttp2/1.52.0", Some("1.52.0")),
            ("perf version 6.1.192", Some("6.1.192")),
            ("iptables v1.8.9 (legacy)", Some("1.8.9")),
            ("nftables v1.0.6 (Lester Gooch #5)", Some("1.0.6")),
            ("ip utility, iproute2-6.1.0, libbpf 1.1.2", Some("6.1.0")),
            ("taskset from util-linux 2.38.1", Some("2.38.1")),
            (
                "\nenvoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n",
                Some("1.40.0"),
            ),
            ("usage: thing", None),
            ("", None),
        ] {
            assert_eq!(parse(text), version, "{text}");
        }
    }
}
