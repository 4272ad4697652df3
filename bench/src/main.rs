//! `wabe-bench`: measures the mesh against what nodes do without it; `cargo xtask bench` builds and starts it.
//!
//! It starts meshes and namespaces of its own, loads them in interleaved rounds, prints ratios with intervals, and
//! leaves nothing but its empty lock file and, where the lab has it too, Envoy. It never judges a figure. Nothing depends on
//! it, and it measures `wabe` from outside: of the mesh's crates it has only the proxy, for the traffic by which a compiler learns,
//! and of the lab what finds and runs the programs of others.
#![forbid(unsafe_code)]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

mod arm;
mod bridge;
mod command;
mod environment;
mod grpc;
mod h2load;
mod hold;
mod load;
mod measures;
mod mesh;
mod place;
mod policies;
mod proxy;
mod report;
mod rounds;
mod server;
mod stats;
mod train;
mod work;

const USAGE: &str = "\
usage: wabe-bench --wabe PROGRAM [MEASURE...] [--rounds N] [--quick] [--out FILE.json]

MEASURE is one of short-cut, hooks, connect, scale, udp, policy, proxy-requests, proxy-latency, proxy-tail, proxy-http2,
proxy-grpc, proxy-tcp, proxy-memory, proxy-idle, proxy-routes; all of them unless given. N is 30 unless given.
--quick runs 3 rounds of 0.2 s and smaller tables: it shows that all works, and its figures mean nothing.";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["probe", to] => bridge::probe(to.parse()?),
        ["echo", at, core] => {
            load::pin(core.parse()?)?;
            load::echo(at.parse()?)
        }
        ["grpc", at, core] => {
            load::pin(core.parse()?)?;
            grpc::serve(at.parse()?)
        }
        ["hold", to, count, core] => {
            load::pin(core.parse()?)?;
            hold::run(to.parse()?, count.parse()?)
        }
        ["train", folder, length] => train::train(Path::new(folder), length.parse()?),
        ["load", kind, to, connections, milliseconds, core] => {
            load::pin(core.parse()?)?;
            let kind = load::Kind::ALL.into_iter().find(|it| it.word() == *kind).context("which load?")?;
            let to = to.split(',').map(str::parse).collect::<Result<Vec<SocketAddr>, _>>()?;
            let sample =
                load::run(kind, &to, connections.parse()?, Duration::from_millis(milliseconds.parse()?))?;
            println!("{}", serde_json::to_string(&sample)?);
            Ok(())
        }
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        words => rounds::run(&parse(words)?),
    }
}

/// What to measure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) wabe: PathBuf,
    pub(crate) measures: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) out: Option<PathBuf>,
}

fn parse(words: &[&str]) -> Result<Wish> {
    let (mut wabe, mut measures, mut rounds, mut quick, mut out) = (None, Vec::new(), None, false, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
        match *word {
            "--wabe" => wabe = Some(PathBuf::from(value()?)),
            "--rounds" => {
                rounds = Some(value()?.parse().with_context(|| format!("--rounds is no number\n{USAGE}"))?)
            }
            "--quick" => quick = true,
            "--out" => out = Some(PathBuf::from(value()?)),
            name if measures::NAMES.contains(&name) => measures.push(name.to_owned()),
            other => bail!("{other:?} is no measure and no option\n{USAGE}"),
        }
    }
    if measures.is_empty() {
        measures = measures::NAMES.map(str::to_owned).to_vec();
    }
    let rounds = rounds.unwrap_or(if quick { 3 } else { 30 });
    Ok(Wish {
        wabe: wabe.with_context(|| format!("--wabe is missing\n{USAGE}"))?,
        measures,
        rounds,
        quick,
        out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_measure_all_are_wanted() {
        let wish = parse(&["--wabe", "w", "--quick"]).expect("a wish");
        assert_eq!((wish.measures.len(), wish.rounds), (measures::NAMES.len(), 3));
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_usage() {
        let error = parse(&["--wabe", "w", "conect"]).expect_err("a typing error");
        assert!(error.to_string().contains("usage: wabe-bench"), "{error}");
    }
}
