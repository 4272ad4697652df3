//! The command line: words, and options of the form `--name value` or `--name`.

use std::{collections::VecDeque, str::FromStr, time::Duration};

use anyhow::{Context as _, Result, bail};

const WITH_VALUE: [&str; 11] =
    ["bytes", "case", "count", "delay", "grpc", "listen", "mac", "parallel", "rate", "snapshot", "timeout"];
const WITHOUT_VALUE: [&str; 11] = [
    "connected",
    "failures",
    "no-read",
    "resolve-each",
    "source-mapped",
    "stay",
    "summary",
    "tell",
    "udp",
    "until-quit",
    "wait",
];

/// What followed the program's name.
#[derive(Debug, Default)]
pub(crate) struct Args {
    words: VecDeque<String>,
    options: Vec<(String, String)>,
}

impl Args {
    /// Sorts words from options.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Self::default();
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--") {
                None => parsed.words.push_back(arg),
                Some(name) if WITHOUT_VALUE.contains(&name) => {
                    parsed.options.push((name.into(), String::new()))
                }
                Some(name) if WITH_VALUE.contains(&name) => {
                    let value = args.next().with_context(|| format!("{arg} needs a value after it"))?;
                    parsed.options.push((name.into(), value));
                }
                Some(_) => bail!("no option {arg}; run wabe-testbox help"),
            }
        }
        Ok(parsed)
    }

    /// The next word.
    pub(crate) fn word(&mut self, what: &str) -> Result<String> {
        self.words.pop_front().with_context(|| format!("needs {what}"))
    }

    /// The next word, if there is one.
    pub(crate) fn maybe_word(&mut self) -> Option<String> {
        self.words.pop_front()
    }

    /// Whether a word is left.
    pub(crate) fn has_word(&self) -> bool {
        !self.words.is_empty()
    }

    /// Whether this option is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(it, _)| it == name)
    }

    /// The value of an option.
    pub(crate) fn option<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some((_, value)) = self.options.iter().find(|(it, _)| it == name) else { return Ok(None) };
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => bail!("--{name} can't be {value:?}"),
        }
    }

    /// The value of an option in milliseconds.
    pub(crate) fn millis(&self, name: &str, default: u64) -> Result<Duration> {
        Ok(Duration::from_millis(self.option(name)?.unwrap_or(default)))
    }

    /// The value of `--listen`.
    pub(crate) fn listen(&self) -> Result<std::net::SocketAddr> {
        self.option("listen")?.context("needs --listen ADDRESS, as [::]:80")
    }
}
