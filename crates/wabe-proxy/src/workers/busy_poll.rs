//! Busy polling: a worker that heard something goes on looking for more for a while before it sleeps. To be woken costs tens of
//! microseconds, in a virtual machine above all.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use tokio::task::yield_now;

thread_local!(static EAR: Ear = const { Ear { heard: Cell::new(0), asleep: RefCell::new(None) } });

/// What this worker heard.
struct Ear {
    /// So many times bytes came.
    heard: Cell<u64>,
    /// The task that polls, while it does not.
    asleep: RefCell<Option<Waker>>,
}

/// Bytes came on one of this worker's connections.
pub(crate) fn heard() {
    EAR.with(|ear| {
        ear.heard.set(ear.heard.get().wrapping_add(1));
        if let Some(asleep) = ear.asleep.take() {
            asleep.wake();
        }
    });
}

/// Keeps this worker awake for so long after it heard something last. Never completes.
pub(super) async fn busy_poll(patience: Duration) {
    let mut known = times();
    loop {
        poll_fn(|context| {
            if times() != known {
                return Poll::Ready(());
            }
            EAR.with(|ear| ear.asleep.replace(Some(context.waker().clone())));
            Poll::Pending
        })
        .await;
        known = times();
        let mut last = Instant::now();
        while last.elapsed() < patience {
            // Whoever has something to do is asked first, and then the kernel.
            yield_now().await;
            if times() != known {
                (known, last) = (times(), Instant::now());
            }
        }
    }
}

fn times() -> u64 {
    EAR.with(|ear| ear.heard.get())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream as Socket,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
        thread,
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixStream,
        runtime::Builder,
        task::{LocalSet, spawn_local},
        time::sleep,
    };

    use super::*;

    /// How often a worker slept while it answered so many questions, each asked once the one before was answered.
    fn sleeps(questions: u32, patience: Duration) -> u64 {
        let slept = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&slept);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || _ = counter.fetch_add(1, Relaxed))
            .build()
            .expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let polling = spawn_local(busy_poll(patience));
            let (mut ours, theirs) = Socket::pair().expect("a pair");
            theirs.set_nonblocking(true).expect("a socket");
            let asks = thread::spawn(move || {
                for _ in 0..questions {
                    // Long enough to fall asleep.
                    thread::sleep(Duration::from_millis(1));
                    ours.write_all(b"?").expect("asked");
                    ours.read_exact(&mut [0]).expect("answered");
                }
            });
            let mut stream = UnixStream::from_std(theirs).expect("a socket");
            while let Ok(1..) = stream.read(&mut [0]).await {
                heard();
                stream.write_all(b"!").await.expect("answered");
            }
            asks.join().expect("all were answered");
            // Without questions it sleeps.
            let before = slept.load(Relaxed);
            sleep(patience + Duration::from_millis(10)).await;
            assert!(slept.load(Relaxed) > before);
            polling.abort();
        });
        slept.load(Relaxed)
    }

    #[test]
    fn a_worker_that_polls_sleeps_less() {
        let (polling, not) = (sleeps(100, Duration::from_secs(1)), sleeps(100, Duration::ZERO));
        assert!(polling * 2 < not, "{polling}, {not}");
    }
}
