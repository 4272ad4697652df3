//! The examples of the repository are as the manifests' reader wants them, without a warning.

use std::path::Path;

use wabe_model::{Objects, check, parse, read_path};

fn objects_of(folders: &[&str]) -> usize {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let manifests: Vec<_> =
        folders.iter().flat_map(|it| read_path(&examples.join(it)).expect("read")).collect();
    let parsed = parse(&manifests).unwrap_or_else(|wrong| panic!("{wrong}"));
    let (objects, warnings) = check(&parsed, &Objects::default()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    objects.len()
}

#[test]
fn the_shop() {
    assert!(objects_of(&["shop"]) > 10);
}

#[test]
fn the_shop_with_its_canary() {
    assert_eq!(objects_of(&["shop", "shop-canary"]), objects_of(&["shop"]) + 3);
}
