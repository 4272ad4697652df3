//! Fuzzing: what reads bytes from elsewhere gets a stated number of inputs that nobody thought of.
//!
//! The fuzzer is libFuzzer. Its instrumentation is a pass of LLVM that every compiler has, so this needs neither nightly
//! nor cargo-fuzz; only address sanitizing would, and what is fuzzed has no unsafe code.

mod report;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    setup,
    shell::{self, execute, root},
};
use report::Report;

/// What is fuzzed, how often by default (a minute or two each on one core that is idle), and the longest input in octets.
const TARGETS: [(&str, u64, u32); 11] = [
    ("manifests", 400_000, 4096),
    ("dns", 2_000_000, 2048),
    ("events", 1_000_000, 1100),
    ("client-hello", 5_000_000, 2048),
    ("websocket", 5_000_000, 1024),
    ("http1-request", 1_000_000, 2048),
    ("http1-response", 1_000_000, 1024),
    ("http2-frames", 5_000_000, 512),
    ("detection", 5_000_000, 512),
    ("fields", 5_000_000, 256),
    ("figures", 1_000_000, 4096),
];

/// The flags of cargo-fuzz but for sanitizers: counters of edges, and what is compared with what.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Named, so that build scripts and macros, which are the machine's own, are built without the flags.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// libFuzzer is C++.
const TOOLS: [(&str, &str); 1] = [("/usr/bin/c++", "g++")];

/// Fuzzes one target, or all, or runs one input of a target again.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let plan = Plan::of(words)?;
    setup::run()?;
    setup::packages(&TOOLS)?;
    build(&plan.targets)?;
    if let Some(input) = plan.input {
        return plan
            .targets
            .iter()
            .try_for_each(|(target, ..)| execute(Command::new(program(target)).arg(input)));
    }
    shell::run("cargo run --quiet --package wabe-fuzz --bin seeds -- target/fuzz/seeds")?;
    let mut reports = Vec::new();
    for (target, default, longest) in plan.targets {
        reports.push(fuzz(target, plan.executions.unwrap_or(default), longest)?);
    }
    reports.iter().for_each(|report| println!("{report}"));
    Ok(())
}

/// What is asked for.
#[derive(Debug)]
struct Plan<'a> {
    targets: Vec<(&'static str, u64, u32)>,
    executions: Option<u64>,
    input: Option<&'a str>,
}

impl<'a> Plan<'a> {
    fn of(words: &[&'a str]) -> Result<Self> {
        let mut plan = Self { targets: TARGETS.to_vec(), executions: None, input: None };
        let options = match words {
            [name, rest @ ..] if TARGETS.iter().any(|(target, ..)| target == name) => {
                plan.targets.retain(|(target, ..)| target == name);
                rest
            }
            options => options,
        };
        match options {
            [] => {}
            ["--executions", number] => {
                let number = number.parse().ok().filter(|it| *it > 0);
                plan.executions = Some(number.context("--executions wants a number from 1 on")?);
            }
            ["--input", file] if plan.targets.len() == 1 => plan.input = Some(file),
            _ => {
                let names: Vec<&str> = TARGETS.iter().map(|(target, ..)| *target).collect();
                let names = names.join(", ");
                bail!(
                    "cargo xtask fuzz [TARGET] [--executions N], or fuzz TARGET --input FILE; targets: {names}"
                )
            }
        }
        Ok(plan)
    }
}

fn build(targets: &[(&str, u64, u32)]) -> Result<()> {
    println!("building with the fuzzer's instrumentation, which takes some minutes for the first time");
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "wabe-fuzz",
        "--features",
        "libfuzzer",
        "--profile",
        "fuzz",
    ]);
    cargo.args(["--target", TRIPLE, "--target-dir", "target/fuzz"]);
    // Not the program that writes the seeds: with the flags, but without libFuzzer, it can't be linked.
    cargo.args(targets.iter().flat_map(|(target, ..)| ["--bin", target]));
    execute(cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f")))
}

fn program(target: &str) -> PathBuf {
    root().join("target/fuzz").join(TRIPLE).join("fuzz").join(target)
}

/// Runs the target, from its seeds and from what earlier runs found worth keeping.
fn fuzz(target: &'static str, executions: u64, longest: u32) -> Result<Report> {
    println!("== {target}: {executions} executions");
    let folder = |name: &str| -> Result<PathBuf> {
        let folder = Path::new("target/fuzz").join(name).join(target);
        fs::create_dir_all(root().join(&folder))?;
        Ok(folder)
    };
    let (corpus, seeds, findings) = (folder("corpus")?, folder("seeds")?, folder("findings")?);
    let begun = Instant::now();
    let mut fuzzer = Command::new(program(target))
        .arg(format!("-runs={executions}"))
        .arg(format!("-max_len={longest}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        // Seconds for one input; none may hang.
        .args(["-timeout=10", "-print_final_stats=1"])
        .args([corpus, seeds])
        .current_dir(root())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("the fuzzer of {target} does not start"))?;
    let mut report = Report::new(target);
    let told = fuzzer.stderr.take().context("invariant: its errors are piped")?;
    for line in BufReader::new(told).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if report.see(&line) {
            eprintln!("{line}");
        }
    }
    let status = fuzzer.wait()?;
    report.seconds = begun.elapsed().as_secs();
    if let Some(input) = &report.finding {
        bail!("{target} fails on {input}; run it again with\n  cargo xtask fuzz {target} --input {input}");
    }
    ensure!(status.success(), "the fuzzer of {target} ended with {status}");
    ensure!(
        report.executions >= executions,
        "{target} was executed {} times instead of {executions}",
        report.executions
    );
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_targets_unless_one_is_named() {
        assert_eq!(Plan::of(&[]).expect("all").targets.len(), TARGETS.len());
        let plan = Plan::of(&["dns", "--executions", "7"]).expect("one");
        assert_eq!((plan.targets.len(), plan.targets[0].0, plan.executions), (1, "dns", Some(7)));
        assert_eq!(Plan::of(&["dns", "--input", "x"]).expect("an input").input, Some("x"));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for words in [&["dsn"][..], &["--input", "x"], &["--executions", "0"], &["dns", "--executions"]] {
            Plan::of(words).expect_err(&words.join(" "));
        }
    }
}
