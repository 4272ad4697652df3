//! How many instructions each program has is a golden number: a change that doubles one is seen in review.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use crate::{elf, golden::Golden, tools::tools};

const ACCEPT: &str = "WABE_UPDATE_GOLDEN=1 cargo test -p wabe-datapath --test object";
const HEAD: &str = "\
# Instructions (8 bytes each) of every eBPF program, and the tools that made them. With these tools the numbers are
# exact, with others they may differ by a tenth.";

#[test]
fn instruction_counts_are_the_golden_ones() {
    let built = Golden { tools: tools(), programs: counts() };
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/instructions.txt");
    if env::var_os("WABE_UPDATE_GOLDEN").is_some() {
        fs::write(&path, built.render(HEAD)).expect("writing the golden file");
    }
    let golden = Golden::parse(&fs::read_to_string(&path).unwrap_or_default());
    let complaints = golden.complaints(&built);
    assert!(
        complaints.is_empty(),
        "{}\n\nIf that is intended, accept it with\n  {ACCEPT}\nThe file is then\n\n{}",
        complaints.join("\n"),
        built.render(HEAD)
    );
}

fn counts() -> BTreeMap<String, u64> {
    elf::programs().into_iter().map(|program| (program.name, program.instructions)).collect()
}
