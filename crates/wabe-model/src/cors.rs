//! The Gateway API's `HTTPCORSFilter`: which pages of other origins a browser may let read a service's answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::HostPattern;

/// What browsers are told (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Whose pages may; nobody's if it is empty. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<OriginPattern>,
    /// Requests may bear credentials.
    #[serde(default)]
    pub credentials: bool,
    /// Methods besides GET, HEAD and POST, told apart by case.
    #[serde(default)]
    pub methods: Allowed,
    /// Headers of requests, in lower case.
    #[serde(default)]
    pub headers: Allowed,
    /// Headers of answers that pages may read, in lower case.
    #[serde(default)]
    pub expose: Allowed,
    /// For how many seconds a browser need not ask again: 1 or more, 5 unless written.
    pub max_age: u32,
}

/// Names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Allowed {
    /// `*`.
    All,
    /// These.
    Named(Vec<String>),
}

impl Default for Allowed {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

/// Origins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OriginPattern {
    /// `*`: every origin, also one that has no name.
    Any,
    /// `SCHEME://HOST:PORT`.
    Of {
        /// The scheme.
        scheme: Scheme,
        /// The host, in lower case; `None` for every one (`*`).
        host: Option<HostPattern>,
        /// The port; the scheme's own unless written.
        port: u16,
    },
}

/// What an origin is reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Of { scheme, host, port } = self else { return formatter.write_str("*") };
        write!(formatter, "{}://", scheme.as_str())?;
        match host {
            None => formatter.write_str("*")?,
            Some(HostPattern::Exact(name)) => formatter.write_str(name)?,
            Some(HostPattern::Below(name)) => write!(formatter, "*.{name}")?,
        }
        if *port == scheme.port() { Ok(()) } else { write!(formatter, ":{port}") }
    }
}

impl Scheme {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is meant if none is written.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}
