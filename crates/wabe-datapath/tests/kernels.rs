//! docs/kernels.md has a table that is made from the code.

use std::{env, fs, path::Path};

use wabe_datapath::{KERNEL_FEATURES, KernelFeature, LANES, Otherwise};

const ACCEPT: &str = "WABE_UPDATE_GOLDEN=1 cargo test -p wabe-datapath --test kernels";

#[test]
fn the_table_in_the_documentation_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/kernels.md");
    let text = fs::read_to_string(&path).expect("docs/kernels.md");
    let (begin, end) = ("<!-- kernels -->\n", "<!-- /kernels -->");
    let (before, rest) = text.split_once(begin).expect("the block begins");
    let (_, after) = rest.split_once(end).expect("the block ends");
    let made = [before, begin, &table(), end, after].concat();
    if env::var_os("WABE_UPDATE_GOLDEN").is_some() {
        fs::write(&path, &made).expect("writing docs/kernels.md");
        return;
    }
    assert!(text == made, "docs/kernels.md is out of date; accept the new table with\n  {ACCEPT}");
}

fn table() -> String {
    let mut table = String::from(
        "| feature | since Linux | used by | lanes that need it | without it |\n|---|---|---|---|---|\n",
    );
    for KernelFeature { name, since, used_by, lanes, otherwise, .. } in KERNEL_FEATURES {
        let without = match otherwise {
            Otherwise::Refuses(remedy) => format!("`up` refuses: {remedy}"),
            Otherwise::Instead(what) => format!("the same by other means: {what}"),
            Otherwise::Weaker(what) => format!("**weaker**: {what}"),
        };
        let lanes = match lanes {
            [] => "none".to_owned(),
            all if *all == LANES => "all".to_owned(),
            some => some.join(", "),
        };
        table += &format!("| {name} | {since} | {used_by} | {lanes} | {without} |\n");
    }
    table
}

#[test]
fn lanes_are_called_as_they_are() {
    for KernelFeature { name, lanes, .. } in KERNEL_FEATURES {
        assert!(lanes.iter().all(|it| LANES.contains(it)), "{name}: {lanes:?}");
    }
}
