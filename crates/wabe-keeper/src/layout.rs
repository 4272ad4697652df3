//! Where a mesh lives on this machine: its folder, its cgroups, the names of what it makes outside of both.
//!
//! Everything but the cgroups and the interface towards the host is below `/run/wabe/<name>`, logs too, so that
//! taking the mesh down is removing one folder.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

mod mesh_file;
mod mounts;
pub(crate) mod traces;

pub use mesh_file::{MeshFile, Ranges, WORKLOAD_LEVEL_BELOW_MESH};
pub(crate) use mounts::read_mounts;
pub use mounts::{bpffs_at, find_cgroup2, mount_bpffs, mounts_below};

/// The folder of all meshes' folders.
pub const RUN: &str = "/run/wabe";
/// The node's interface towards the host, in the node's network namespace.
pub const UPLINK: &str = "uplink";

/// A mesh by its name: where its things are, whether they exist or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mesh {
    name: String,
}

impl Mesh {
    /// The mesh of this name.
    ///
    /// # Errors
    /// [`LayoutError::Name`] unless it is 1 to 32 of `a-z`, `0-9` and `-`, beginning with a letter or digit.
    pub fn new(name: impl Into<String>) -> Result<Self, LayoutError> {
        let name = name.into();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(allowed) || name.starts_with('-') {
            return Err(LayoutError::Name(name));
        }
        Ok(Self { name })
    }

    /// All meshes that have a folder on this machine, by name.
    ///
    /// # Errors
    /// If the folder of the meshes can't be read; that it doesn't exist is no error.
    pub fn all() -> Result<Vec<Self>, LayoutError> {
        let entries = match fs::read_dir(RUN) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LayoutError::file("read", Path::new(RUN))(error)),
        };
        let mut meshes = Vec::new();
        for entry in entries {
            let entry = entry.map_err(LayoutError::file("read", Path::new(RUN)))?;
            meshes.extend(entry.file_name().into_string().ok().and_then(|name| Self::new(name).ok()));
        }
        meshes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(meshes)
    }

    /// All meshes of which anything is on this machine, by name: a folder, a cgroup, an interface or an nftables table in
    /// the caller's network namespace. Only what is made as Wabe makes it counts, not what is merely called so.
    ///
    /// # Errors
    /// As [`Mesh::all`].
    pub fn found() -> Result<Vec<Self>, LayoutError> {
        let mut meshes = Self::all()?;
        meshes.extend(traces::names().into_iter().filter_map(|name| Self::new(name).ok()));
        meshes.sort_by(|a, b| a.name.cmp(&b.name));
        meshes.dedup();
        Ok(meshes)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder, for root only.
    pub fn run_dir(&self) -> PathBuf {
        Path::new(RUN).join(&self.name)
    }

    /// Where the agent answers scrapes.
    pub fn metrics_socket(&self) -> PathBuf {
        self.run_dir().join("metrics.sock")
    }

    /// What was decided when it was started: see [`MeshFile`].
    pub fn mesh_file(&self) -> PathBuf {
        self.run_dir().join("mesh.json")
    }

    /// The keeper's socket.
    pub fn keeper_socket(&self) -> PathBuf {
        self.run_dir().join("keeper.sock")
    }

    /// The agent's socket.
    pub fn agent_socket(&self) -> PathBuf {
        self.run_dir().join("agent.sock")
    }

    /// Where its bpffs is mounted.
    pub fn bpf_dir(&self) -> PathBuf {
        self.run_dir().join("bpf")
    }

    /// The agent's last snapshot.
    pub fn snapshot_file(&self) -> PathBuf {
        self.run_dir().join("snapshot.json")
    }

    /// What users applied.
    pub fn objects_file(&self) -> PathBuf {
        self.run_dir().join("objects.json")
    }

    /// The only folder of the mesh that dns sees, read-only; for everybody.
    pub fn names_dir(&self) -> PathBuf {
        self.run_dir().join("names")
    }

    /// What dns answers.
    pub fn names_file(&self) -> PathBuf {
        self.names_dir().join("names.json")
    }

    /// The only folder of the mesh that the proxy sees, read-only; for everybody.
    pub fn proxy_dir(&self) -> PathBuf {
        self.run_dir().join("proxy")
    }

    /// What the proxy goes by.
    pub fn proxy_file(&self) -> PathBuf {
        self.proxy_dir().join("snapshot.json")
    }

    /// What proxies have counted, a file for each: for root only, the proxies get theirs handed over.
    pub fn figures_dir(&self) -> PathBuf {
        self.run_dir().join("figures")
    }

    /// What workloads, agent, dns and proxy print.
    pub fn logs_dir(&self) -> PathBuf {
        self.run_dir().join("logs")
    }

    /// Its cgroup, given where cgroup v2 is mounted ([`find_cgroup2`]).
    pub fn cgroup(&self, cgroup2: &Path) -> PathBuf {
        cgroup2.join(format!("wabe-{}", self.name))
    }

    /// The interface that it has in the host's namespace, 11 bytes. Interface names have room for 15, mesh names
    /// may be longer: hence a hash.
    pub fn host_interface(&self) -> String {
        format!("wabe-{:06x}", fnv1a(self.name.as_bytes()) & 0xff_ffff)
    }

    /// What that interface is called for people, by `ip link`; tells it from one whose name collides.
    pub fn host_interface_alias(&self) -> String {
        format!("wabe mesh {}", self.name)
    }

    /// The nftables table (family `inet`) that it has in its node namespace, and in the host's, if a workload has
    /// egress.
    pub fn nft_table(&self) -> String {
        format!("wabe_{}", self.name)
    }
}

impl fmt::Display for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// What can be wrong about a mesh's place on the machine.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// Not a name.
    #[error(
        "`{0}` can't be a mesh's name: use 1 to 32 of the letters a-z, digits and `-`, not beginning with `-`"
    )]
    Name(String),
    /// A file or folder.
    #[error("can't {action} {}: {source}{}", path.display(), remedy(source))]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `mesh.json` is not one.
    #[error(
        "{} is not a mesh file ({reason}); `wabe down --name {mesh}` removes what is left of this mesh",
        path.display()
    )]
    MeshFile {
        /// Which file.
        path: PathBuf,
        /// Of which mesh.
        mesh: String,
        /// What is wrong.
        reason: String,
    },
    /// No cgroup v2.
    #[error("cgroup v2 is not mounted; mount it with `mount -t cgroup2 none /sys/fs/cgroup`")]
    NoCgroup2,
}

impl LayoutError {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { "; run as root" } else { "" }
}

/// FNV-1a, 64 bit (Fowler, Noll, Vo): short, and the same in every version.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "default", "0-a", &"x".repeat(32)] {
            assert!(Mesh::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a/b", "..", "a_b", "ä", &"x".repeat(33)] {
            assert!(Mesh::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_in_the_folder_is_below_it() {
        let mesh = Mesh::new("shop").unwrap();
        for path in [mesh.mesh_file(), mesh.keeper_socket(), mesh.bpf_dir(), mesh.logs_dir()] {
            assert!(path.starts_with("/run/wabe/shop"), "{}", path.display());
        }
    }

    #[test]
    fn the_interface_name_fits_whatever_the_mesh_is_called() {
        let long = Mesh::new("x".repeat(32)).unwrap().host_interface();
        assert_eq!(long.len(), 11);
        assert_ne!(long, Mesh::new("x").unwrap().host_interface());
        // Another version must find the interface of this one.
        assert_eq!(Mesh::new("default").unwrap().host_interface(), "wabe-20c5fe");
    }
}
