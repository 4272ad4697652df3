//! How much work each program is for the verifier: kernels x programs x sizes of tables.
//!
//! A kernel gives up after a million instructions that it has looked at. A program that comes near is refused by the next
//! kernel or after the next change, so half of that is the bound, and every number is golden.

#[path = "golden/table.rs"]
mod golden;
#[path = "verifier/matrix.rs"]
mod matrix;
#[path = "golden/tools.rs"]
mod tools;

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use golden::Golden;
use wabe_datapath::programs;

/// Half of `BPF_COMPLEXITY_LIMIT_INSNS` (include/linux/bpf.h).
const MOST: u64 = 500_000;
/// What `cargo xtask kernel61` puts its table into: the kernel's release, then `program size count` a line.
const ELSEWHERE: &str = "WABE_VERIFIED";

#[test]
fn verified_counts_are_the_golden_ones() {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut counts = BTreeMap::new();
    for (size, sizes) in &matrix::SIZES {
        let mut ebpf = matrix::object(sizes).expect("the object");
        for name in programs() {
            let count = matrix::verify(&mut ebpf, name)
                .unwrap_or_else(|error| panic!("{name} with tables of the {size} size: {error}"));
            counts.insert(format!("{name} {size}"), count.into());
        }
    }
    judge(&release, counts, "cargo test -p wabe-datapath --test verifier");
}

#[test]
#[ignore = "`cargo xtask kernel61` runs it with what the machine said"]
fn verified_counts_of_another_kernel_are_the_golden_ones() {
    let path = env::var_os(ELSEWHERE).unwrap_or_else(|| panic!("{ELSEWHERE} names a file"));
    let text = fs::read_to_string(path).expect("the table");
    let (release, rows) = text.split_once('\n').expect("the kernel's release comes first");
    let counts = Golden::parse(rows).programs;
    assert_eq!(counts.len(), programs().count() * matrix::SIZES.len(), "rows are missing:\n{rows}");
    judge(release, counts, "cargo xtask kernel61");
}

fn judge(release: &str, counts: BTreeMap<String, u64>, again: &str) {
    let near: Vec<_> = counts.iter().filter(|(_, count)| **count > MOST).collect();
    assert!(near.is_empty(), "more than {MOST} instructions for the verifier: {near:?}");
    let mut tools = tools::tools();
    tools.push(format!("kernel {release}"));
    let seen = Golden { tools, programs: counts };
    let head = format!(
        "# Instructions that the verifier of Linux {} looks at, for every eBPF program and size of tables, and the tools that\n\
         # counted. With these the numbers are exact, with others they may differ by a tenth.",
        series(release)
    );
    let file = format!("tests/golden/verified-{}.txt", series(release));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
    if env::var_os("WABE_UPDATE_GOLDEN").is_some() {
        fs::write(&path, seen.render(&head)).expect("writing the golden file");
    }
    // Kernels that nobody has counted on have the bound alone.
    let Ok(text) = fs::read_to_string(&path) else { return };
    let complaints = Golden::parse(&text).complaints(&seen);
    assert!(
        complaints.is_empty(),
        "{}\n\nIf that is intended, accept it with\n  WABE_UPDATE_GOLDEN=1 {again}\nThe file is then\n\n{}",
        complaints.join("\n"),
        seen.render(&head)
    );
}

/// `6.1` of `6.1.0-38-amd64`.
fn series(release: &str) -> String {
    let numbers: Vec<&str> = release.split(['.', '-']).take(2).collect();
    numbers.join(".")
}
