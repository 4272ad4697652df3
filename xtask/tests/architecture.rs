//! ARCHITECTURE.md has two tables that are made from the code: the maps and the crates. A map or a dependency that is
//! new shows in review.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use wabe_abi::maps::{SPECS, Spec, Writer};

const ACCEPT: &str = "WABE_UPDATE_GOLDEN=1 cargo test -p xtask --test architecture";

#[test]
fn the_tables_in_the_architecture_are_those_of_the_code() {
    let path = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).expect("ARCHITECTURE.md");
    let made = with_block(&with_block(&text, "maps", &maps()), "crates", &crates());
    if env::var_os("WABE_UPDATE_GOLDEN").is_some() {
        fs::write(&path, &made).expect("writing ARCHITECTURE.md");
        return;
    }
    let differing: Vec<&str> = made.lines().filter(|line| !text.lines().any(|old| old == *line)).collect();
    assert!(
        text == made,
        "ARCHITECTURE.md is out of date; accept the new tables with\n  {ACCEPT}\nIt lacks\n{}",
        differing.join("\n")
    );
}

#[test]
fn a_block_is_replaced_and_nothing_else() {
    let text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
    assert_eq!(with_block(text, "x", "new\n"), "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n");
}

/// The text with other content between `<!-- name -->` and `<!-- /name -->`.
fn with_block(text: &str, name: &str, content: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = text.find(&begin).unwrap_or_else(|| panic!("there is no line {begin}")) + begin.len();
    let stop = start + text[start..].find(&end).unwrap_or_else(|| panic!("there is no line {end}"));
    [&text[..start], content, &text[stop..]].concat()
}

fn maps() -> String {
    let mut table = String::from(
        "| map | key, bytes | value, bytes | rows | written by | what |\n|---|---:|---:|---:|---|---|\n",
    );
    for spec in &SPECS {
        let writer = match spec.writer {
            Writer::Agent => "agent",
            Writer::Kernel => "programs",
        };
        let Spec { name, key, value, purpose, .. } = spec;
        table += &format!("| `{name}` | {key} | {value} | {} | {writer} | {purpose} |\n", rows(spec));
    }
    table
}

fn rows(spec: &Spec) -> String {
    match (spec.key, spec.limit) {
        (0, bytes) => format!("{bytes} bytes"),
        (_, 0) => "one a socket".to_owned(),
        (_, rows) => rows.to_string(),
    }
}

fn crates() -> String {
    let packages: Vec<Value> =
        ["Cargo.toml", "ebpf/Cargo.toml", "lab/ebpf/Cargo.toml"].into_iter().flat_map(packages).collect();
    let names: BTreeSet<&str> = packages.iter().map(|package| text(package, "name")).collect();
    let mut graph = BTreeMap::new();
    for package in &packages {
        let mut needed = [BTreeSet::new(), BTreeSet::new()];
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let name = text(dependency, "name");
            if names.contains(name) {
                needed[usize::from(dependency["kind"] == "dev")].insert(name);
            }
        }
        let [code, tests] = &needed;
        let tests = tests.difference(code).copied().collect();
        graph.insert(text(package, "name"), (code.clone(), tests));
    }
    let mut table = String::from("| crate | depends on | its tests also on |\n|---|---|---|\n");
    for (name, (code, tests)) in graph {
        table += &format!("| `{name}` | {} | {} |\n", list(&code), list(&tests));
    }
    table
}

fn list(names: &BTreeSet<&str>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn packages(manifest: &str) -> Vec<Value> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root())
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path", manifest])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().expect("invariant: cargo names everything")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root").to_path_buf()
}
