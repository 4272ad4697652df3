//! Word of newer snapshots, for what lasts longer than one.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    mem,
    task::{Context, Poll, Waker},
};

use slab::Slab;

/// Who waits for word of a newer snapshot.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// How many there were.
    number: Cell<u64>,
    waiting: RefCell<Slab<Waker>>,
}

impl Told {
    /// There is another one.
    pub(super) fn tell(&self) {
        self.number.set(self.number.get() + 1);
        // Who still wants to know asks again.
        mem::take(&mut *self.waiting.borrow_mut()).into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Of those after this one.
    pub(super) fn news(&self) -> News<'_> {
        News { told: self, heard: Cell::new(self.number.get()), place: Cell::default() }
    }
}

/// Hears of each newer snapshot. One of a connection serves all its requests, so that each costs next to nothing: what came in
/// between is heard by the next that asks.
#[derive(Debug)]
pub(crate) struct News<'a> {
    told: &'a Told,
    heard: Cell<u64>,
    /// Where it waits since it heard last.
    place: Cell<Option<usize>>,
}

impl News<'_> {
    /// Completes once there is a newer one than it heard of. Can be dropped and called again.
    pub(crate) async fn changed(&self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let number = self.told.number.get();
        if self.heard.replace(number) != number {
            self.place.set(None);
            return Poll::Ready(());
        }
        let mut waiting = self.told.waiting.borrow_mut();
        match self.place.get() {
            Some(place) => waiting[place].clone_from(context.waker()),
            None => self.place.set(Some(waiting.insert(context.waker().clone()))),
        }
        Poll::Pending
    }
}

impl Drop for News<'_> {
    fn drop(&mut self) {
        // Places of before are gone.
        if let Some(place) = self.place.get()
            && self.heard.get() == self.told.number.get()
        {
            self.told.waiting.borrow_mut().remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn is_told(news: &News<'_>) -> bool {
        pin!(news.changed()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn each_newer_one_is_heard_of_once() {
        let told = Told::default();
        let (first, second) = (told.news(), told.news());
        assert!(!is_told(&first) && !is_told(&first) && !is_told(&second));
        assert_eq!(told.waiting.borrow().len(), 2);
        told.tell();
        let third = told.news();
        assert!(!is_told(&third));
        assert!(is_told(&first) && !is_told(&first));
        told.tell();
        told.tell();
        assert!(is_told(&first) && !is_told(&first), "once for both");
        assert!(is_told(&second));
    }

    #[test]
    fn who_goes_takes_nobody_elses_place() {
        let told = Told::default();
        let (first, second) = (told.news(), told.news());
        assert!(!is_told(&first));
        told.tell();
        assert!(is_told(&second) && !is_told(&second));
        // It waited at the same place before.
        drop(first);
        assert_eq!(told.waiting.borrow().len(), 1);
        drop(second);
        assert!(told.waiting.borrow().is_empty());
    }
}
