//! One HTTP call on a connection of its own.
//!
//! A new connection for each call on purpose: the mesh chooses an endpoint, and decides who may talk, when a connection
//! is opened.

use std::{fmt, io, time::Duration};

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::serve::SERVED_BY;

/// A call that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where to call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    host: String,
    port: u16,
    path: String,
}

impl Target {
    /// From a URL like `http://name[:port][/path]`.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let uri: hyper::Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url:?} does not begin with http://, all this program speaks");
        }
        let host = uri.host().context("a URL needs a host")?.trim_matches(['[', ']']).to_owned();
        let path = uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(80), path })
    }

    /// Opens a connection and closes it again.
    ///
    /// # Errors
    /// Those of name resolution and `connect(2)`; `TimedOut` after two seconds.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        timeout(PATIENCE, TcpStream::connect((self.host.as_str(), self.port)))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Calls; `Ok` only for an answer with a status of 200-299 that arrived whole.
    ///
    /// # Errors
    /// What went wrong, in words for the screen.
    pub(crate) async fn call(&self) -> Result<Answer> {
        timeout(PATIENCE, self.exchange()).await.unwrap_or_else(|_| bail!("no answer within {PATIENCE:?}"))
    }

    async fn exchange(&self) -> Result<Answer> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get(&self.path).header(HOST, self.to_string()).body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let served_by = match response.headers().get(SERVED_BY) {
            Some(value) => value.to_str()?.to_owned(),
            None => self.host.clone(),
        };
        response.into_body().collect().await?;
        if !status.is_success() {
            bail!("status {status}");
        }
        Ok(Answer { status, served_by })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status, 200-299.
    pub(crate) status: StatusCode,
    /// Who says to have made it; the name called if nobody says.
    pub(crate) served_by: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls() {
        for (url, shown, path) in [
            ("http://catalogue.shop", "catalogue.shop:80", "/"),
            ("http://catalogue.shop:81/catalogue?all=1", "catalogue.shop:81", "/catalogue?all=1"),
            ("http://[::1]:8080/pay", "[::1]:8080", "/pay"),
        ] {
            let target = Target::parse(url).expect("a URL");
            assert_eq!((target.to_string().as_str(), target.path.as_str()), (shown, path));
        }
    }

    #[test]
    fn refuses_urls_it_cannot_call() {
        for url in ["catalogue.shop", "https://catalogue.shop", "http://", "/pay"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
