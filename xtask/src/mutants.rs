//! Mutation testing: changes one thing in the decisions, and looks whether a test notices. What none notices is listed with a
//! reason, or is an error; so is what is listed and noticed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell::{execute, root};

/// Crates whose tests must notice everything, and their lists of what they do not.
const PACKAGES: [&str; 3] = ["wabe-verdict", "wabe-policy", "wabe-http1"];
const VERSION: &str = "27.1.0";
const OPTIONS: [&str; 7] = ["--jobs", "2", "--no-shuffle", "--timeout", "60", "--profile", "mutants"];

/// Mutates one package, or all.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let packages = match words {
        [] => PACKAGES.to_vec(),
        [package] if PACKAGES.contains(package) => vec![*package],
        _ => bail!("cargo xtask mutants [PACKAGE], one of {}", PACKAGES.join(", ")),
    };
    let program = install()?;
    let mut wrong = Vec::new();
    for package in packages {
        wrong.extend(judge(&program, package)?);
    }
    ensure!(wrong.is_empty(), "the lists in xtask/mutants are not right:\n{}", wrong.join("\n"));
    Ok(())
}

/// Into `target/tools`, unless it is there.
fn install() -> Result<PathBuf> {
    let folder = root().join("target/tools");
    let program = folder.join("bin/cargo-mutants");
    if !program.exists() {
        let install = ["install", "--quiet", "--locked", "cargo-mutants", "--version", VERSION, "--root"];
        execute(Command::new("cargo").args(install).arg(&folder))?;
    }
    Ok(program)
}

/// What the list and the outcome differ in.
fn judge(program: &Path, package: &str) -> Result<Vec<String>> {
    let output = root().join("target/mutants").join(package);
    fs::create_dir_all(&output)?;
    let mut mutate = Command::new(program);
    mutate.args(["mutants", "--package", package]).args(OPTIONS);
    mutate.arg("--output").arg(&output).current_dir(root());
    // It fails if anything survives: the files tell what.
    let status = mutate.status().context("cargo-mutants could not be run")?;
    ensure!(matches!(status.code(), Some(0 | 2 | 3)), "cargo-mutants ended with {status}");
    let lines = |name: &str| -> Result<Vec<String>> {
        let text = fs::read_to_string(output.join("mutants.out").join(name)).context(name.to_owned())?;
        Ok(text.lines().filter_map(without_place).collect())
    };
    let (caught, hung) = (lines("caught.txt")?.len(), lines("timeout.txt")?.len());
    let survived = counted(lines("missed.txt")?);
    let missed: usize = survived.values().sum();
    println!("{package}: {} of {} mutants are noticed", caught + hung, caught + hung + missed);
    let list = root().join("xtask/mutants").join(format!("{package}.txt"));
    let listed = listed(&fs::read_to_string(&list).with_context(|| list.display().to_string())?)?;
    Ok(differences(&survived, &listed))
}

/// Mutants of one name are told apart by their number only.
fn differences(survived: &BTreeMap<String, usize>, listed: &BTreeMap<String, usize>) -> Vec<String> {
    let more = |of: &BTreeMap<String, usize>, than: &BTreeMap<String, usize>, what: &str| -> Vec<String> {
        let excess = |(name, count): (&String, &usize)| {
            let excess = count.saturating_sub(than.get(name).copied().unwrap_or(0));
            (excess > 0).then(|| format!("{what}, {excess} times: {name}"))
        };
        of.iter().filter_map(excess).collect()
    };
    [more(survived, listed, "survives unlisted"), more(listed, survived, "is listed and noticed")].concat()
}

fn counted(names: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    names.into_iter().for_each(|name| *counts.entry(name).or_insert(0) += 1);
    counts
}

/// `file:line:column: what` without line and column, which change with every edit.
fn without_place(line: &str) -> Option<String> {
    let mut parts = line.splitn(4, ':');
    let (file, _, _, what) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(format!("{file}:{what}"))
}

/// Each line of a list is a mutant, `  # `, and why no test can notice it.
fn listed(text: &str) -> Result<BTreeMap<String, usize>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mutant = |line: &str| match line.split_once("  # ") {
        Some((mutant, reason)) if !reason.trim().is_empty() => Ok(mutant.to_owned()),
        Some(_) | None => bail!("a survivor without a reason: {line}"),
    };
    Ok(counted(lines.map(mutant).collect::<Result<Vec<_>>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_matter() {
        let line = "crates/a/src/b.rs:12:3: replace f -> bool with true";
        assert_eq!(without_place(line).as_deref(), Some("crates/a/src/b.rs: replace f -> bool with true"));
    }

    #[test]
    fn a_survivor_needs_a_reason() {
        assert!(listed("# a list\na: b  # the same in all cases\n").is_ok_and(|it| it.contains_key("a: b")));
        assert!(listed("a: b\n").is_err());
    }

    #[test]
    fn one_listed_survivor_excuses_one() {
        let of = |names: &[&str]| counted(names.iter().map(|it| (*it).to_owned()));
        assert_eq!(differences(&of(&["a", "b"]), &of(&["a", "b"])), [""; 0]);
        assert_eq!(differences(&of(&["a", "a"]), &of(&["a"])), ["survives unlisted, 1 times: a"]);
        assert_eq!(differences(&of(&[]), &of(&["a"])), ["is listed and noticed, 1 times: a"]);
    }

    #[test]
    fn every_package_has_a_list_with_reasons() {
        for package in PACKAGES {
            let list = root().join("xtask/mutants").join(format!("{package}.txt"));
            let text = fs::read_to_string(&list).expect("a list");
            listed(&text).expect("reasons");
        }
    }
}
