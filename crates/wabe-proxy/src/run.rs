//! The role: hears the keeper, and ends when it is told to.

use std::{
    cell::Cell,
    collections::HashMap,
    io,
    net::TcpListener,
    os::fd::OwnedFd,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::{JoinHandle, LocalSet, spawn_local},
    time::interval,
};

use crate::{
    access::Log,
    balance::Balancers,
    bounds::Bounds,
    confine::{ConfineError, confine},
    drain::Drain,
    guard::Passed,
    keeper::{Given, Link},
    policy,
    serve::{Proxy, listen},
    upstream::Pool,
    world::Watched,
};

/// Between looks at the snapshot.
const LOOK: Duration = Duration::from_millis(100);

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
}

/// Serves until SIGTERM, or until the keeper is gone; then has requests under way answered, and accepts no others.
///
/// # Errors
/// It could not begin.
pub fn run(options: &Options, keeper: OwnedFd) -> Result<(), ProxyError> {
    let failed = |action| move |source| ProxyError::Io { action, source };
    let granted = raise_descriptor_limit();
    let most = Bounds::connections(options.bounds.descriptors.unwrap_or(granted));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed("start its runtime"))?;
    LocalSet::new().block_on(&runtime, async {
        let link = Link::new(keeper, Bounds::scarce(granted))
            .map_err(failed("use its link to the keeper, which is stdin"))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed("hear signals"))?;
        // Everything that needs more was done; nothing that a caller sent was read.
        confine(&options.snapshot).map_err(ProxyError::Unconfined)?;
        let balancers = Rc::<Balancers>::default();
        let proxy = Rc::new(Proxy {
            watched: Watched::new(options.snapshot.clone(), Rc::clone(&balancers)),
            pool: Pool::new(Rc::clone(&link)),
            balancers,
            passed: Passed::default(),
            log: Rc::new(Log::default()),
            closing: watch::Sender::new(false),
            drain: Drain::new(options.drain),
            open: Cell::new(0),
            most,
            bounds: options.bounds,
        });
        policy::follow(&proxy);
        let ticking = spawn_local(tick(Rc::clone(&proxy)));
        let mut listeners = HashMap::new();
        tokio::select! {
            () = async {
                until_understood(&proxy).await;
                hear(&proxy, &link, Some(&mut listeners)).await;
            } => {}
            _ = terminate.recv() => {}
        }
        // The keeper holds the listeners: new connections go to another proxy, or wait in their queues for one.
        listeners.into_values().for_each(|it: JoinHandle<_>| it.abort());
        link.draining();
        // Requests under way may need sockets.
        let hearing = spawn_local({
            let (proxy, link) = (Rc::clone(&proxy), Rc::clone(&link));
            async move { hear(&proxy, &link, None).await }
        });
        proxy.drain.run(&proxy.closing).await;
        hearing.abort();
        ticking.abort();
        proxy.log.flush();
        proxy.log.tally.write(&proxy.balancers, Instant::now());
        Ok(())
    })
}

/// Follows the keeper, until it is gone. Without a place for listeners none is served.
async fn hear(
    proxy: &Rc<Proxy>,
    link: &Rc<Link>,
    mut listeners: Option<&mut HashMap<u32, JoinHandle<io::Result<()>>>>,
) {
    loop {
        let (given, mut descriptors) = match link.next().await {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "the keeper is not understood");
                return;
            }
        };
        let (workload, task) = match given {
            Given::Listen { workload } => {
                let (Some(listener), Some(_)) = (descriptors.pop(), &listeners) else { continue };
                (workload, Some(spawn_local(listen(Rc::clone(proxy), workload, TcpListener::from(listener)))))
            }
            Given::Forget { workload } => {
                link.forget(workload);
                proxy.pool.forget(workload);
                (workload, None)
            }
            Given::Complete => {
                link.ready();
                continue;
            }
            Given::Figures => {
                descriptors.pop().into_iter().for_each(|file| proxy.log.tally.write_to(file));
                continue;
            }
            Given::Sockets { .. } => continue,
        };
        let Some(listeners) = &mut listeners else { continue };
        let before = match task {
            Some(task) => listeners.insert(workload, task),
            None => listeners.remove(&workload),
        };
        before.iter().for_each(JoinHandle::abort);
    }
}

/// Until then connections are for whoever is in charge, or wait in their queues.
async fn until_understood(proxy: &Proxy) {
    let mut ticks = interval(LOOK);
    while !proxy.watched.is_understood() {
        ticks.tick().await;
    }
}

async fn tick(proxy: Rc<Proxy>) {
    let mut ticks = interval(LOOK);
    loop {
        ticks.tick().await;
        policy::look(&proxy);
        proxy.log.flush();
        proxy.log.tally.tick(&proxy.balancers, Instant::now());
        proxy.pool.sweep();
        proxy.passed.sweep(Instant::now());
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
