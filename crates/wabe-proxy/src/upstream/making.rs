//! Connections that many requests wait for while they are made, so that not each of them makes its own.

use std::{cell::Cell, rc::Rc, sync::Arc};

use tokio::sync::Notify;
use wabe_model::ConnectionPool;

use super::{Connection, NoConnection, Pool, Way};
use crate::{balance::Limits, failure::Failure};

/// One that is being made.
#[derive(Debug, Default)]
pub(super) struct Making {
    over: Notify,
    failed: Cell<Option<NoConnection>>,
}

impl Pool {
    /// A new one; or a place on one that another request of this worker's has had made meanwhile (and true).
    pub(super) async fn make_or_join(
        &self,
        way: Way,
        limits: &Arc<Limits>,
        terms: &ConnectionPool,
    ) -> Result<(Connection, bool), NoConnection> {
        loop {
            let Some(making) = self.making.borrow().get(&way).cloned() else { break };
            let over = making.over.notified();
            let _pending = limits.pending().map_err(|_| NoConnection::Failed(Failure::Overflow))?;
            over.await;
            // Else all would find out one after the other.
            if let Some(why) = making.failed.get() {
                return Err(why);
            }
            if let Some(connection) = self.used(way) {
                return Ok((connection, true));
            }
        }
        let maker = Maker::new(self, way);
        let made = self.make(way, limits, terms).await;
        maker.making.failed.set(made.as_ref().err().copied());
        made
    }
}

/// Who makes it. Others go on once it is dropped, also because its own request is over.
struct Maker<'a> {
    pool: &'a Pool,
    way: Way,
    making: Rc<Making>,
}

impl<'a> Maker<'a> {
    fn new(pool: &'a Pool, way: Way) -> Self {
        let making = Rc::<Making>::default();
        pool.making.borrow_mut().insert(way, Rc::clone(&making));
        Self { pool, way, making }
    }
}

impl Drop for Maker<'_> {
    fn drop(&mut self) {
        self.pool.making.borrow_mut().remove(&self.way);
        self.making.over.notify_waiters();
    }
}
