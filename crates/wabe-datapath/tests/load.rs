//! The real kernel takes the object: every program passes the verifier, every link is pinned, a second load takes over
//! maps and links.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use wabe_abi::{Config, EndpointKey, EndpointRecord, Ip, PrefixKey, maps};
use wabe_datapath::{Kernel, LoadOptions, Pinned, Write};
use wabe_verdict::Tables;

/// A bpffs and a cgroup of the test's own, gone when it ends.
struct Place {
    _folder: tempfile::TempDir,
    pins: PathBuf,
    cgroup: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let pins = folder.path().join("bpf");
        fs::create_dir(&pins).expect("mount point");
        rustix::mount::mount("bpf", &pins, "bpf", rustix::mount::MountFlags::empty(), None)
            .expect("mount bpffs");
        let cgroup = cgroup2().join(format!("wabe-test-load-{name}-{}", process::id()));
        fs::create_dir(&cgroup).expect("cgroup");
        Self { _folder: folder, pins, cgroup }
    }

    fn options(&self) -> LoadOptions {
        LoadOptions { pin_dir: self.pins.clone(), workloads_cgroup: self.cgroup.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.pins, rustix::mount::UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.cgroup);
    }
}

fn cgroup2() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mount table");
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup v2 is mounted");
    Path::new(line.split(' ').nth(4).expect("mount point")).to_path_buf()
}

#[test]
fn loads_attaches_and_pins_everything() {
    let place = Place::new("all");
    let kernel = Kernel::load(&place.options()).expect("the kernel takes the object");
    for spec in maps::SPECS {
        assert!(place.pins.join("maps").join(spec.name).exists(), "{} is not pinned", spec.name);
    }
    assert_eq!(fs::read_dir(place.pins.join("links")).expect("links").count(), 10);
    assert_eq!(kernel.counters().expect("counters").len(), maps::counter::LEN as usize);
}

#[test]
fn a_second_load_keeps_maps_and_links() {
    let place = Place::new("again");
    let mut first = Kernel::load(&place.options()).expect("first load");
    let config = Config { generation: 7, ..Config::default() };
    first.write(&[Write::Config(Box::new(config))]).expect("write");
    drop(first);
    let second = Kernel::load(&place.options()).expect("second load");
    assert!(second.contents().expect("contents").contains(&Write::Config(Box::new(config))));
    assert_eq!(fs::read_dir(place.pins.join("links")).expect("links").count(), 10);
}

#[test]
fn pinned_tables_read_what_was_written() {
    let place = Place::new("pinned");
    let mut kernel = Kernel::load(&place.options()).expect("load");
    let address = Ip::from("10.8.1.1".parse::<std::net::IpAddr>().expect("address"));
    let wide = PrefixKey { bits: 32 + 96 + 8, table: 5, address };
    let narrow = PrefixKey { bits: 32 + 96 + 16, table: 5, address };
    kernel
        .write(&[
            Write::Address(address, Some(9)),
            Write::PrefixClass(wide, Some(1)),
            Write::PrefixClass(narrow, Some(2)),
        ])
        .expect("write");
    let pinned = Pinned::open(&place.pins).expect("pinned maps");
    assert_eq!(pinned.workload_at(&address), Some(9));
    let full = |text: &str, table| PrefixKey {
        bits: 160,
        table,
        address: text.parse::<std::net::IpAddr>().expect("address").into(),
    };
    assert_eq!(pinned.prefix_class(&full("10.8.9.9", 5)), Some(2));
    assert_eq!(pinned.prefix_class(&full("10.9.9.9", 5)), Some(1));
    assert_eq!(pinned.prefix_class(&full("10.9.9.9", 6)), None);
    kernel.write(&[Write::Address(address, None), Write::Address(address, None)]).expect("removing twice");
    assert_eq!(pinned.workload_at(&address), None);
}

#[test]
fn many_rows_are_written_read_and_removed_as_one() {
    const ROWS: u32 = 20_000;
    let place = Place::new("many");
    let mut kernel = Kernel::load(&place.options()).expect("load");
    let before = kernel.contents().expect("contents").len();
    let key = |index| EndpointKey { set: 1 + index % 7, index };
    let record = |index| EndpointRecord { endpoint: index, weight: 1, ..EndpointRecord::default() };
    let rows: Vec<Write> = (0..ROWS).map(|index| Write::Endpoint(key(index), Some(record(index)))).collect();
    kernel.write(&rows).expect("written");
    let found: Vec<Write> = kernel.contents().expect("contents");
    assert_eq!(found.len(), before + rows.len());
    let mut endpoints: Vec<EndpointRecord> = found
        .iter()
        .filter_map(|write| if let Write::Endpoint(_, row) = write { *row } else { None })
        .collect();
    endpoints.sort_by_key(|row| row.endpoint);
    assert!(endpoints.iter().zip(0..).all(|(row, index)| *row == record(index)), "rows differ");
    // Every third is gone already, the first and the last among them: no error, and the others go.
    let thirds = (0..ROWS).step_by(3).chain([ROWS - 1]).map(|index| Write::Endpoint(key(index), None));
    kernel.write(&thirds.collect::<Vec<_>>()).expect("removed");
    let all: Vec<Write> = (0..ROWS).map(|index| Write::Endpoint(key(index), None)).collect();
    kernel.write(&all).expect("removed again");
    assert_eq!(kernel.contents().expect("contents").len(), before);
}

#[test]
fn a_full_map_has_a_name_also_when_many_rows_are_written() {
    let place = Place::new("full");
    let mut kernel = Kernel::load(&place.options()).expect("load");
    let rows: Vec<Write> = (0..=maps::MAX_WORKLOADS).map(|id| Write::Cgroup(id.into(), Some(id))).collect();
    let error = kernel.write(&rows).expect_err("one too many");
    assert!(matches!(error, wabe_datapath::Error::Full { map: maps::CGROUPS, .. }), "{error}");
}
