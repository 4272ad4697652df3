//! Objects that are there for a while.

use std::thread;

use wabe_testkit::TestMesh;

/// What was applied, to be deleted when dropped: a step that fails must not spoil the next.
#[derive(Debug)]
pub struct Applied<'a> {
    mesh: &'a TestMesh,
    manifests: String,
}

impl<'a> Applied<'a> {
    /// Applies these manifests, which must succeed.
    #[track_caller]
    pub fn new(mesh: &'a TestMesh, manifests: impl ToString) -> Self {
        let applied = Self { mesh, manifests: manifests.to_string() };
        if !applied.manifests.is_empty() {
            let _ = mesh.apply(&applied.manifests).success();
        }
        applied
    }
}

impl Drop for Applied<'_> {
    fn drop(&mut self) {
        if self.manifests.is_empty() {
            return;
        }
        let deleted = self.mesh.delete(&self.manifests);
        if thread::panicking() {
            eprintln!("after the failure: {deleted}");
        } else {
            let _ = deleted.success();
        }
    }
}
