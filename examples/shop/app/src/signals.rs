//! SIGTERM and SIGINT as something to wait for.

use std::{future::Future, io};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// The wish to stop. Once there it stays.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

/// A [`Stop`] that comes with SIGTERM or SIGINT.
///
/// # Errors
/// Signal handlers can't be installed.
pub(crate) fn stop() -> io::Result<Stop> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(Stop::when(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }))
}

impl Stop {
    /// A stop that comes when `event` does.
    pub(crate) fn when(event: impl Future<Output = ()> + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            event.await;
            // Nobody waits any more: nothing to tell.
            sender.send(true).ok();
        });
        Self(receiver)
    }

    /// Waits until it is there.
    pub(crate) async fn requested(&mut self) {
        // The sender only goes away when the runtime does, and then nothing waits here.
        self.0.wait_for(|stop| *stop).await.ok();
    }
}
