//! How much of a backend may be in use at a time: connections, requests, those that wait, retries.
//!
//! Whoever begins something takes a [`Permit`] and drops it at the end. What is too much is refused at once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::{Notify, futures::Notified};
use wabe_model::{self as model, ConnectionPool};

use super::retry_budget::RetryBudget;
use crate::locked::lock;

/// A backend's counters and limits, for all workers together.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    connections: Counter,
    pending: Counter,
    requests: Counter,
    retries: Counter,
    /// Of the rule: over `retries`.
    share: Mutex<Option<model::RetryBudget>>,
    /// Unless the rule says anything of retries.
    budget: Mutex<RetryBudget>,
    freed: Notify,
}

/// How much there is, and may be.
#[derive(Debug)]
struct Counter {
    count: AtomicU32,
    most: AtomicU64,
}

/// More than can be counted.
const NO_LIMIT: u64 = u64::MAX;

impl Default for Counter {
    fn default() -> Self {
        Self { count: AtomicU32::new(0), most: AtomicU64::new(NO_LIMIT) }
    }
}

impl Counter {
    fn limit(&self, most: Option<u32>) {
        self.most.store(most.map_or(NO_LIMIT, u64::from), Ordering::Relaxed);
    }

    fn has_limit(&self) -> bool {
        self.most.load(Ordering::Relaxed) != NO_LIMIT
    }

    /// One more, if there may be.
    fn take(&self) -> bool {
        self.take_of(self.most.load(Ordering::Relaxed))
    }

    /// One more, if there are fewer than this.
    fn take_of(&self, most: u64) -> bool {
        if most == NO_LIMIT {
            self.count.fetch_add(1, Ordering::SeqCst);
            return true;
        }
        let more = |count| (u64::from(count) < most).then_some(count + 1);
        self.count.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more).is_ok()
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// `tcp.maxConnections`.
    Connections,
    /// `http.http1MaxPendingRequests`.
    Pending,
    /// `http.http2MaxRequests`.
    Requests,
    /// `http.maxRetries`, or a budget of retries.
    Retries,
}

/// Leave to use something until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Permit {
    limits: Arc<Limits>,
    what: Overflow,
}

impl Limits {
    pub(crate) fn set(&self, pool: &ConnectionPool) {
        self.connections.limit(pool.connections);
        self.pending.limit(pool.pending);
        self.requests.limit(pool.requests);
        self.retries.limit(pool.retries);
        *lock(&self.share) = pool.retry_budget;
        // A higher limit may be what somebody waits for.
        self.freed.notify_waiters();
    }

    /// A request begins, the first try of it: also what retries are measured by.
    ///
    /// # Errors
    /// [`Overflow::Requests`].
    pub(crate) fn request(self: &Arc<Self>, now: Instant) -> Result<Permit, Overflow> {
        let permit = self.take(Overflow::Requests)?;
        lock(&self.budget).deposit(now);
        Ok(permit)
    }

    /// A connection is about to be made.
    ///
    /// # Errors
    /// [`Overflow::Connections`]: use an idle one, or wait for one with [`Self::pending`] and [`Self::freed`].
    pub(crate) fn connection(self: &Arc<Self>) -> Result<Permit, Overflow> {
        self.take(Overflow::Connections)
    }

    /// A request is about to wait for a connection.
    ///
    /// # Errors
    /// [`Overflow::Pending`]: answer it at once.
    pub(crate) fn pending(self: &Arc<Self>) -> Result<Permit, Overflow> {
        self.take(Overflow::Pending)
    }

    /// A try beyond a request's first.
    ///
    /// # Errors
    /// [`Overflow::Retries`].
    pub(crate) fn retry(self: &Arc<Self>, now: Instant) -> Result<Permit, Overflow> {
        if let Some(share) = *lock(&self.share) {
            let requests = u64::from(self.in_use(Overflow::Requests));
            let most = (requests * u64::from(share.percent) / 100).max(share.least.into());
            let permit = || Permit { limits: Arc::clone(self), what: Overflow::Retries };
            return self.retries.take_of(most).then(permit).ok_or(Overflow::Retries);
        }
        if !self.retries.has_limit() && !lock(&self.budget).withdraw(now) {
            return Err(Overflow::Retries);
        }
        self.take(Overflow::Retries)
    }

    /// Completes once a connection ended, or [`Self::returned`] or [`Self::share`] was called: look again then. One waiter is woken
    /// each time, of whichever worker; by the last all are. What happens before it is enabled or polled may be missed.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// A connection is idle again, or has room for one more request.
    pub(crate) fn returned(&self) {
        self.freed.notify_one();
    }

    /// A connection has room for many more requests.
    pub(crate) fn share(&self) {
        self.freed.notify_waiters();
    }

