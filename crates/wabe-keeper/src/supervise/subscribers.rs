//! Who hears what happens.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::protocol::{Event, EventKind, InstanceState};

/// Events that a subscriber may be behind. One that is slower is dropped: it subscribes again, and gets the state.
const BEHIND: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct Subscribers {
    sequence: u64,
    all: Vec<(u64, SyncSender<Event>)>,
}

impl Subscribers {
    /// Adds a client; what it receives begins with how things are.
    pub(super) fn add(&mut self, client: u64, state: Vec<InstanceState>) -> Receiver<Event> {
        let (sender, receiver) = sync_channel(BEHIND);
        let first = Event { sequence: self.sequence, kind: EventKind::State(state) };
        sender.try_send(first).expect("invariant: a new channel has room");
        self.all.push((client, sender));
        receiver
    }

    /// Forgets a client.
    pub(super) fn remove(&mut self, client: u64) {
        self.all.retain(|(it, _)| *it != client);
    }

    /// Tells everybody.
    pub(super) fn tell(&mut self, kind: EventKind) {
        self.sequence += 1;
        let event = Event { sequence: self.sequence, kind };
        self.all.retain(|(_, sender)| sender.try_send(event.clone()).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_subscriber_knows_where_it_joined() {
        let mut subscribers = Subscribers::default();
        subscribers.tell(EventKind::Ready { id: 1 });
        let events = subscribers.add(1, Vec::new());
        subscribers.tell(EventKind::Ready { id: 2 });
        let heard: Vec<_> = events.try_iter().collect();
        assert_eq!(heard[0], Event { sequence: 1, kind: EventKind::State(Vec::new()) });
        assert_eq!(heard[1], Event { sequence: 2, kind: EventKind::Ready { id: 2 } });
    }

    #[test]
    fn one_that_does_not_listen_is_dropped_and_holds_up_nobody() {
        let mut subscribers = Subscribers::default();
        let sleeper = subscribers.add(1, Vec::new());
        for _ in 0..2 * BEHIND {
            subscribers.tell(EventKind::Ready { id: 1 });
        }
        assert!(subscribers.all.is_empty());
        assert_eq!(sleeper.iter().count(), BEHIND);
    }

    #[test]
    fn one_that_left_is_forgotten() {
        let mut subscribers = Subscribers::default();
        let events = subscribers.add(1, Vec::new());
        subscribers.remove(1);
        subscribers.tell(EventKind::Ready { id: 1 });
        assert_eq!(events.iter().count(), 1);
    }
}
