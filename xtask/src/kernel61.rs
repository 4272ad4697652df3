//! Lets Debian's 6.1 kernel, the oldest that is supported, load every eBPF program in a virtual machine.
//!
//! The machine runs under software emulation, so it needs no right that a container lacks; its first process is the
//! example `load` of wabe-datapath, which reports on the serial line.

mod image;
mod kernel;
mod machine;

use std::{fs, path::PathBuf, process::Command, time::Instant};

use anyhow::{Context, Result, bail};

use crate::{setup, shell::root};

/// Modules that classifiers need; none depends on another.
const MODULES: [&str; 2] = ["net/sched/sch_ingress.ko", "net/sched/cls_bpf.ko"];

/// Boots the machine and fails with the kernel's message if a program does not load.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    let kernel = kernel::Kernel::provide()?;
    let image = image(&kernel)?;
    let path = root().join(format!(".tools/kernel61-{}.cpio", std::process::id()));
    fs::write(&path, image).with_context(|| format!("writing {}", path.display()))?;
    println!("booting {}", kernel.name);
    let begun = Instant::now();
    let console = machine::boot(&kernel.image, &path);
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    let report = judge(&console?)?;
    println!("{report}\nevery program loads on {} ({} s)", kernel.name, begun.elapsed().as_secs());
    Ok(())
}

/// The files that the machine starts with.
fn image(kernel: &kernel::Kernel) -> Result<Vec<u8>> {
    let init = init()?;
    let mut image = image::Image::default();
    image.file("init", 0o755, &fs::read(&init).with_context(|| format!("reading {}", init.display()))?);
    image.folder("modules");
    for module in MODULES {
        let path = kernel.modules.join("kernel").join(module);
        let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = module.rsplit('/').next().unwrap_or(module);
        image.file(&format!("modules/{name}"), 0o644, &content);
    }
    Ok(image.finish())
}

/// Builds the machine's first process, linked statically: the machine has no libraries.
fn init() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(root())
        .args(["rustc", "-p", "wabe-datapath", "--example", "load"])
        .args(["--message-format", "json-render-diagnostics", "--", "-Ctarget-feature=+crt-static"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo could not be run")?;
    if !built.status.success() {
        bail!("the example `load` of wabe-datapath does not build: the compiler's messages are above");
    }
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .context("cargo names no executable for the example `load` of wabe-datapath")
}

/// What the first process reported, or why there is nothing to report.
fn judge(console: &[String]) -> Result<String> {
    let lines = || console.iter().map(String::as_str);
    let Some(result) = lines().find_map(|line| line.strip_prefix("RESULT ")) else {
        bail!("the machine ended without a result; its console:\n{}", console.join("\n"));
    };
    if result != "ok" {
        bail!("{result}; the machine's console:\n{}", console.join("\n"));
    }
    let report: Vec<&str> =
        lines().filter(|line| line.starts_with("ok ") || line.starts_with("note ")).collect();
    if !report.iter().any(|line| line.contains(" verified ")) {
        bail!("the machine verified no program; its console:\n{}", console.join("\n"));
    }
    Ok(report.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::judge;

    fn console(text: &str) -> Vec<String> {
        text.lines().map(String::from).collect()
    }

    #[test]
    fn a_result_needs_verified_programs() {
        let report = judge(&console("noise\nok wabe_x verified 9 instructions\nnote y\nRESULT ok"));
        assert_eq!(report.expect("ok"), "ok wabe_x verified 9 instructions\nnote y");
        assert!(judge(&console("RESULT ok")).is_err());
    }

    #[test]
    fn a_failure_shows_the_verifiers_message() {
        let text = "failed wabe_x: invalid access to packet\nRESULT failed: the verifier refuses wabe_x";
        let error = judge(&console(text)).expect_err("failed").to_string();
        assert!(error.contains("refuses wabe_x") && error.contains("invalid access"), "{error}");
    }

    #[test]
    fn a_panic_of_the_kernel_is_a_failure() {
        let error = judge(&console("Kernel panic - not syncing")).expect_err("panic").to_string();
        assert!(error.contains("Kernel panic"), "{error}");
    }
}