    /// How many are in use.
    pub(crate) fn in_use(&self, what: Overflow) -> u32 {
        self.counter(what).count.load(Ordering::Relaxed)
    }

    fn take(self: &Arc<Self>, what: Overflow) -> Result<Permit, Overflow> {
        if !self.counter(what).take() {
            return Err(what);
        }
        Ok(Permit { limits: Arc::clone(self), what })
    }

    fn counter(&self, what: Overflow) -> &Counter {
        match what {
            Overflow::Connections => &self.connections,
            Overflow::Pending => &self.pending,
            Overflow::Requests => &self.requests,
            Overflow::Retries => &self.retries,
        }
    }
}

impl Permit {
    /// See [`Limits::returned`].
    pub(crate) fn returned(&self) {
        self.limits.returned();
    }

    /// Where it counts.
    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits.counter(self.what).count.fetch_sub(1, Ordering::SeqCst);
        match self.what {
            Overflow::Connections => self.limits.freed.notify_one(),
            Overflow::Pending | Overflow::Requests | Overflow::Retries => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn limits(pool: ConnectionPool) -> Arc<Limits> {
        let limits = Arc::new(Limits::default());
        limits.set(&pool);
        limits
    }

    #[test]
    fn what_is_too_much_is_refused_until_something_ends() {
        let pool = ConnectionPool {
            connections: Some(2),
            pending: Some(2),
            requests: Some(2),
            retries: Some(2),
            ..ConnectionPool::default()
        };
        let (limits, now) = (limits(pool), Instant::now());
        for what in [Overflow::Connections, Overflow::Pending, Overflow::Requests, Overflow::Retries] {
            let take = || match what {
                Overflow::Connections => limits.connection(),
                Overflow::Pending => limits.pending(),
                Overflow::Requests => limits.request(now),
                Overflow::Retries => limits.retry(now),
            };
            let (one, two) = (take().expect("the first"), take().expect("the second"));
            assert_eq!(take().expect_err("the third"), what);
            assert_eq!(limits.in_use(what), 2);
            drop(one);
            let three = take().expect("there is room again");
            assert!(take().is_err());
            drop((two, three));
            assert_eq!(limits.in_use(what), 0);
        }
    }

    #[test]
    fn without_limits_only_retries_are_few() {
        let (limits, now) = (limits(ConnectionPool::default()), Instant::now());
        let all: Vec<_> = (0..1000).map(|_| (limits.connection(), limits.request(now))).collect();
        assert!(all.iter().all(|(connection, request)| connection.is_ok() && request.is_ok()));
        let retries: Vec<_> = (0..1000).map_while(|_| limits.retry(now).ok()).collect();
        assert_eq!(retries.len(), 300, "20 % of 1000, and ten for each of ten seconds");
    }

    #[test]
    fn a_share_of_the_requests_under_way_may_be_retries() {
        let budget = |percent, least| ConnectionPool {
            // The budget is over it.
            retries: Some(1),
            retry_budget: Some(model::RetryBudget { percent, least }),
            ..ConnectionPool::default()
        };
        let (limits, now) = (limits(budget(25, 2)), Instant::now());
        for (requests, retries) in [(0, 2), (8, 2), (40, 10), (43, 10)] {
            let requests: Vec<_> = (0..requests).map(|_| limits.request(now).expect("no limit")).collect();
            let granted: Vec<_> = (0..100).map_while(|_| limits.retry(now).ok()).collect();
            assert_eq!(granted.len(), retries, "of {} requests", requests.len());
        }
        limits.set(&budget(0, 0));
        let _request = limits.request(now).expect("no limit");
        assert_eq!(limits.retry(now).expect_err("none"), Overflow::Retries);
    }

    #[test]
    fn a_lower_limit_holds_for_what_comes() {
        let (limits, now) = (limits(ConnectionPool::default()), Instant::now());
        let mut held: Vec<_> = (0..3).map(|_| limits.request(now).expect("no limit")).collect();
        limits.set(&ConnectionPool { requests: Some(2), ..ConnectionPool::default() });
        assert!(limits.request(now).is_err());
        held.truncate(1);
        assert!(limits.request(now).is_ok());
    }

    #[test]
    fn who_waits_is_woken_by_an_end_or_a_return() {
        let limits = limits(ConnectionPool { connections: Some(1), ..ConnectionPool::default() });
        let mut context = Context::from_waker(Waker::noop());
        let held = limits.connection().expect("the first");
        let mut waiting = pin!(limits.freed());
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Pending);
        drop(held);
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(()));
        let mut waiting = pin!(limits.freed());
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Pending);
        limits.returned();
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(()));
        // Whoever comes a moment later must not sleep through it.
        limits.returned();
        assert_eq!(pin!(limits.freed()).poll(&mut context), Poll::Ready(()));
    }
}
