//! Tables are small, complete and the same for the same input.

use std::collections::BTreeMap;

use wabe_abi::STRANGER;
use wabe_model::{AuthorizationPolicy, Identity, Source};
use wabe_policy::{CompiledPolicy, ROW_LIMIT, RuleRef, Traffic, compile};

use crate::build::*;

fn compiled(policies: &[AuthorizationPolicy], identities: &BTreeMap<u32, Identity>) -> CompiledPolicy {
    let mut last = 0;
    let mut number = |_: &RuleRef| {
        last += 1;
        last
    };
    compile(&policies.iter().collect::<Vec<_>>(), Traffic::Connections, identities, &mut number, ROW_LIMIT)
        .expect("fits")
}

fn crowd(count: u32) -> BTreeMap<u32, Identity> {
    (1..=count).map(|id| (id, identity(&format!("ns-{}/account-{id}", id % 10)))).collect()
}

/// Bits and address of the trie's entries, the table's 32 bits left aside.
fn trie(compiled: &CompiledPolicy) -> Vec<String> {
    let shown =
        |key: &wabe_abi::PrefixKey| format!("{}/{}", std::net::IpAddr::from(key.address), key.bits - 32);
    compiled.prefix_classes.keys().map(shown).collect()
}

#[test]
fn callers_are_as_many_classes_as_the_rules_tell_apart() {
    let table =
        compiled(&[allow("some", vec![from(namespaces(&["ns-1"])), to(ports(&[80, 81, 82]))])], &crowd(200));
    assert_eq!(table.identity_classes.len(), 201);
    assert!(table.identity_classes.contains_key(&STRANGER));
    assert_eq!(table.verdicts.len(), 3 * 2, "stranger, ns-1, others; the three ports, others");
    assert_eq!(table.port_classes, BTreeMap::from([(80, 1), (81, 1), (82, 1)]));
    assert!(table.prefix_classes.is_empty());
}

#[test]
fn what_makes_no_difference_makes_no_class() {
    let everyone = deny("everyone", vec![any()]);
    let details =
        allow("details", vec![from(blocks(&["10.0.0.0/8"])), to(ports(&[80])), from(principals(&["*-7"]))]);
    let table = compiled(&[everyone, details], &crowd(20));
    assert_eq!((table.verdicts.len(), table.port_classes.len(), table.prefix_classes.len()), (1, 0, 0));
}

#[test]
fn every_combination_has_a_verdict() {
    let source = Source { ip_blocks: nets(&["10.0.0.0/8"]), ..namespaces(&["ns-1", "ns-2"]) };
    let table = compiled(
        &[allow("a", vec![from(source), to(ports(&[80])), from(blocks(&["fd00::/8"]))])],
        &crowd(40),
    );
    let classes = |values: Vec<u16>| values.into_iter().chain([0]).max().expect("0 at least") + 1;
    let callers = classes(table.identity_classes.values().copied().collect());
    let ports = classes(table.port_classes.values().copied().collect());
    let addresses = classes(table.prefix_classes.values().copied().collect());
    let expected: Vec<_> = (0..callers)
        .flat_map(|caller| (0..ports).map(move |port| (caller, port)))
        .flat_map(|(caller, port)| (0..addresses).map(move |address| (caller, port, address)))
        .collect();
    assert_eq!((callers, ports, addresses), (3, 2, 3));
    assert!(table.verdicts.keys().copied().eq(expected));
}

#[test]
fn the_trie_has_no_entry_that_the_next_wider_one_makes_superfluous() {
    let wide = Source {
        ip_blocks: nets(&["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"]),
        not_ip_blocks: nets(&["10.2.0.0/15"]),
        ..Source::default()
    };
    assert_eq!(trie(&compiled(&[allow("a", vec![from(wide)])], &crowd(1))), ["10.0.0.0/104", "10.2.0.0/111"]);
    let all_v6 = blocks(&["::/0"]);
    assert_eq!(trie(&compiled(&[allow("a", vec![from(all_v6)])], &crowd(1))), ["::/0", "0.0.0.0/96"]);
    let both = blocks(&["::/0", "0.0.0.0/0", "192.168.0.0/16"]);
    assert_eq!(trie(&compiled(&[allow("a", vec![from(both)])], &crowd(1))), ["::/0"]);
}

#[test]
fn equal_input_gives_equal_tables_and_a_change_shows() {
    let policies = |port| [allow("a", vec![from(blocks(&["10.0.0.0/8"])), to(ports(&[port]))])];
    let table = compiled(&policies(80), &crowd(50));
    assert_eq!(table, compiled(&policies(80), &crowd(50)));
    assert_ne!(table, compiled(&policies(81), &crowd(50)));
    assert_ne!(table, compiled(&policies(80), &crowd(51)));
}

#[test]
fn rows_bear_the_table_they_are_written_for() {
    let source = Source { ip_blocks: nets(&["10.0.0.0/8"]), ..Source::default() };
    let table = compiled(&[allow("a", vec![from(source), to(ports(&[80]))])], &crowd(3));
    let ids: Vec<u32> = table
        .identity_rows(9)
        .map(|(key, _)| key.table)
        .chain(table.port_rows(9).map(|(key, _)| key.table))
        .chain(table.prefix_rows(9).map(|(key, _)| key.table))
        .chain(table.verdict_rows(9).map(|(key, _)| key.table))
        .collect();
    assert_eq!(ids, vec![9; 4 + 1 + 1 + table.verdicts.len()]);
}

#[test]
fn the_stranger_has_no_identity_even_if_one_is_given() {
    let identities = BTreeMap::from([(STRANGER, identity("shop/front-end"))]);
    let table = compiled(&[], &identities);
    assert_eq!(table.verdicts[&(0, 0, 0)].action, wabe_abi::Action::Stranger as u8);
}
