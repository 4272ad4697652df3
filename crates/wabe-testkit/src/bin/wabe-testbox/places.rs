//! What a workload sees of the file system.

use std::fs;

use anyhow::Result;
use serde_json::json;

use crate::report;

/// One line per mount: where, what kind, from what.
pub(crate) fn mounts() -> Result<()> {
    for line in fs::read_to_string("/proc/self/mounts")?.lines() {
        let mut fields = line.split(' ');
        let (source, point, kind) = (fields.next(), fields.next(), fields.next());
        report::line(&json!({ "point": point, "kind": kind, "source": source }));
    }
    Ok(())
}
