//! Each seed by itself: `cargo xtask fuzz` begins with inputs that pass.

use std::collections::BTreeSet;

use wabe_fuzz::TARGETS;

#[test]
fn no_seed_shows_a_bug() {
    for target in TARGETS {
        let mut names = BTreeSet::new();
        for (name, input) in (target.seeds)() {
            println!("{} {name}", target.name);
            (target.run)(&input);
            assert!(names.insert(name), "two seeds of one name overwrite each other");
        }
        assert!(!names.is_empty(), "{} has no seeds", target.name);
    }
}
