//! The object that was built is the one that `wabe-abi` describes: the same maps, the same bytes in them, the programs
//! that the loader expects, and as many instructions as before.

#[path = "object/btf.rs"]
mod btf;
#[path = "object/elf.rs"]
mod elf;
#[path = "golden/table.rs"]
mod golden;
#[path = "object/instructions.rs"]
mod instructions;
#[path = "object/shapes.rs"]
mod shapes;
#[path = "golden/tools.rs"]
mod tools;

use std::collections::BTreeSet;

use btf::Btf;
use shapes::Shape;
use wabe_abi::maps;

/// `BPF_MAP_TYPE_LRU_HASH`, `BPF_MAP_TYPE_LRU_PERCPU_HASH`.
const EVICTING: [u32; 2] = [9, 10];
/// `BPF_F_CLONE`.
const CLONED: u32 = 1 << 9;
/// The trie's key as aya has it: a length, then what this program's tables put behind it.
const TRIE_KEY: &str = "Key_3C_wabe_3A__3A_tables_3A__3A_TableAddress_3E_";
const TRIE_DATA: &str = "TableAddress";

#[test]
fn every_map_is_as_specified() {
    let btf = Btf::of_object();
    let built: BTreeSet<_> =
        btf.maps().into_iter().map(|map| (map.name, map.key_size, map.value_size, map.max_entries)).collect();
    let specified: BTreeSet<_> =
        maps::SPECS.iter().map(|spec| (spec.name.to_owned(), spec.key, spec.value, spec.limit)).collect();
    let differences: Vec<_> = built.symmetric_difference(&specified).collect();
    assert!(
        differences.is_empty(),
        "(name, key, value, limit) in one of object and SPECS only: {differences:#?}"
    );
}

#[test]
fn every_shared_struct_has_the_same_fields_in_the_kernel() {
    let btf = Btf::of_object();
    for expected in shapes::all() {
        assert_eq!(btf.shape(expected.name), expected);
    }
}

#[test]
fn no_shared_struct_is_forgotten() {
    let compared: BTreeSet<String> = shapes::all()
        .into_iter()
        .map(|shape| shape.name)
        .chain([TRIE_KEY, TRIE_DATA])
        .map(String::from)
        .collect();
    let built = Btf::of_object().structs_in_maps();
    let differences: Vec<_> = built.symmetric_difference(&compared).collect();
    assert!(differences.is_empty(), "in one of the object's maps and `shapes::all` only: {differences:?}");
}

#[test]
fn a_prefix_key_is_what_the_trie_compares() {
    let btf = Btf::of_object();
    let (key, data) = (btf.shape(TRIE_KEY), btf.shape(TRIE_DATA));
    let [("prefix_len", length), ("data", start)] = key.fields[..] else { panic!("other fields: {key:?}") };
    let behind = data.fields.iter().map(|(name, offset)| (*name, start + offset));
    let fields = [("bits", length)].into_iter().chain(behind).collect();
    assert_eq!(Shape { name: "PrefixKey", size: key.size, fields }, shapes::prefix_key());
}

#[test]
fn no_flow_loses_its_state_by_eviction() {
    for map in Btf::of_object().maps() {
        assert_eq!(EVICTING.contains(&map.kind), map.name == maps::REFUSALS, "{}", map.name);
    }
}

#[test]
fn accepted_sockets_inherit_the_stamp() {
    let sockets = Btf::of_object().maps().into_iter().find(|map| map.name == maps::SOCKETS);
    assert_eq!(sockets.expect("SOCKETS").flags & CLONED, CLONED);
}

#[test]
fn the_object_has_the_programs_that_the_loader_loads() {
    let built: BTreeSet<String> = elf::programs().into_iter().map(|program| program.name).collect();
    let loaded: BTreeSet<String> = wabe_datapath::programs().map(String::from).collect();
    assert_eq!(built, loaded, "in the object; loaded");
}
