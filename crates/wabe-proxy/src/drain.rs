//! How a proxy ends: at first it only takes nothing new, then WebSockets are taken leave of one by one, and what is left when the
//! time is up is ended in order.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    select,
    sync::watch,
    time::{sleep, timeout},
};

use crate::world::News;

/// How long requests under way have once it is to end: nearly all requests and downloads take less, and whoever rolls out
/// another version waits no longer than this for the last of the old one. The keeper kills it a moment later.
pub const DRAIN: Duration = Duration::from_secs(30);
/// How long what is left then has to end in order. Together with [`DRAIN`] less than the keeper waits.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// What connections that last are told by.
#[derive(Debug)]
pub(crate) struct Drain {
    lasts: Duration,
    /// True once the time is up.
    over: watch::Sender<bool>,
    /// The same, for whoever looks often.
    is_over: AtomicBool,
}

impl Drain {
    pub(crate) fn new(lasts: Duration) -> Self {
        Self { lasts, over: watch::Sender::new(false), is_over: AtomicBool::new(false) }
    }

    /// Waits for all connections, and once the time is up for what they still have to say. Each of them listens to `closing`.
    pub(crate) async fn run(&self, closing: &watch::Sender<bool>) {
        closing.send_replace(true);
        if timeout(self.lasts, closing.closed()).await.is_ok() {
            return;
        }
        tracing::warn!(connections = closing.receiver_count(), "what is left is ended: the time is up");
        self.is_over.store(true, Relaxed);
        self.over.send_replace(true);
        if timeout(LAST_WORDS, closing.closed()).await.is_err() {
            tracing::warn!(connections = closing.receiver_count(), "connections did not end in order");
        }
    }

    /// Completes once the time is up.
    pub(crate) async fn over(&self) {
        is_true(&mut self.over.subscribe()).await;
    }

    /// The same, for who hears of news, which costs next to nothing. Takes note of what is news; can be dropped and called again.
    pub(crate) async fn over_by(&self, news: &News<'_>) {
        while !self.is_over() {
            news.changed().await;
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// Completes when it is one connection's turn to go. `share`, from 0 to 1, spreads them over the first two thirds of the
    /// drain (but for a moment, in which some go by themselves), so that not all come back at once.
    pub(crate) async fn turn(&self, closing: &mut watch::Receiver<bool>, share: f64) {
        is_true(closing).await;
        let (first, last) = (self.lasts / 30, self.lasts * 2 / 3);
        select! {
            () = sleep(first + (last - first).mul_f64(share)) => {}
            () = self.over() => {}
        }
    }
}

/// Completes once the other end says so; never if it is gone.
pub(crate) async fn is_true(watched: &mut watch::Receiver<bool>) {
    if watched.wait_for(|it| *it).await.is_err() {
        std::future::pending().await
    }
}
