//! Ctrl-C while a mesh starts takes it down again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};
use wabe_keeper::layout::Mesh;

use crate::{down, failure::Failure};

/// As a shell reports a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Watches for SIGINT and SIGTERM.
pub(super) struct Interrupt {
    happened: Arc<AtomicBool>,
    signals: Handle,
}

impl Interrupt {
    /// From now on a signal takes the mesh down and ends this program.
    pub(super) fn watch(mesh: &Mesh) -> Result<Self, Failure> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let happened = Arc::new(AtomicBool::new(false));
        let interrupt = Self { happened: Arc::clone(&happened), signals: signals.handle() };
        let mesh = mesh.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            if signals.forever().next().is_none() {
                return;
            }
            happened.store(true, Ordering::SeqCst);
            eprintln!("interrupted: taking mesh `{mesh}` down");
            if let Err(failure) = down::take_down(&mesh) {
                failure.report(false);
            }
            std::process::exit(INTERRUPTED);
        })?;
        Ok(interrupt)
    }

    /// The mesh stands, or failed by itself. Does not return if a signal came first: what failed then failed because
    /// the mesh is being taken down.
    pub(super) fn stand_down(self) {
        self.signals.close();
        while self.happened.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}
