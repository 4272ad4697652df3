//! One worker: does what it is told, and looks now and then at what changed.

use std::{
    collections::HashMap,
    io, mem,
    net::TcpListener,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    task::{JoinHandle, spawn_local},
    time::interval,
};

use super::{Accepted, Order, busy_poll::busy_poll};
use crate::{
    policy,
    run::LOOK,
    serve::{Proxy, begin, listen},
};

/// Tells that a worker is no more, which is right only at the end.
pub(super) struct Lost(pub(super) UnboundedSender<()>);

impl Drop for Lost {
    fn drop(&mut self) {
        // Nobody listens when all end.
        let _ = self.0.send(());
    }
}

/// Serves until it is told to end.
pub(super) async fn work(proxy: Rc<Proxy>, mut orders: UnboundedReceiver<Order>, lost: Lost) {
    policy::follow(&proxy);
    let ticking = spawn_local(tick(Rc::clone(&proxy)));
    let mut listeners = Listeners { proxy: Rc::clone(&proxy), tasks: HashMap::new() };
    while let Some(order) = orders.recv().await {
        match order {
            Order::Listen { workload, listener } => listeners.add(workload, listener),
            Order::Forget { workload } => listeners.remove(workload),
            Order::Deafen(done) => {
                listeners.clear();
                let _ = done.send(());
            }
            Order::Serve(Accepted { workload, stream, peer, place }) => {
                match tokio::net::TcpStream::from_std(stream) {
                    Ok(stream) => begin(&proxy, workload, stream, peer, place),
                    Err(error) => tracing::warn!(workload, %error, "a connection can't be served"),
                }
            }
            Order::End => break,
        }
    }
    ticking.abort();
    proxy.log.flush();
    proxy.log.tally.end();
    drop(lost);
}

/// What a worker accepts from.
struct Listeners {
    proxy: Rc<Proxy>,
    tasks: HashMap<u32, JoinHandle<io::Result<()>>>,
}

impl Listeners {
    fn add(&mut self, workload: u32, listener: TcpListener) {
        let task = spawn_local(listen(Rc::clone(&self.proxy), workload, listener));
        self.tasks.insert(workload, task).iter().for_each(JoinHandle::abort);
    }

    fn remove(&mut self, workload: u32) {
        self.tasks.remove(&workload).iter().for_each(JoinHandle::abort);
    }

    fn clear(&mut self) {
        self.tasks.drain().for_each(|(_, task)| task.abort());
    }
}

async fn tick(proxy: Rc<Proxy>) {
    let mut ticks = interval(LOOK);
    let mut is_over = false;
    let mut polling = Polling::default();
    loop {
        ticks.tick().await;
        policy::look(&proxy);
        polling.be(proxy.watched.busy_poll());
        if proxy.drain.is_over() && !mem::replace(&mut is_over, true) {
            // What is under way hears of this as of news.
            proxy.watched.tell();
        }
        proxy.log.flush();
        proxy.log.tally.tick(proxy.about(), &proxy.balancers, Instant::now());
        proxy.pool.sweep();
        proxy.passed.sweep(Instant::now());
    }
}

/// The task that polls, if one does; ends with this.
#[derive(Default)]
struct Polling {
    patience: Duration,
    task: Option<JoinHandle<()>>,
}

impl Polling {
    fn be(&mut self, patience: Duration) {
        if mem::replace(&mut self.patience, patience) != patience {
            self.task.iter().for_each(JoinHandle::abort);
            self.task = (!patience.is_zero()).then(|| spawn_local(busy_poll(patience)));
        }
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc::unbounded_channel, task::LocalSet};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn one_that_panics_is_missed() {
        let (lost, mut losses) = unbounded_channel();
        LocalSet::new()
            .run_until(async {
                let kept = lost.clone();
                let worker = spawn_local(async move {
                    let _lost = Lost(lost);
                    panic!("as a worker would whose own loop fails");
                });
                assert!(worker.await.is_err());
                assert_eq!(losses.recv().await, Some(()));
                drop(kept);
            })
            .await;
    }
}
