//! Installs what a fresh Debian lacks.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::shell::{self, execute, output, root};

/// The linker of eBPF objects, from crates.io.
const LINKER: &str = "0.13.0";

/// A file that a package brings, and the package.
const TOOLS: [(&str, &str); 26] = [
    ("/usr/bin/rustc", "rustc-web"),
    ("/usr/bin/cargo", "cargo-web"),
    ("/usr/lib/rustlib/src/rust/library/core/Cargo.toml", "rust-web-src"),
    ("/usr/include/zlib.h", "zlib1g-dev"),
    ("/usr/include/zstd.h", "libzstd-dev"),
    ("/usr/sbin/nginx", "nginx-light"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/cc", "gcc"),
    // Resolvers for the live tests of names.
    ("/usr/bin/musl-gcc", "musl-tools"),
    ("/usr/bin/hey", "hey"),
    ("/usr/lib/python3/dist-packages/dns/__init__.py", "python3-dnspython"),
    ("/usr/lib/python3/dist-packages/pycares/__init__.py", "python3-pycares"),
    // Clients and servers for the live tests of layer 7.
    ("/usr/lib/python3/dist-packages/grpc/__init__.py", "python3-grpcio"),
    ("/usr/share/nodejs/ws/package.json", "node-ws"),
    ("/usr/bin/openssl", "openssl"),
    // Proxies that the benchmark compares ours with.
    ("/usr/sbin/haproxy", "haproxy"),
    ("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream"),
    // What the lab attaches, seen by somebody else.
    ("/usr/sbin/bpftool", "bpftool"),
    // The lab's peers, its profiler, and a browser that looks at its report.
    ("/usr/sbin/iptables-legacy-restore", "iptables"),
    ("/usr/sbin/ipvsadm", "ipvsadm"),
    ("/usr/sbin/ipset", "ipset"),
    ("/usr/bin/wrk", "wrk"),
    ("/usr/bin/h2load", "nghttp2-client"),
    ("/usr/bin/perf", "linux-perf"),
    ("/usr/bin/chromium", "chromium"),
];

/// Installs the missing packages and the eBPF linker.
pub(crate) fn run() -> Result<()> {
    packages(&TOOLS)?;
    linker()
}

/// Installs those packages whose file is missing.
pub(crate) fn packages(wanted: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        wanted.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if output("id", &["-u"]).as_deref().map(str::trim) != Some("0") {
        bail!("these packages are missing and only root can install them: {}", missing.join(" "));
    }
    shell::run("apt-get update -qq")?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing);
    execute(install.env("DEBIAN_FRONTEND", "noninteractive"))
        .with_context(|| format!("installing {}", missing.join(" ")))
}

/// Builds bpf-linker against the LLVM of Debian's compiler, whichever major version that is.
fn linker() -> Result<()> {
    let tools = root().join(".tools");
    let version = |path: &str| output(path, &["--version"]).is_some_and(|text| text.contains(LINKER));
    if version("bpf-linker") || version(&tools.join("bin/bpf-linker").to_string_lossy()) {
        return Ok(());
    }
    let about = output("/usr/bin/rustc", &["-vV"]).context("/usr/bin/rustc does not run")?;
    let llvm = about
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: ")?.split('.').next())
        .context("/usr/bin/rustc does not tell its LLVM version")?;
    let home = format!("/usr/lib/llvm-{llvm}");
    packages(&[
        (&format!("{home}/include/llvm-c/Core.h"), &format!("llvm-{llvm}-dev")),
        (&format!("{home}/lib/libPolly.a"), &format!("libpolly-{llvm}-dev")),
    ])?;
    let path = format!("{home}/bin:{}", std::env::var("PATH").unwrap_or_default());
    let mut install = Command::new("cargo");
    install
        .args(["install", "bpf-linker", "--version", LINKER, "--locked", "--no-default-features"])
        .args(["--features", &format!("llvm-{llvm}"), "--root"])
        .arg(&tools)
        .env(format!("LLVM_SYS_{llvm}1_PREFIX"), &home)
        .env("LLVM_PREFIX", &home)
        .env("LIBRARY_PATH", format!("{home}/lib"))
        .env("PATH", path);
    execute(&mut install)
}
