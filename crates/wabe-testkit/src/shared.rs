//! Meshes that the tests of one program share, because starting one takes longer than most tests.

use std::sync::{Mutex, Once, OnceLock};

use crate::TestMesh;

/// The mesh in `cell`, started by the first test that asks for it and stopped at the end of the test program. If
/// stopping it fails, or leaves something, the program fails.
///
/// # Panics
/// As [`TestMesh::up`]; the next test that asks then tries again.
#[track_caller]
pub fn shared(cell: &'static OnceLock<TestMesh>, manifests: impl FnOnce() -> String) -> &'static TestMesh {
    cell.get_or_init(|| {
        let mesh = TestMesh::up(&manifests());
        stop_at_exit(cell);
        mesh
    })
}

static STARTED: Mutex<Vec<&'static OnceLock<TestMesh>>> = Mutex::new(Vec::new());

fn stop_at_exit(cell: &'static OnceLock<TestMesh>) {
    static REGISTERED: Once = Once::new();
    // The test harness has no hook for its end, but it ends by exit().
    REGISTERED.call_once(|| {
        // SAFETY: the handler is a plain function that unwinds nowhere.
        let refused = unsafe { libc::atexit(stop_all) };
        assert_eq!(refused, 0, "no room for a handler at exit");
    });
    STARTED.lock().expect("invariant: nothing panics while it is held").push(cell);
}

extern "C" fn stop_all() {
    let cells = STARTED.lock().map(|mut it| std::mem::take(&mut *it)).unwrap_or_default();
    // On a thread of its own: this one's thread-local values are gone already.
    let stopping = std::thread::spawn(move || {
        let problems: Vec<_> = cells.iter().filter_map(|cell| cell.get()?.stop().err()).collect();
        problems.iter().for_each(|problem| eprintln!("{problem}"));
        problems.is_empty()
    });
    if !stopping.join().is_ok_and(|well| well) {
        // SAFETY: ends the process at once; nothing is left to do.
        unsafe { libc::_exit(101) }
    }
}
