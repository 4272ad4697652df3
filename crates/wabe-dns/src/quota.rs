//! A limit that one client alone can't use up.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::IpAddr,
    rc::Rc,
};

/// How much may be under way at a time.
#[derive(Debug)]
pub(crate) struct Quota {
    total: usize,
    per_client: usize,
    used: Cell<usize>,
    by_client: RefCell<HashMap<IpAddr, usize>>,
}

/// One thing under way; over when dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Permit {
    quota: Rc<Quota>,
    client: IpAddr,
}

impl Quota {
    /// `total` for all clients together, `per_client` for each.
    pub(crate) fn new(total: usize, per_client: usize) -> Rc<Self> {
        Rc::new(Self { total, per_client, used: Cell::new(0), by_client: RefCell::default() })
    }

    /// One more for `client`, if it may.
    pub(crate) fn acquire(self: &Rc<Self>, client: IpAddr) -> Option<Permit> {
        let mut by_client = self.by_client.borrow_mut();
        let used = by_client.get(&client).copied().unwrap_or(0);
        if self.used.get() >= self.total || used >= self.per_client {
            return None;
        }
        by_client.insert(client, used + 1);
        self.used.set(self.used.get() + 1);
        Some(Permit { quota: Rc::clone(self), client })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut by_client = self.quota.by_client.borrow_mut();
        self.quota.used.set(self.quota.used.get() - 1);
        let left = by_client.get(&self.client).map_or(0, |used| used - 1);
        if left == 0 {
            by_client.remove(&self.client);
        } else {
            by_client.insert(self.client, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_each_client_and_all_together() {
        let quota = Quota::new(3, 2);
        let [a, b, c] = [1, 2, 3].map(|n| IpAddr::from([192, 0, 2, n]));
        let first = quota.acquire(a).expect("first");
        let _second = quota.acquire(a).expect("second");
        assert!(quota.acquire(a).is_none());
        let _third = quota.acquire(b).expect("third");
        assert!(quota.acquire(c).is_none());
        drop(first);
        let _fourth = quota.acquire(c).expect("free again");
        assert!(quota.acquire(a).is_none());
        assert_eq!(quota.by_client.borrow().len(), 3);
    }

    #[test]
    fn forgets_clients_that_use_nothing() {
        let quota = Quota::new(3, 2);
        drop(quota.acquire(IpAddr::from([192, 0, 2, 1])));
        assert!(quota.by_client.borrow().is_empty());
        assert_eq!(quota.used.get(), 0);
    }
}
