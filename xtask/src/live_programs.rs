//! The programs of live tests, as `wabe-tests` names them.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result};

use crate::shell::root;

/// Where they are named.
const MANIFEST: &str = "tests/Cargo.toml";

/// All of them.
pub(crate) fn all() -> Result<BTreeSet<String>> {
    let manifest = fs::read_to_string(root().join(MANIFEST)).context(MANIFEST)?;
    let tests = manifest.split("[[test]]").skip(1);
    let name = |test: &str| Some(test.split_once("name = \"")?.1.split_once('"')?.0.to_owned());
    tests.map(|it| name(it).context("a test without a name")).collect()
}
