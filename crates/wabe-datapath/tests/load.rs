//! The real kernel takes the object: every program passes the verifier, every link is pinned, a second load takes over
//! maps and links.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use wabe_abi::{Config, EndpointKey, EndpointRecord, Ip, PrefixKey, maps};
use wabe_datapath::{Kernel, LoadOptions, Pinned, Sizes, Write};
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

    fn maps(&self) -> Vec<String> {
        let entries = fs::read_dir(self.pins.join("maps")).expect("maps");
        entries.map(|it| it.expect("an entry").file_name().into_string().expect("a name")).collect()
    }

    fn options(&self) -> LoadOptions {
        LoadOptions {
            pin_dir: self.pins.clone(),
            workloads_cgroup: self.cgroup.clone(),
            vend_cgroup: None,
            uplink: None,
        }
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
    let mut kernel = Kernel::load(&place.options()).expect("the kernel takes the object");
    kernel.engage().expect("attached");
    for spec in maps::SPECS {
        let is_its = |pin: &String| pin.starts_with(&format!("{}-", spec.name));
        assert_eq!(place.maps().iter().filter(|pin| is_its(pin)).count(), 1, "{}", spec.name);
    }
    assert_eq!(fs::read_dir(place.pins.join("links")).expect("links").count(), 12);
    assert_eq!(kernel.counters().expect("counters").len(), maps::counter::LEN as usize);
}

#[test]
fn a_second_load_keeps_maps_and_links() {
    let place = Place::new("again");
    let mut first = Kernel::load(&place.options()).expect("first load");
    let config = Config { generation: 7, ..Config::default() };
    first.write(&[Write::Config(Box::new(config))]).expect("write");
    first.engage().expect("attached");
    drop(first);
    let mut second = Kernel::load(&place.options()).expect("second load");
    second.engage().expect("taken over");
    assert!(second.contents().expect("contents").contains(&Write::Config(Box::new(config))));
    assert_eq!(fs::read_dir(place.pins.join("links")).expect("links").count(), 12);
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

#[test]
fn maps_grow_with_their_rows_and_keep_their_names() {
    let place = Place::new("grow");
    let mut kernel = Kernel::load(&place.options()).expect("load");
    kernel.engage().expect("attached");
    let before = place.maps();
    let address = |last: u32| Ip::from(std::net::IpAddr::from([10, 8, 1, last as u8]));
    let rows: Vec<_> = (1..100).map(|it| Write::Address(address(it), Some(it))).collect();
    kernel.write(&rows).expect("written");
    let contents = kernel.contents().expect("contents");
    let larger = Sizes { workloads: 2 * kernel.sizes().workloads, ..kernel.sizes() };
    kernel.resize(&larger).expect("grown");
    assert_eq!(kernel.sizes(), larger);
    let sorted = |mut rows: Vec<Write>| {
        rows.sort_by_key(|it| format!("{it:?}"));
        rows
    };
    assert_eq!(sorted(kernel.contents().expect("contents")), sorted(contents));
    assert_eq!(place.maps().len(), before.len());
    // The pins are those of the new maps, and the next agent finds their size.
    drop(kernel);
    let next = Kernel::load(&place.options()).expect("load");
    assert_eq!(next.sizes(), larger);
    assert_eq!(Pinned::open(&place.pins).expect("pinned").workload_at(&address(7)), Some(7));
}

#[test]
fn maps_of_another_layout_are_made_anew_and_the_others_go_when_the_programs_are_in_force() {
    let place = Place::new("layout");
    let mut first = Kernel::load(&place.options()).expect("first load");
    first.write(&[Write::Cgroup(7, Some(1))]).expect("written");
    first.engage().expect("attached");
    drop(first);
    // As if another version had pinned it.
    let pins = place.pins.join("maps");
    let ours = place.maps().into_iter().find(|it| it.starts_with("CGROUPS-")).expect("a pin");
    fs::rename(pins.join(&ours), pins.join("CGROUPS-00000000")).expect("renamed");
    let mut second = Kernel::load(&place.options()).expect("second load");
    assert!(!second.contents().expect("contents").contains(&Write::Cgroup(7, Some(1))), "reinterpreted");
    assert!(pins.join("CGROUPS-00000000").exists(), "gone before its programs are");
    second.engage().expect("taken over");
    assert!(!pins.join("CGROUPS-00000000").exists() && pins.join(&ours).exists());
}

#[test]
fn living_connections_in_another_layout_are_left_alone() {
    let place = Place::new("kept");
    let mut first = Kernel::load(&place.options()).expect("first load");
    first.engage().expect("attached");
    drop(first);
    let pins = place.pins.join("maps");
    let ours = place.maps().into_iter().find(|it| it.starts_with("CONNECTIONS-")).expect("a pin");
    fs::rename(pins.join(&ours), pins.join("CONNECTIONS-00000000")).expect("renamed");
    let before = place.maps();
    let Err(error) = Kernel::load(&place.options()) else { panic!("loaded") };
    assert!(error.to_string().contains("wabe down"), "{error}");
    assert_eq!(place.maps(), before);
}
