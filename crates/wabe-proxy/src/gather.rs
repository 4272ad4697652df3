//! What is written on connections of many streams: once all that is ready has been dealt with, so that requests and answers that come
//! close after each other leave together.

use std::{
    future::Future as _,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::task::yield_now;

use crate::locked::lock;

/// So many writes go at once after one that was held back in vain.
const DISCOURAGED: u32 = 15;

/// Holds back what is to be written on a connection.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    state: State,
    /// Writes that go at once before it is tried again.
    discouraged: u32,
    turn: Arc<Turn>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing is to be written.
    #[default]
    Empty,
    /// So many octets are, and more may join them.
    Waits(usize),
    /// It is being written.
    Leaves,
}

/// All tasks that are ready have run, and the kernel was asked for more.
#[derive(Debug, Default)]
struct Turn {
    is_over: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.is_over.store(true, Relaxed);
        if let Some(task) = lock(&self.task).take() {
            task.wake();
        }
    }
}

impl Gather {
    /// Ready once these octets are to be written: at once if no others are under way that could join them.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, octets: usize, are_many: bool) -> Poll<()> {
        match self.state {
            State::Empty if are_many && self.discouraged == 0 => {
                self.state = State::Waits(octets);
                self.turn.is_over.store(false, Relaxed);
                *lock(&self.turn.task) = Some(context.waker().clone());
                let waker = Waker::from(Arc::clone(&self.turn));
                return pin!(yield_now()).poll(&mut Context::from_waker(&waker));
            }
            State::Empty => self.discouraged = self.discouraged.saturating_sub(1),
            State::Waits(_) if !self.turn.is_over.load(Relaxed) => return Poll::Pending,
            State::Waits(before) if before == octets => self.discouraged = DISCOURAGED,
            State::Waits(_) | State::Leaves => {}
        }
        self.state = State::Leaves;
        Poll::Ready(())
    }

    /// All was written.
    pub(crate) fn flushed(&mut self) {
        self.state = State::Empty;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{runtime::Builder, task::LocalSet};

    use super::*;

    /// One writes; meanwhile another has so many octets join.
    async fn write(gather: &mut Gather, mut octets: usize, joins: usize, are_many: bool) -> usize {
        let mut joins = Some(joins);
        poll_fn(|context| {
            let poll = gather.poll(context, octets, are_many);
            octets += if poll.is_pending() { joins.take().unwrap_or_default() } else { 0 };
            poll
        })
        .await;
        gather.flushed();
        octets
    }

    fn in_a_worker(test: impl Future<Output = ()>) {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn what_joins_meanwhile_leaves_together() {
        in_a_worker(async {
            let mut gather = Gather::default();
            for _ in 0..3 {
                assert_eq!(write(&mut gather, 60, 40, true).await, 100);
            }
        });
    }

    #[test]
    fn one_alone_waits_for_nobody() {
        let mut gather = Gather::default();
        for _ in 0..3 {
            let mut context = Context::from_waker(Waker::noop());
            assert!(gather.poll(&mut context, 60, false).is_ready());
            gather.flushed();
        }
    }

    #[test]
    fn where_nothing_joins_it_is_tried_less_often() {
        in_a_worker(async {
            let mut gather = Gather::default();
            assert_eq!(write(&mut gather, 60, 0, true).await, 60);
            for _ in 0..DISCOURAGED {
                // Nothing could join what goes at once.
                assert_eq!(write(&mut gather, 60, 40, true).await, 60);
            }
            assert_eq!(write(&mut gather, 60, 40, true).await, 100);
            assert_eq!(write(&mut gather, 60, 40, true).await, 100);
        });
    }

    #[test]
    fn neither_a_look_in_between_nor_a_part_that_is_written_ends_the_turn() {
        in_a_worker(async {
            let mut gather = Gather::default();
            poll_fn(|context| {
                assert!(gather.poll(context, 60, true).is_pending());
                assert!(gather.poll(context, 70, true).is_pending());
                Poll::Ready(())
            })
            .await;
            yield_now().await;
            let mut context = Context::from_waker(Waker::noop());
            // The second time it is what the socket had no room for.
            for left in [70, 30] {
                assert!(gather.poll(&mut context, left, true).is_ready());
            }
        });
    }
}
