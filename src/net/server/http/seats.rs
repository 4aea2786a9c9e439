//! Who is connected to the HTTP port: a number of connections, of which the quiet ones give way.
//!
//! A connection is *quiet* from its beginning, or its last answer, until the head of a request has
//! come whole. Where all places are taken, a new connection takes that of a quiet one, which is ended:
//! of those that have never asked anything the one that has been quiet for longest, otherwise of all.
//! So whoever connects and says nothing keeps out nobody who asks. Only if all are being answered is
//! a new one turned away, which takes moments.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The places.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    inside: Mutex<Inside>,
    is_empty: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    /// Of a turn that a connection took, a number that no other has.
    turns: u64,
    by_number: HashMap<u64, Seated>,
}

#[derive(Debug)]
struct Seated {
    has_asked: bool,
    /// Since which turn it is quiet.
    quiet_since: Option<u64>,
    give_way: Arc<Notify>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    give_way: Arc<Notify>,
}

impl Seats {
    pub(super) fn new(most: usize) -> Arc<Seats> {
        Arc::new(Seats { most, inside: Mutex::default(), is_empty: Notify::new() })
    }

    /// A place for a new connection, if need be that of a quiet one; `None` if all are being answered.
    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let mut inside = self.inside.lock();
        if inside.by_number.len() >= self.most {
            let number = inside.quietest()?;
            let seated = inside.by_number.remove(&number).expect("found above");
            seated.give_way.notify_one();
        }
        let number = inside.turn();
        let give_way = Arc::new(Notify::new());
        let quiet_since = Some(number);
        let seated = Seated { has_asked: false, quiet_since, give_way: Arc::clone(&give_way) };
        inside.by_number.insert(number, seated);
        Some(Seat { seats: Arc::clone(self), number, give_way })
    }

    /// Waits until nobody has a place.
    pub(super) async fn emptied(&self) {
        loop {
            let empty = self.is_empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if self.inside.lock().by_number.is_empty() {
                return;
            }
            empty.await;
        }
    }
}

impl Inside {
    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn quietest(&self) -> Option<u64> {
        let quiet = self.by_number.iter().filter_map(|(number, seated)| {
            Some(((seated.has_asked, seated.quiet_since?), *number))
        });
        quiet.min().map(|(_, number)| number)
    }
}

impl Seat {
    /// The head of a request has come.
    pub(super) fn asks(&self) {
        if let Some(seated) = self.seats.inside.lock().by_number.get_mut(&self.number) {
            (seated.has_asked, seated.quiet_since) = (true, None);
        }
    }

    /// It has its answer.
    pub(super) fn is_answered(&self) {
        let mut inside = self.seats.inside.lock();
        let turn = inside.turn();
        if let Some(seated) = inside.by_number.get_mut(&self.number) {
            seated.quiet_since = Some(turn);
        }
    }

    /// Waits until somebody else has taken the place.
    pub(super) async fn gives_way(&self) {
        self.give_way.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = self.seats.inside.lock();
        inside.by_number.remove(&self.number);
        if inside.by_number.is_empty() {
            self.seats.is_empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_has_asked_nothing_for_longest_gives_way() {
        let seats = Seats::new(3);
        let [first, second, third] = std::array::from_fn(|_| seats.take().unwrap());
        first.asks();
        first.is_answered();
        second.asks();
        // 1. Of those that have asked nothing the first that came, then of all the one that waits.
        let fourth = seats.take().unwrap();
        third.gives_way().await;
        let _fifth = {
            fourth.asks();
            seats.take().unwrap()
        };
        first.gives_way().await;
        let sixth = seats.take().unwrap();
        sixth.asks();
        assert!(seats.take().is_none(), "all are being answered");
        // 2. A place that was given away is nobody's to give back.
        drop((first, third));
        assert!(seats.take().is_none());
        drop(sixth);
        let seventh = seats.take().unwrap();
        drop((second, fourth, seventh));
        seats.emptied().await;
    }
}
