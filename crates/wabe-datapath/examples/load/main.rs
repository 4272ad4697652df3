//! The first process of a virtual machine that runs another kernel: shows that kernel's verifier every program,
//! attaches everything, runs the live tests of its image, reports on the console and switches the machine off.
//!
//! It is started by `cargo xtask kernel61` or `lab61`, which reads its lines: `ok ...` and `failed ...` for each step, `note ...`
//! for what is told but not asked for, and at last `RESULT ok` or `RESULT failed: ...`. Anywhere but as process 1 it
//! does nothing.

mod live;
#[path = "../../tests/verifier/matrix.rs"]
mod matrix;

use std::{
    error::Error,
    ffi::CStr,
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{self, ExitCode},
};

use aya::{Ebpf, programs::Program};
use rustix::{
    mount::{MountFlags, mount},
    system::{RebootCommand, finit_module, reboot, uname},
};
use wabe_datapath::{Kernel, LoadOptions, OBJECT, programs};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// File systems and where they go.
const MOUNTS: [(&str, &str); 7] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
];
/// Where the image has kernel modules, by name in the order in which they go in.
const MODULES: &str = "/modules";
/// There if the image only wants its tests to run, no program verified before.
const ALONE: &str = "/tests/alone";
/// The index of `lo`, the only interface of this machine.
const LOOPBACK: u32 = 1;

fn main() -> ExitCode {
    if process::id() != 1 {
        eprintln!("this is the first process of a virtual machine: run `cargo xtask kernel61`");
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(()) => println!("RESULT ok"),
        Err(error) => println!("RESULT failed: {error}"),
    }
    // The machine must not go off before the serial line has carried the last byte.
    let _ = rustix::termios::tcdrain(std::io::stdout());
    let refused = reboot(RebootCommand::PowerOff);
    println!("the machine can't be switched off: {refused:?}");
    ExitCode::FAILURE
}

fn run() -> Outcome<()> {
    prepare()?;
    println!("note kernel {}", uname().release().to_string_lossy());
    if Path::new(ALONE).exists() {
        return live::run();
    }
    for (size, sizes) in &matrix::SIZES {
        let mut ebpf = matrix::object(sizes)?;
        let refused: Vec<&str> = programs().filter(|name| !verified(&mut ebpf, name, size)).collect();
        if !refused.is_empty() {
            return Err(format!(
                "the verifier refuses {} with tables of the {size} size",
                refused.join(", ")
            )
            .into());
        }
    }
    admit()?;
    attach()?;
    live::run()
}

/// Mounts what the loader looks for and inserts the modules of the image.
fn prepare() -> Outcome<()> {
    for (kind, target) in MOUNTS {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None::<&CStr>)
            .map_err(|error| format!("mounting {kind}: {error}"))?;
    }
    let mut modules =
        fs::read_dir(MODULES)?.map(|entry| entry.map(|it| it.path())).collect::<Result<Vec<_>, _>>()?;
    modules.sort();
    for path in modules {
        finit_module(File::open(&path)?.as_fd(), c"", 0)
            .map_err(|error| format!("inserting {}: {error}", path.display()))?;
    }
    Ok(())
}

/// Whether the verifier takes a program; says so.
fn verified(ebpf: &mut Ebpf, name: &str, size: &str) -> bool {
    let outcome = matrix::verify(ebpf, name);
    match &outcome {
        Ok(count) => println!("ok {name} {size} verified {count} instructions"),
        Err(error) => println!("failed {name}: {error}"),
    }
    outcome.is_ok()
}

/// Attaches admission alone.
fn admit() -> Outcome<()> {
    let mut ebpf = Ebpf::load(OBJECT)?;
    matrix::verify(&mut ebpf, "wabe_admit")?;
    let Some(Program::SkLookup(admit)) = ebpf.program_mut("wabe_admit") else {
        return Err("wabe_admit is no sk_lookup program".into());
    };
    admit.attach(File::open("/proc/self/ns/net")?)?;
    println!("ok wabe_admit attached to a network namespace");
    Ok(())
}

/// The way that the agent goes: maps and links pinned, everything attached.
fn attach() -> Outcome<()> {
    let workloads_cgroup = Path::new("/sys/fs/cgroup/workloads").to_path_buf();
    fs::create_dir(&workloads_cgroup)?;
    let options = LoadOptions {
        pin_dir: PathBuf::from("/sys/fs/bpf/wabe"),
        workloads_cgroup,
        vend_cgroup: None,
        uplink: None,
    };
    let mut kernel = Kernel::load(&options)?;
    kernel.engage()?;
    let links = fs::read_dir(options.pin_dir.join("links"))?.count();
    println!("ok {links} links pinned for a cgroup");
    let namespace = File::open("/proc/self/ns/net")?;
    // Twice: the second time they take the places of the first.
    for _ in 0..2 {
        kernel.attach_workload(1, namespace.as_fd(), LOOPBACK, None)?;
    }
    println!("ok a workload's guard and admission attached");
    Ok(())
}
