//! What does not fit is an error that says what to do.

use std::collections::BTreeMap;

use wabe_model::{AuthorizationPolicy, Identity, Rule, Source};
use wabe_policy::{CompileError, CompiledPolicy, ROW_LIMIT, Traffic, compile};

use crate::build::*;

fn compiled(
    policies: &[AuthorizationPolicy],
    identities: u32,
    limit: usize,
) -> Result<CompiledPolicy, CompileError> {
    let identities: BTreeMap<u32, Identity> =
        (1..=identities).map(|id| (id, identity(&format!("shop/account-{id}")))).collect();
    compile(&policies.iter().collect::<Vec<_>>(), Traffic::Connections, &identities, &mut |_| 1, limit)
}

/// One policy each, so that each tells one caller, one port and one block apart.
fn different(count: u16) -> Vec<AuthorizationPolicy> {
    let rule = |index: u16| Rule {
        from: vec![Source {
            ip_blocks: nets(&[&format!("10.{index}.0.0/16")]),
            ..principals(&[&format!("*/account-{index}")])
        }],
        to: vec![ports(&[1000 + index])],
        ..Rule::default()
    };
    (1..=count).map(|index| allow(&format!("p{index:02}"), vec![rule(index)])).collect()
}

#[test]
fn as_many_combinations_as_the_limit_fit_and_one_more_does_not() {
    let policies = different(2);
    // Stranger, callers 1, 2 and the others; two ports and the others; two blocks and the others.
    let rows = 4 * 3 * 3;
    assert_eq!(compiled(&policies, 3, rows).expect("fits").verdicts.len(), rows);
    let error = compiled(&policies, 3, rows - 1).expect_err("does not fit");
    assert_eq!(
        error.to_string(),
        "too many combinations in policies shop/p01, shop/p02: 4 kinds of callers x 3 kinds of ports x 3 kinds of source \
         addresses, of which 35 fit: use the same ports and ipBlocks in more of the rules, or narrow selectors so that \
         fewer policies select one workload"
    );
}

#[test]
fn a_message_names_the_policies_with_the_longest_lists() {
    let mut policies = different(60);
    policies.push(allow("z-long", vec![to(ports(&[1, 2, 3, 4, 5, 6]))]));
    let error = compiled(&policies, 100, ROW_LIMIT).expect_err("does not fit").to_string();
    let expected = "too many combinations in policies shop/z-long, shop/p01, shop/p02, shop/p03, shop/p04 and 56 more: 62 kinds of \
         callers x 62 kinds of ports x 61 kinds of source addresses, of which 65536 fit: ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn hopeless_policies_are_refused_before_the_work_is_done() {
    let error = compiled(&different(250), 250, ROW_LIMIT).expect_err("does not fit");
    assert!(
        matches!(error, CompileError::Combinations { callers: 251, ports: 251, addresses: 251, .. }),
        "{error}"
    );
}

#[test]
fn work_has_its_limit_even_if_all_of_it_would_come_to_one_class() {
    let admitting_all_first = |count| {
        let mut policies = different(count);
        policies.insert(0, allow("all", vec![any()]));
        policies
    };
    // Eight callers, ports and blocks each: 64 times the limit. Strangers and all others are left of it.
    assert_eq!(compiled(&admitting_all_first(7), 7, 8).expect("fits").verdicts.len(), 2);
    let error = compiled(&admitting_all_first(250), 250, ROW_LIMIT).expect_err("too much work");
    assert!(matches!(error, CompileError::Combinations { callers: 251, .. }), "{error}");
}

#[test]
fn each_map_has_its_limit() {
    let many_ports = allow("many", vec![to(ports(&[1, 2, 3, 4, 5]))]);
    assert!(compiled(std::slice::from_ref(&many_ports), 1, 5).is_ok());
    let error = compiled(&[many_ports], 1, 4).expect_err("does not fit");
    assert!(
        error
            .to_string()
            .starts_with("too many ports in policy shop/many: 5 are named one by one, of which 4 fit: "),
        "{error}"
    );

    let texts = ["10.0.0.0/8", "10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8", "fd00::/8"];
    let many_blocks = allow("many", vec![from(blocks(&texts))]);
    assert!(compiled(std::slice::from_ref(&many_blocks), 1, 4).is_ok());
    let error = compiled(&[many_blocks], 1, 3).expect_err("does not fit");
    assert!(matches!(error, CompileError::Blocks { blocks: 4, limit: 3, .. }), "{error}");

    assert!(compiled(&[], 3, 4).is_ok());
    let error = compiled(&[], 4, 4).expect_err("does not fit");
    assert_eq!(error, CompileError::Identities { identities: 5, limit: 4 });
}

#[test]
fn no_limit_is_above_what_classes_can_count() {
    let error = compiled(&different(60), 100, usize::MAX).expect_err("does not fit");
    assert!(matches!(error, CompileError::Combinations { limit: ROW_LIMIT, .. }), "{error}");
}
