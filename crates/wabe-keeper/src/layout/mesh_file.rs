//! What was decided when a mesh was started, for every process of it to read.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{LayoutError, Mesh};

/// Depth of `w/<id>` below the mesh's own cgroup.
pub const WORKLOAD_LEVEL_BELOW_MESH: u32 = 2;

/// Offset of workload 0's address in the range; those below are the node's and the host's, and room for more.
const FIRST_WORKLOAD: u32 = 256;

/// The address ranges of a mesh. They overlap neither each other nor anything that the host knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    /// Workloads' IPv4 addresses.
    pub workloads_v4: Ipv4Net,
    /// Services' IPv4 addresses.
    pub services_v4: Ipv4Net,
    /// Workloads' IPv6 addresses.
    pub workloads_v6: Ipv6Net,
    /// Services' IPv6 addresses.
    pub services_v6: Ipv6Net,
}

impl Ranges {
    /// The addresses of the workload with this id, if the ranges reach that far.
    pub fn addresses(&self, id: u32) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let offset = FIRST_WORKLOAD.checked_add(id)?;
        // The last address of an IPv4 range would be taken for a broadcast by some programs.
        if offset >= host_mask_v4(self.workloads_v4) {
            return None;
        }
        let v6 = nth_v6(self.workloads_v6, offset);
        self.workloads_v6.contains(&v6).then(|| (nth_v4(self.workloads_v4, offset), v6))
    }
}

/// What was decided when the mesh was started. Kept in [`Mesh::mesh_file`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshFile {
    /// The mesh's name.
    pub name: String,
    /// Its cgroup, below which are `keeper`, `agent`, `dns`, `vend` and `w`.
    pub cgroup: PathBuf,
    /// Depth of `w/<id>` below the root of the cgroup tree: `bpf_get_current_ancestor_cgroup_id` wants to know.
    pub workload_level: u32,
    /// Its address ranges.
    #[serde(flatten)]
    pub ranges: Ranges,
    /// The node: where names are answered.
    pub node_v4: Ipv4Addr,
    /// The node.
    pub node_v6: Ipv6Addr,
    /// The host, as workloads see it.
    pub host_v4: Ipv4Addr,
    /// The host.
    pub host_v6: Ipv6Addr,
    /// Trust domain of the identities.
    pub trust_domain: String,
    /// Policies of this namespace hold for the whole mesh.
    pub root_namespace: String,
    /// The version of Wabe that started it.
    pub version: String,
}

impl MeshFile {
    /// The file of a mesh that is about to start.
    ///
    /// # Errors
    /// If cgroup v2 is not mounted.
    pub fn new(
        mesh: &Mesh,
        ranges: Ranges,
        trust_domain: impl Into<String>,
        root_namespace: impl Into<String>,
    ) -> Result<Self, LayoutError> {
        let (cgroup2, level) = super::mounts::cgroup2_and_level()?;
        Ok(Self {
            name: mesh.name().to_owned(),
            cgroup: mesh.cgroup(&cgroup2),
            workload_level: level + 1 + WORKLOAD_LEVEL_BELOW_MESH,
            ranges,
            node_v4: nth_v4(ranges.workloads_v4, 1),
            node_v6: nth_v6(ranges.workloads_v6, 1),
            host_v4: nth_v4(ranges.workloads_v4, 3),
            host_v6: nth_v6(ranges.workloads_v6, 3),
            trust_domain: trust_domain.into(),
            root_namespace: root_namespace.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// The mesh whose file it is.
    ///
    /// # Errors
    /// [`LayoutError::Name`] if somebody edited the name.
    pub fn mesh(&self) -> Result<Mesh, LayoutError> {
        Mesh::new(&self.name)
    }

    /// The addresses of the workload with this id, if the ranges reach that far.
    pub fn addresses(&self, id: u32) -> Option<(Ipv4Addr, Ipv6Addr)> {
        self.ranges.addresses(id)
    }

    /// The cgroup that all workloads' cgroups are in.
    pub fn workloads_cgroup(&self) -> PathBuf {
        self.cgroup.join("w")
    }

    /// The cgroup of a process of the mesh: `keeper`, `agent`, `dns`, `vend`.
    pub fn role_cgroup(&self, role: &str) -> PathBuf {
        self.cgroup.join(role)
    }

    /// Reads it; `None` if there is none.
    ///
    /// # Errors
    /// If it can't be read, or is not such a file.
    pub fn load(mesh: &Mesh) -> Result<Option<Self>, LayoutError> {
        let path = mesh.mesh_file();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LayoutError::file("read", &path)(error)),
        };
        let bad = |reason: String| LayoutError::MeshFile {
            path: path.clone(),
            mesh: mesh.name().to_owned(),
            reason,
        };
        let file: Self = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        if file.name != mesh.name() {
            return Err(bad(format!("it is that of mesh `{}`", file.name)));
        }
        Ok(Some(file))
    }

    /// Writes it: a reader sees the old one or the new one, never half of it. Makes the mesh's folder if need be.
    ///
    /// # Errors
    /// If folder or file can't be made.
    pub fn store(&self) -> Result<(), LayoutError> {
        let mesh = self.mesh()?;
        make_dir(Path::new(super::RUN), 0o755)?;
        make_dir(&mesh.run_dir(), 0o700)?;
        let path = mesh.mesh_file();
        let fresh = path.with_extension("json.new");
        let text = serde_json::to_vec_pretty(self).expect("invariant: its keys are strings");
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&text)?;
            fs::rename(&fresh, &path)
        };
        write().map_err(LayoutError::file("write", &path))
    }
}

