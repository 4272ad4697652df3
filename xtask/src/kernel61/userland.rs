//! What the machine gets from this one: programs and the libraries that they need.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::image::Image;
use crate::shell::output;

/// Programs that live tests call, found in PATH.
const PROGRAMS: [&str; 15] = [
    "sh", "cat", "env", "id", "ip", "kill", "ls", "mount", "nft", "nsenter", "pgrep", "setpriv", "sleep",
    "test", "true",
];
/// Files that programs look for.
const FILES: [&str; 5] =
    ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/protocols", "/etc/services"];
/// Libraries that are loaded by name at run time.
const LIBRARIES: [&str; 2] = ["libnss_files.so.2", "libnss_dns.so.2"];
/// Folders that are there, empty.
const FOLDERS: [&str; 10] = ["dev", "mnt", "proc", "sys", "run", "tmp", "root", "var", "modules", "tests"];

/// The image of a machine on which programs run.
pub(super) struct Userland {
    image: Image,
    folders: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
}

impl Userland {
    /// One with the usual programs.
    pub(super) fn new() -> Result<Self> {
        let mut userland = Self { image: Image::default(), folders: BTreeSet::new(), files: BTreeSet::new() };
        for folder in FOLDERS {
            userland.folder(Path::new(folder));
        }
        // Nobody is there; inside a mesh, whoever is asked, the mesh answers.
        userland.file(Path::new("etc/resolv.conf"), 0o644, b"nameserver 192.0.2.53\n");
        userland.file(Path::new("etc/hosts"), 0o644, b"127.0.0.1 localhost\n::1 localhost\n");
        userland.programs(&PROGRAMS)?;
        for file in FILES {
            if Path::new(file).exists() {
                userland.copy(Path::new(file), 0o644)?;
            }
        }
        Ok(userland)
    }

    /// Adds programs that are found in PATH.
    pub(super) fn programs(&mut self, names: &[&str]) -> Result<()> {
        for name in names {
            let found = output("which", &[name]).with_context(|| format!("no program {name} here"))?;
            self.program(&format!("bin/{name}"), Path::new(found.trim()))?;
        }
        Ok(())
    }

    /// Adds the files of a folder, which has no other folders, at the place that it has here.
    pub(super) fn files_of(&mut self, folder: &Path) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            self.copy(&entry?.path(), 0o755)?;
        }
        Ok(())
    }

    /// Adds a program as this path (without a leading slash), with its libraries.
    pub(super) fn program(&mut self, path: &str, program: &Path) -> Result<()> {
        self.file(Path::new(path), 0o755, &read(program)?);
        self.libraries(program)
    }

    /// Adds a file and the folders above it.
    pub(super) fn file(&mut self, path: &Path, permissions: u32, content: &[u8]) {
        if let Some(folder) = path.parent() {
            self.folder(folder);
        }
        if self.files.insert(path.to_owned()) {
            self.image.file(&path.to_string_lossy(), permissions, content);
        }
    }

    /// The archive.
    pub(super) fn finish(self) -> Vec<u8> {
        self.image.finish()
    }

    fn folder(&mut self, path: &Path) {
        let above: Vec<_> = path.ancestors().filter(|it| !it.as_os_str().is_empty()).collect();
        for folder in above.into_iter().rev() {
            if self.folders.insert(folder.to_owned()) {
                self.image.folder(&folder.to_string_lossy());
            }
        }
    }

    /// Adds a file at the place that it has here.
    fn copy(&mut self, file: &Path, permissions: u32) -> Result<()> {
        let inside = file.strip_prefix("/").unwrap_or(file).to_owned();
        if self.files.contains(&inside) {
            return Ok(());
        }
        let content = read(file)?;
        self.file(&inside, permissions, &content);
        Ok(())
    }

    fn libraries(&mut self, program: &Path) -> Result<()> {
        // It fails for what is linked statically, and then there is nothing to add.
        let Some(listed) = output("ldd", &[&program.to_string_lossy()]) else { return Ok(()) };
        for library in listed.lines().filter_map(path_of_library) {
            self.copy(Path::new(library), 0o755)?;
            for name in LIBRARIES {
                let beside = Path::new(library).with_file_name(name);
                if library.contains("/libc.so") && beside.exists() {
                    self.copy(&beside, 0o755)?;
                }
            }
        }
        Ok(())
    }
}

/// From a line of ldd(1): `name => /path (address)`, or `/path (address)` for the loader.
fn path_of_library(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| word.starts_with('/'))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::path_of_library;

    #[test]
    fn libraries_are_found_in_what_ldd_prints() {
        assert_eq!(path_of_library("\tlinux-vdso.so.1 (0x00007f)"), None);
        assert_eq!(path_of_library("\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)"), Some("/lib/x/libc.so.6"));
        assert_eq!(
            path_of_library("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)"),
            Some("/lib64/ld-linux-x86-64.so.2")
        );
    }
}
