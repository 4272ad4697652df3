//! The command line. By hand: four sub-commands with three options need no parser crate.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};

use crate::call::Target;

/// Shown by `shop help`.
pub(crate) const USAGE: &str = "\
The programs of the demo shop.

  shop catalogue --version v1|v2 --listen ADDRESS [--verbose]   serves the list of goods
  shop payment --listen ADDRESS [--verbose]                     takes payments
  shop load [--rate CALLS_PER_SECOND] URL...                    calls each URL in turn, a new connection per call
  shop thief URL                                                tries to call URL every 2 s, says how it was refused

ADDRESS is like [::]:8080 (IPv4 and IPv6); URL is like http://catalogue.shop/catalogue.
";

/// What to run.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    Catalogue { version: String, listen: SocketAddr, verbose: bool },
    Payment { listen: SocketAddr, verbose: bool },
    Load { rate: u32, targets: Vec<Target> },
    Thief { target: Target },
}

/// Parses everything that follows the program's name.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Command> {
    let mut words = Words::sort(args)?;
    let name = words.plain.first().cloned().unwrap_or_else(|| "help".into());
    let command = match name.as_str() {
        "help" => Command::Help,
        "catalogue" => Command::Catalogue {
            version: words.version.take().context("catalogue needs --version, as in --version v1")?,
            listen: words.listen()?,
            verbose: words.verbose,
        },
        "payment" => Command::Payment { listen: words.listen()?, verbose: words.verbose },
        "load" => Command::Load { rate: words.rate()?, targets: words.targets()? },
        "thief" => Command::Thief { target: words.targets()?.remove(0) },
        other => bail!("no sub-command {other:?}; `shop help` lists them"),
    };
    Ok(command)
}

#[derive(Default)]
struct Words {
    plain: Vec<String>,
    version: Option<String>,
    listen: Option<String>,
    rate: Option<String>,
    verbose: bool,
}

impl Words {
    fn sort(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut words = Self::default();
        while let Some(arg) = args.next() {
            let slot = match arg.as_str() {
                "--verbose" => {
                    words.verbose = true;
                    continue;
                }
                "--help" | "-h" => {
                    words.plain.insert(0, "help".into());
                    continue;
                }
                "--version" => &mut words.version,
                "--listen" => &mut words.listen,
                "--rate" => &mut words.rate,
                unknown if unknown.starts_with('-') => bail!("no option {unknown}; `shop help` lists them"),
                _ => {
                    words.plain.push(arg);
                    continue;
                }
            };
            *slot = Some(args.next().with_context(|| format!("{arg} needs a value after it"))?);
        }
        Ok(words)
    }

    fn listen(&self) -> Result<SocketAddr> {
        let text = self.listen.as_deref().context("needs --listen, as in --listen [::]:8080")?;
        text.parse().with_context(|| format!("{text:?} is no address and port, as [::]:8080"))
    }

    fn rate(&self) -> Result<u32> {
        let text = self.rate.as_deref().unwrap_or("50");
        let rate = text.parse().with_context(|| format!("--rate {text:?} is no number"))?;
        match rate {
            1..=10_000 => Ok(rate),
            _ => bail!("--rate is 1 to 10000 calls per second, not {rate}"),
        }
    }

    fn targets(&self) -> Result<Vec<Target>> {
        let targets = self.plain.iter().skip(1).map(|url| Target::parse(url)).collect::<Result<Vec<_>>>()?;
        if targets.is_empty() {
            bail!("needs a URL, as http://catalogue.shop/catalogue");
        }
        Ok(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn reads_the_command_lines_of_the_manifests() {
        let listen = "[::]:8080".parse().expect("an address");
        assert_eq!(
            parse_line("catalogue --version v1 --listen [::]:8080").expect("parses"),
            Command::Catalogue { version: "v1".into(), listen, verbose: false }
        );
        assert_eq!(
            parse_line("payment --listen [::]:8080 --verbose").expect("parses"),
            Command::Payment { listen, verbose: true }
        );
        let Command::Load { rate, targets } =
            parse_line("load --rate 7 http://a.shop/x http://b.shop:81").expect("parses")
        else {
            panic!("not a load")
        };
        assert_eq!((rate, targets.len()), (7, 2));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for line in
            ["sell", "load", "load --rate 0 http://a", "payment", "payment --listen here", "thief --fast x"]
        {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }
}
