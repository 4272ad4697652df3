//! How many instructions each program has is a golden number: a change that doubles one is seen in review.

// Written for the build script, which uses all of it.
#[path = "../../build/toolchain.rs"]
#[expect(dead_code, reason = "the test needs neither cargo nor the list of compilers")]
mod toolchain;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::elf;

const ACCEPT: &str = "WABE_UPDATE_GOLDEN=1 cargo test -p wabe-datapath --test object";
const HEAD: &str = "\
# Instructions (8 bytes each) of every eBPF program, and the tools that made them. With these tools the numbers are
# exact, with others they may differ by a tenth.";

/// Programs and what compiled them.
#[derive(Debug, PartialEq, Eq)]
struct Golden {
    tools: Vec<String>,
    programs: BTreeMap<String, u64>,
}

#[test]
fn instruction_counts_are_the_golden_ones() {
    let built = Golden { tools: tools(), programs: counts() };
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/instructions.txt");
    if env::var_os("WABE_UPDATE_GOLDEN").is_some() {
        fs::write(&path, built.render()).expect("writing the golden file");
    }
    let golden = Golden::parse(&fs::read_to_string(&path).unwrap_or_default());
    let complaints = golden.complaints(&built);
    assert!(
        complaints.is_empty(),
        "{}\n\nIf that is intended, accept it with\n  {ACCEPT}\nThe file is then\n\n{}",
        complaints.join("\n"),
        built.render()
    );
}

#[test]
fn the_golden_file_reads_as_it_was_written() {
    let golden = golden(&["rustc 1", "linker 2"], &[("wabe_a", 7), ("wabe_b", 100)]);
    assert_eq!(Golden::parse(&golden.render()), golden);
}

#[test]
fn the_same_tools_must_make_the_same_programs() {
    let old = golden(&["rustc 1"], &[("wabe_a", 100)]);
    assert!(old.complaints(&golden(&["rustc 1"], &[("wabe_a", 100)])).is_empty());
    assert_eq!(old.complaints(&golden(&["rustc 1"], &[("wabe_a", 101)])).len(), 1);
    assert_eq!(old.complaints(&golden(&["rustc 1"], &[("wabe_b", 100)])).len(), 2);
}

#[test]
fn other_tools_may_differ_by_a_tenth() {
    let old = golden(&["rustc 1"], &[("wabe_a", 100)]);
    for (count, complaints) in [(90, 0), (110, 0), (89, 1), (111, 1)] {
        assert_eq!(old.complaints(&golden(&["rustc 2"], &[("wabe_a", count)])).len(), complaints, "{count}");
    }
    assert_eq!(old.complaints(&golden(&["rustc 2"], &[])).len(), 1);
}

impl Golden {
    fn render(&self) -> String {
        let tools = self.tools.iter().map(|line| format!("tool: {line}"));
        let programs = self.programs.iter().map(|(name, count)| format!("{name} {count}"));
        let lines: Vec<String> = [HEAD.to_owned()].into_iter().chain(tools).chain(programs).collect();
        lines.join("\n") + "\n"
    }

    fn parse(text: &str) -> Self {
        let lines = || text.lines().filter(|line| !line.starts_with('#'));
        let tools = lines().filter_map(|line| line.strip_prefix("tool: ")).map(String::from).collect();
        let row = |line: &str| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        };
        Self { tools, programs: lines().filter_map(row).collect() }
    }

    /// What is wrong with `built`, one line for each program.
    fn complaints(&self, built: &Self) -> Vec<String> {
        let exact = self.tools == built.tools;
        let mut names: Vec<&String> = self.programs.keys().chain(built.programs.keys()).collect();
        names.sort();
        names.dedup();
        let judge = |name: &String| match (self.programs.get(name), built.programs.get(name)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) if !exact && old.abs_diff(*new) * 10 <= *old => None,
            (Some(old), Some(new)) => Some(format!("{name} has {new} instructions, not {old}")),
            (None, Some(new)) => Some(format!("{name} is new, with {new} instructions")),
            (Some(_), None) => Some(format!("{name} is gone")),
            (None, None) => None,
        };
        names.into_iter().filter_map(judge).collect()
    }
}

fn counts() -> BTreeMap<String, u64> {
    elf::programs().into_iter().map(|program| (program.name, program.instructions)).collect()
}

/// Compiler and linker, found as the build script finds them.
fn tools() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace's root");
    let found = toolchain::Toolchain::find(root).expect("the tools that built the object");
    let mut lines = version(&found.rustc, "-vV");
    lines.extend(version(&found.linker, "--version"));
    lines
}

fn version(tool: &Path, option: &str) -> Vec<String> {
    let output =
        Command::new(tool).env_remove("RUSTUP_TOOLCHAIN").arg(option).output().expect("the tool runs");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(String::from)
        .collect()
}

fn golden(tools: &[&str], programs: &[(&str, u64)]) -> Golden {
    Golden {
        tools: tools.iter().map(ToString::to_string).collect(),
        programs: programs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
    }
}
