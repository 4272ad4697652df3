//! Debian's 6.1 kernel, unpacked and never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::shell::{self, execute, output, root};

/// An unpacked kernel package.
pub(super) struct Kernel {
    /// Its release, for people.
    pub(super) name: String,
    /// What boots.
    pub(super) image: PathBuf,
    /// The folder of its modules.
    pub(super) modules: PathBuf,
}

impl Kernel {
    /// The kernel that was unpacked earlier, else the newest one of the package lists.
    pub(super) fn provide() -> Result<Self> {
        let home = root().join(".tools/kernel61");
        if let Some(kernel) = Self::find(&home) {
            return Ok(kernel);
        }
        let package = match newest_package() {
            Some(package) => package,
            None => {
                shell::run("apt-get update -qq")?;
                newest_package().context(
                    "no package linux-image-6.1.0-*-cloud-amd64: Debian 12 has it; add its archive to the package lists",
                )?
            }
        };
        unpack(&package, &home)?;
        Self::find(&home).with_context(|| format!("{package} has no kernel in /boot"))
    }

    fn find(home: &Path) -> Option<Self> {
        let mut files = home.join("boot").read_dir().ok()?.flatten();
        files.find_map(|file| {
            let release = file.file_name().to_string_lossy().strip_prefix("vmlinuz-")?.to_owned();
            let modules = home.join("lib/modules").join(&release);
            Some(Self { name: format!("Linux {release}"), image: file.path(), modules })
        })
    }
}

/// The package with the highest ABI number.
fn newest_package() -> Option<String> {
    let names = output("apt-cache", &["pkgnames", "linux-image-6.1.0-"])?;
    let numbers = names.lines().filter_map(|name| {
        name.strip_prefix("linux-image-6.1.0-")?.strip_suffix("-cloud-amd64")?.parse::<u32>().ok()
    });
    numbers.max().map(|number| format!("linux-image-6.1.0-{number}-cloud-amd64"))
}

/// Unpacks a package; `home` appears when it is complete.
fn unpack(package: &str, home: &Path) -> Result<()> {
    println!("unpacking {package}");
    let part = home.with_extension(format!("part-{}", std::process::id()));
    fs::create_dir_all(&part).with_context(|| format!("making {}", part.display()))?;
    let unpacked = download(package, &part).and_then(|archive| {
        execute(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&part))?;
        fs::remove_file(&archive)?;
        fs::rename(&part, home).with_context(|| format!("making {}", home.display()))
    });
    if unpacked.is_err() {
        // What matters is the first error.
        let _ = fs::remove_dir_all(&part);
    }
    unpacked
}

fn download(package: &str, folder: &Path) -> Result<PathBuf> {
    // apt-get downloads into the current folder only.
    let mut fetch = Command::new("env");
    execute(fetch.arg("--chdir").arg(folder).args(["apt-get", "download", "-qq", package]))
        .context("if the package lists are old: apt-get update")?;
    let archive =
        folder.read_dir()?.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some());
    archive.with_context(|| format!("apt-get brought no archive of {package}"))
}
