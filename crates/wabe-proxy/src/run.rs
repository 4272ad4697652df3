//! The role: hears the keeper, and ends when it is told to.

use std::{
    io,
    net::TcpListener,
    os::fd::OwnedFd,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::{
    runtime::Builder,
    select,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::{LocalSet, spawn_local},
    time::interval,
};

use crate::{
    bounds::Bounds,
    confine::{ConfineError, confine},
    drain::Drain,
    keeper::{Given, Link},
    serve::Common,
    workers::{MOST, Workers, crew::Crew},
    world::Source,
};

/// Between looks at the snapshot.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file that the agent replaces.
    pub snapshot: PathBuf,
    /// What callers are granted.
    pub bounds: Bounds,
    /// How long what is under way has once it is to end: [`crate::DRAIN`], but in tests.
    pub drain: Duration,
}

/// Why it ended.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// A system call.
    #[error("the proxy can't {action}: {source}")]
    Io {
        /// What it was about to do.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It would have more power than it needs.
    #[error("the proxy can't give up what it does not need: {0}")]
    Unconfined(ConfineError),
    /// A worker's thread ended by itself; what it served is gone.
    #[error("one of the proxy's workers is gone")]
    Lost,
}

/// Serves until SIGTERM, or until the keeper is gone; then has requests under way answered, and accepts no others.
///
/// # Errors
/// It could not begin, or one of its workers is gone: another proxy is to be started then.
pub fn run(options: &Options, keeper: OwnedFd) -> Result<(), ProxyError> {
    let failed = |action| move |source| ProxyError::Io { action, source };
    let granted = raise_descriptor_limit();
    let bounds = Bounds { descriptors: options.bounds.descriptors.or(Some(granted)), ..options.bounds };
    let most = Bounds::connections(bounds.descriptors.unwrap_or(granted));
    // Before it can't look any more.
    let cores = thread::available_parallelism().map_or(1, usize::from).min(MOST);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed("start its runtime"))?;
    LocalSet::new().block_on(&runtime, async {
        let link = Link::new(keeper, Bounds::scarce(granted))
            .map_err(failed("use its link to the keeper, which is stdin"))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed("hear signals"))?;
        // Everything that needs more was done; nothing that a caller sent was read.
        confine(&options.snapshot).map_err(ProxyError::Unconfined)?;
        let common = Common {
            source: Arc::new(Source::new(options.snapshot.clone())),
            link,
            shelves: Arc::default(),
            passed: Arc::default(),
            sums: Arc::default(),
            workers: Arc::new(Workers::new(most)),
            closing: watch::Sender::new(false),
            drain: Arc::new(Drain::new(options.drain)),
            bounds,
        };
        let (mut crew, mut lost) = Crew::new(common.clone(), cores);
        let first = Rc::clone(&crew.first);
        select! {
            () = async {
                until_understood(&common.source).await;
                crew.fill();
                hear(&common, Some(&mut crew)).await;
            } => {}
            _ = terminate.recv() => {}
            () = lost.lost() => return Err(ProxyError::Lost),
        }
        // The keeper holds the listeners: new connections go to another proxy, or wait in their queues for one.
        crew.deafen().await;
        common.link.draining();
        // Requests under way may need sockets.
        let hearing = spawn_local({
            let common = common.clone();
            async move { hear(&common, None).await }
        });
        select! {
            () = common.drain.run(&common.closing) => {}
            () = lost.lost() => return Err(ProxyError::Lost),
        }
        hearing.abort();
        crew.end().await;
        common.sums.write(&first.balancers, Instant::now());
        Ok(())
    })
}

/// Follows the keeper, until it is gone. Without a crew nobody listens any more.
async fn hear(common: &Common, mut crew: Option<&mut Crew>) {
    let mut ticks = interval(LOOK);
    loop {
        let next = select! {
            next = common.link.next() => next,
            _ = ticks.tick() => {
                common.link.ask_again();
                crew.iter_mut().for_each(|it| it.fill());
                continue;
            }
        };
        let (given, mut descriptors) = match next {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "the keeper is not understood");
                return;
            }
        };
        match given {
            Given::Listen { workload } => {
                let Some(crew) = &mut crew else { continue };
                let Some(listener) = descriptors.pop() else {
                    // It came and found no room. Whoever is started next gets all of them.
                    tracing::error!(
                        workload,
                        "no descriptor was left for a listener: another proxy is to be started"
                    );
                    return;
                };
                crew.listen(workload, TcpListener::from(listener));
            }
            Given::Forget { workload } => {
                common.link.forget(workload);
                common.shelves.forget(workload);
                crew.iter_mut().for_each(|it| it.forget(workload));
            }
            Given::Complete => common.link.ready(),
            Given::Figures => descriptors.pop().into_iter().for_each(|file| common.sums.write_to(file)),
            Given::Sockets { .. } => {}
        }
    }
}

/// Until then connections are for whoever is in charge, or wait in their queues.
async fn until_understood(source: &Source) {
    let mut ticks = interval(LOOK);
    loop {
        source.look();
        if source.is_understood() {
            return;
        }
        ticks.tick().await;
    }
}

/// Each connection takes one or two. Returns how many there may be.
fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
