//! What to send, where and when. Pure but for names that have to be resolved.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// Requests a second beyond which a schedule makes no sense for one thread.
const MOST: f64 = 1e6;

/// What to send, where and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where to.
    pub url: Url,
    /// When.
    pub arrivals: Arrivals,
    /// How many connections or sockets at most at once; at least 1.
    pub connections: usize,
    /// A new connection for each request, which is reset after the answer so that no port waits.
    pub fresh: bool,
    /// What is spoken.
    pub protocol: Protocol,
    /// Load before it counts.
    pub warm_up: Duration,
    /// How long it counts.
    pub time: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Bytes that are sent with each request: POST if there are any; datagrams have 64 unless this says more.
    pub body: usize,
    /// Roots of certificates that are believed, PEM; of https.
    pub trust: Option<PathBuf>,
    /// What Poisson's gaps are drawn from.
    pub seed: u64,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// So many a second, at even gaps.
    Constant(f64),
    /// So many a second on average, independent of each other.
    Poisson(f64),
    /// Each connection sends when it has its answer.
    Closed,
}

/// What is spoken over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// How the other side is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`: HTTP/1.1 over TLS.
    Https,
    /// `udp`: datagrams that come back.
    Udp,
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// How.
    pub scheme: Scheme,
    /// Name or address, and port, as written.
    pub authority: String,
    /// The first address of that name.
    pub address: SocketAddr,
    /// `/` or more; of HTTP.
    pub path: String,
}

impl Arrivals {
    /// Requests a second; `None` for as fast as answers come.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Constant(rate) | Self::Poisson(rate) => Some(rate),
            Self::Closed => None,
        }
    }
}

impl Plan {
    /// Whether it makes sense.
    pub(super) fn check(&self) -> Result<()> {
        if self.time.is_zero() {
            bail!("the duration is zero: there is nothing to measure; try --duration 10s");
        }
        if self.timeout.is_zero() {
            bail!("the timeout is zero: no answer could come; try --timeout 5s");
        }
        if self.connections == 0 {
            bail!("no connections: at least one is needed; try --connections 32");
        }
        match self.arrivals.rate() {
            Some(rate) if !(rate > 0.0 && rate <= MOST) => {
                bail!(
                    "a rate of {rate} requests/s: it must be above 0 and at most {MOST}; --closed sends as many as go"
                )
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for Url {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (scheme, rest) =
            text.split_once("://").with_context(|| format!("{text}: no scheme; try http://{text}"))?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "udp" => Scheme::Udp,
            other => bail!("{text}: {other} is not spoken here; http, https and udp are"),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if path.bytes().any(|it| it <= b' ' || it == 0x7f) {
            bail!("{text}: a path has no spaces or control characters; write them as %20");
        }
        let has_port = authority.rsplit_once(':').is_some_and(|it| !it.1.is_empty() && !it.1.contains(']'));
        let with_port = match scheme {
            _ if has_port => authority.to_owned(),
            Scheme::Http => format!("{authority}:80"),
            Scheme::Https => format!("{authority}:443"),
            Scheme::Udp => bail!("{text}: datagrams need a port, as in udp://{authority}:9000"),
        };
        let mut found =
            with_port.to_socket_addrs().with_context(|| format!("{text}: {authority} can't be resolved"))?;
        let address = found.next().with_context(|| format!("{text}: {authority} has no address"))?;
        Ok(Self { scheme, authority: authority.to_owned(), address, path: path.to_owned() })
    }
}

impl Url {
    /// The name or address without port and brackets.
    pub(super) fn host(&self) -> &str {
        let host = self
            .authority
            .rsplit_once(':')
            .filter(|it| !it.1.contains(']'))
            .map_or(&*self.authority, |it| it.0);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Http => write!(f, "http://{}{}", self.authority, self.path),
            Scheme::Https => write!(f, "https://{}{}", self.authority, self.path),
            Scheme::Udp => write!(f, "udp://{}", self.authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_ports_and_paths() {
        for (text, address, path) in [
            ("http://127.0.0.1", "127.0.0.1:80", "/"),
            ("http://127.0.0.1:8080/a?b=c", "127.0.0.1:8080", "/a?b=c"),
            ("http://[::1]/x", "[::1]:80", "/x"),
            ("http://[::1]:81", "[::1]:81", "/"),
            ("udp://127.0.0.1:9", "127.0.0.1:9", "/"),
        ] {
            let url: Url = text.parse().expect(text);
            assert_eq!((url.address.to_string().as_str(), url.path.as_str()), (address, path), "{text}");
        }
    }

    #[test]
    fn hosts_are_told_without_ports_and_brackets() {
        for (text, host) in
            [("https://127.0.0.1", "127.0.0.1"), ("http://[::1]:8/", "::1"), ("http://[::1]/", "::1")]
        {
            assert_eq!(text.parse::<Url>().expect(text).host(), host, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_with_the_remedy() {
        for (text, expected) in [
            ("127.0.0.1:80/", "try http://"),
            ("ftp://127.0.0.1/", "ftp is not spoken here"),
            ("udp://127.0.0.1", "need a port"),
            ("http://127.0.0.1/a b", "%20"),
            ("http://no.such.name.invalid/", "can't be resolved"),
        ] {
            let error = text.parse::<Url>().expect_err(text);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_plan_of_nothing_is_refused() {
        let plan = Plan {
            url: "http://127.0.0.1:1/".parse().expect("a URL"),
            arrivals: Arrivals::Closed,
            connections: 1,
            fresh: false,
            protocol: Protocol::Http1,
            warm_up: Duration::ZERO,
            time: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            body: 0,
            trust: None,
            seed: 1,
        };
        assert!(plan.check().is_ok());
        for (broken, expected) in [
            (Plan { time: Duration::ZERO, ..plan.clone() }, "--duration"),
            (Plan { timeout: Duration::ZERO, ..plan.clone() }, "--timeout"),
            (Plan { connections: 0, ..plan.clone() }, "--connections"),
            (Plan { arrivals: Arrivals::Constant(0.0), ..plan.clone() }, "above 0"),
            (Plan { arrivals: Arrivals::Poisson(1e7), ..plan.clone() }, "at most"),
            (Plan { arrivals: Arrivals::Constant(f64::NAN), ..plan }, "above 0"),
        ] {
            let error = broken.check().expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