/// Makes a folder; that it exists is no error.
fn make_dir(path: &Path, mode: u32) -> Result<(), LayoutError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(LayoutError::file("make", path))
}

/// How far the last address of a range is from its first.
fn host_mask_v4(range: Ipv4Net) -> u32 {
    !u32::from(range.netmask())
}

fn nth_v4(range: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network()).wrapping_add(n))
}

fn nth_v6(range: Ipv6Net, n: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(range.network()).wrapping_add(u128::from(n)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    fn ranges(workloads_v4: &str) -> Ranges {
        Ranges {
            workloads_v4: workloads_v4.parse().unwrap(),
            services_v4: "10.129.0.0/16".parse().unwrap(),
            workloads_v6: "fd77:6162:6500::/64".parse().unwrap(),
            services_v6: "fd77:6162:6501::/64".parse().unwrap(),
        }
    }

    #[test]
    fn workloads_are_numbered_behind_the_nodes_addresses() {
        let (v4, v6) = ranges("10.128.0.0/16").addresses(1).unwrap();
        assert_eq!(v4, Ipv4Addr::new(10, 128, 1, 1));
        assert_eq!(v6, "fd77:6162:6500::101".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn a_range_ends() {
        let small = ranges("10.128.0.0/19");
        assert_eq!(small.addresses(8191 - 256 - 1).unwrap().0, Ipv4Addr::new(10, 128, 31, 254));
        assert_eq!(small.addresses(8191 - 256), None);
        assert_eq!(small.addresses(u32::MAX), None);
        let narrow = Ranges { workloads_v6: "fd77::/116".parse().unwrap(), ..ranges("10.0.0.0/8") };
        assert!(narrow.addresses(4095 - 256).is_some());
        assert_eq!(narrow.addresses(4096 - 256), None);
    }

    #[test]
    fn a_file_survives_the_way_through_json() {
        let mesh = Mesh::new("shop").unwrap();
        let file = MeshFile::new(&mesh, ranges("10.128.0.0/16"), "cluster.local", "istio-system").unwrap();
        assert_eq!(file.node_v4, Ipv4Addr::new(10, 128, 0, 1));
        assert_eq!(file.host_v4, Ipv4Addr::new(10, 128, 0, 3));
        assert!(file.cgroup.ends_with("wabe-shop"));
        let text = serde_json::to_string(&file).unwrap();
        assert!(text.contains(r#""workloads_v4":"10.128.0.0/16""#), "{text}");
        assert_eq!(serde_json::from_str::<MeshFile>(&text).unwrap(), file);
    }
}
