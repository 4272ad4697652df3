//! Debian's 6.1 kernel, the oldest that is supported, in a virtual machine: loads and attaches every eBPF program, then
//! runs live tests.
//!
//! The machine runs under software emulation, so it needs no right that a container lacks; its first process is the
//! example `load` of wabe-datapath, which reports on the serial line. What it has besides are copies of this machine's
//! programs.

mod image;
mod kernel;
pub(crate) mod lab;
mod live;
mod machine;
mod modules;
mod userland;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    setup,
    shell::{execute, root},
};
use userland::Userland;

pub(crate) use live::Selection;

/// Kernel modules that the mesh needs; a kernel on a disk would load them when they are asked for.
const MODULES: [&str; 12] = [
    "veth",
    "sch_ingress",
    "cls_bpf",
    "tcp_diag",
    "udp_diag",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "nf_nat",
    "nft_reject_inet",
];

/// Boots the machine and fails if a program does not load or a test fails.
pub(crate) fn run(selection: &Selection) -> Result<()> {
    setup::run()?;
    let machine = Machine::new(selection.patience())?;
    selection.tell_left_out();
    let begun = Instant::now();
    let console = machine.boot(|userland| selection.put(userland), selection.modules(), None)?;
    judge(&console, selection)?;
    compare(&console)?;
    println!(
        "every program loads and the live tests pass on {} ({} s)",
        machine.name(),
        begun.elapsed().as_secs()
    );
    Ok(())
}

/// A machine that can be booted.
struct Machine {
    kernel: kernel::Kernel,
    patience: Duration,
}

impl Machine {
    fn new(patience: Duration) -> Result<Self> {
        Ok(Self { kernel: kernel::Kernel::provide()?, patience })
    }

    /// Its kernel, for people.
    fn name(&self) -> &str {
        &self.kernel.name
    }

    /// Boots with what `put` puts in and with more modules, and returns the console once it is off. A disk is /dev/vda.
    fn boot(
        &self,
        put: impl FnOnce(&mut Userland) -> Result<()>,
        more: &[&str],
        disk: Option<&Path>,
    ) -> Result<Vec<String>> {
        let image = self.image(put, &[&MODULES, more].concat())?;
        let path = root().join(format!(".tools/kernel61-{}.cpio", std::process::id()));
        fs::write(&path, image).with_context(|| format!("writing {}", path.display()))?;
        println!("booting {}", self.name());
        let console = machine::boot(&self.kernel.image, &path, disk, self.patience);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        console
    }

    /// The files that the machine starts with.
    fn image(&self, put: impl FnOnce(&mut Userland) -> Result<()>, wanted: &[&str]) -> Result<Vec<u8>> {
        let init = init()?;
        let mut userland = Userland::new()?;
        userland.file(Path::new("init"), 0o755, &read(&init)?);
        for (number, path) in modules::in_order(&self.kernel.modules, wanted)?.iter().enumerate() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            userland.file(&Path::new("modules").join(format!("{number:03}-{name}")), 0o644, &read(path)?);
        }
        put(&mut userland)?;
        Ok(userland.finish())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Builds the machine's first process, linked statically: it must not depend on what it brings about.
fn init() -> Result<PathBuf> {
    let arguments = ["rustc", "-p", "wabe-datapath", "--example", "load"];
    let built = live::executables(&arguments, &["--", "-Ctarget-feature=+crt-static"])?;
    let load = built.into_iter().find(|(name, _)| name == "load");
    Ok(load.context("cargo names no executable for the example `load` of wabe-datapath")?.1)
}

/// Fails unless the first process reported success, with verified programs and every live test.
fn judge(console: &[String], selection: &Selection) -> Result<()> {
    let lines = || console.iter().map(String::as_str);
    let Some(result) = lines().find_map(|line| line.strip_prefix("RESULT ")) else {
        bail!("the machine ended without a result; its console is above");
    };
    if result != "ok" {
        bail!("{result}; the machine's console is above");
    }
    if !lines().any(|line| line.starts_with("ok ") && line.contains(" verified ")) {
        bail!("the machine verified no program; its console is above");
    }
    for name in selection.names() {
        if !lines().any(|line| line.starts_with(&format!("ok live {name} "))) {
            bail!("the machine did not run the live test {name}; its console is above");
        }
    }
    Ok(())
}

/// Compares what the verifier counted with the golden table, which the tests of wabe-datapath own.
fn compare(console: &[String]) -> Result<()> {
    let path = root().join(format!("target/verified-{}.txt", std::process::id()));
    fs::write(&path, verified(console)?).with_context(|| format!("writing {}", path.display()))?;
    let test = "verified_counts_of_another_kernel_are_the_golden_ones";
    let arguments = ["test", "--quiet", "-p", "wabe-datapath", "--test", "verifier", "--", "--ignored", test];
    let outcome = execute(Command::new("cargo").args(arguments).env("WABE_VERIFIED", &path));
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    outcome
}

/// The machine's release, then a line for each program and size of tables.
fn verified(console: &[String]) -> Result<String> {
    let release = console.iter().find_map(|line| line.strip_prefix("note kernel "));
    let mut table = release.context("the machine does not tell its kernel's release")?.to_owned();
    for line in console {
        if let Some((what, count)) = line.strip_prefix("ok ").and_then(|it| it.split_once(" verified ")) {
            let count = count.strip_suffix(" instructions").context("a count without its unit")?;
            table += &format!("\n{what} {count}");
        }
    }
    Ok(table + "\n")
}

#[cfg(test)]
mod tests {
    use super::{Selection, judge, verified};

    fn console(text: &str) -> Vec<String> {
        text.lines().map(String::from).collect()
    }

    #[test]
    fn a_result_needs_verified_programs_and_live_tests() {
        let tests: String = Selection::Usual.names().map(|it| format!("ok live {it} (3 s)\n")).collect();
        let counted = "noise\nok wabe_x small verified 9 instructions\n";
        judge(&console(&format!("{counted}{tests}RESULT ok")), &Selection::Usual)
            .expect("everything is there");
        judge(&console(&format!("{counted}RESULT ok")), &Selection::Usual).expect_err("no live test");
        judge(&console(&format!("{tests}RESULT ok")), &Selection::Usual).expect_err("no verified program");
    }

    #[test]
    fn counts_are_read_from_the_console() {
        let text =
            "note kernel 6.1.0-1-amd64\nok wabe_x small verified 9 instructions\nok live x (3 s)\nRESULT ok";
        assert_eq!(verified(&console(text)).expect("counts"), "6.1.0-1-amd64\nwabe_x small 9\n");
        verified(&console("RESULT ok")).expect_err("no kernel");
    }

    #[test]
    fn a_failure_is_told() {
        let text = "failed wabe_x: invalid access to packet\nRESULT failed: the verifier refuses wabe_x";
        let error = judge(&console(text), &Selection::Usual).expect_err("failed").to_string();
        assert!(error.contains("refuses wabe_x"), "{error}");
    }

    #[test]
    fn a_panic_of_the_kernel_is_a_failure() {
        let error =
            judge(&console("Kernel panic - not syncing"), &Selection::Usual).expect_err("panic").to_string();
        assert!(error.contains("without a result"), "{error}");
    }
}
