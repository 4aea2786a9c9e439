//! What clients have sent and not finished, of all connections together: a cap on memory.
//!
//! A packet has to be whole before anything is done, and may be 16 MiB long. Without a cap a few
//! hundred clients that begin one and go away would take all the memory that there is.
//!
//! - INPUT-1 Before more than [`FREE`] bytes of a packet are read, room is claimed for all of it, at the
//!   length that its header says. So whoever has begun can finish, and no two wait for each other.
//! - INPUT-2 Where there is no room the connection is not read, and has its place in a queue. Room goes to
//!   the first in the queue, however much it needs. One claim is granted if nothing else is held.
//! - INPUT-3 Up to [`FREE`] bytes of each connection are read in any case, so that short requests go on. They
//!   count as well.
//! - INPUT-4 While somebody waits, a connection that holds more than that and has sent nothing for a while is
//!   ended (`TooSlow`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Bytes of a packet that need no claim.
pub(crate) const FREE: usize = 4 << 10;

/// The room: `held` may be above `cap` by what is free of claims, and by one claim.
#[derive(Debug)]
pub(crate) struct Room {
    cap: usize,
    held: AtomicUsize,
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    places: BTreeMap<u64, Waker>,
}

/// What one connection holds of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    room: Arc<Room>,
    bytes: usize,
    place: Option<u64>,
}

impl Room {
    pub(crate) fn new(cap: usize) -> Arc<Room> {
        let (held, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Room { cap, held, waiting, queue: Mutex::default() })
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// Whether somebody waits.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.held() >= self.cap
    }

    fn wake_first(&self) {
        if self.is_wanted()
            && let Some(first) = self.queue.lock().places.first_entry()
        {
            first.get().wake_by_ref();
        }
    }
}

impl Claim {
    pub(crate) fn new(room: &Arc<Room>) -> Claim {
        Claim { room: Arc::clone(room), bytes: 0, place: None }
    }

    /// Holds so much, whatever there is. What is claimed and not yet used stays.
    #[inline]
    pub(crate) fn count(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.room.held.fetch_add(bytes - self.bytes, Ordering::SeqCst);
            self.bytes = bytes;
        }
    }

    /// Gives back all but so much.
    #[inline]
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.room.held.fetch_sub(self.bytes - bytes, Ordering::SeqCst);
            self.bytes = bytes;
            self.room.wake_first();
        }
    }

    /// `Ready` once it holds so much (INPUT-2).
    pub(crate) fn poll_claim(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        if bytes <= self.bytes {
            self.leave();
            return Poll::Ready(());
        }
        if self.place.is_none() && !self.room.is_wanted() && self.try_grow(bytes) {
            return Poll::Ready(());
        }
        let is_first = {
            let mut queue = self.room.queue.lock();
            let place = *self.place.get_or_insert_with(|| {
                queue.next += 1;
                self.room.waiting.fetch_add(1, Ordering::SeqCst);
                queue.next
            });
            queue.places.insert(place, cx.waker().clone());
            queue.places.first_key_value().is_some_and(|(first, _)| *first == place)
        };
        // Room that was given back before the place was taken woke nobody.
        if is_first && self.try_grow(bytes) {
            self.leave();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.place.is_some()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn try_grow(&mut self, bytes: usize) -> bool {
        let more = bytes - self.bytes;
        let grown = self.room.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |held| {
            (held + more <= self.room.cap || held == self.bytes).then_some(held + more)
        });
        if grown.is_ok() {
            self.bytes = bytes;
        }
        grown.is_ok()
    }

    /// Leaves the queue, in which it is the next one's turn.
    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            self.room.queue.lock().places.remove(&place);
            self.room.waiting.fetch_sub(1, Ordering::SeqCst);
            self.room.wake_first();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.leave();
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(claim: &mut Claim, bytes: usize) -> bool {
        claim.poll_claim(bytes, &mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn room_goes_to_the_first_in_the_queue() {
        let room = Room::new(100);
        let [mut one, mut two, mut three] = [(); 3].map(|()| Claim::new(&room));
        assert!(poll(&mut one, 90) && !poll(&mut two, 80) && room.is_wanted());
        assert!(!poll(&mut three, 5), "there is room, but it is not its turn");
        one.shrink(10);
        assert!(!poll(&mut three, 5) && poll(&mut two, 80) && poll(&mut three, 5));
        assert!(!room.is_wanted());
        one.count(40);
        assert_eq!(
            (room.held(), room.is_full()),
            (125, true),
            "what is not claimed counts as well"
        );
        drop((one, two, three));
        assert_eq!(room.held(), 0);
    }

    #[test]
    fn a_claim_above_the_cap_is_granted_alone_and_who_goes_lets_the_next_in() {
        let room = Room::new(100);
        let [mut one, mut two, mut three] = [(); 3].map(|()| Claim::new(&room));
        assert!(poll(&mut one, 10) && !poll(&mut two, 500) && !poll(&mut three, 50));
        drop(two);
        assert!(poll(&mut three, 50));
        drop(three);
        assert!(poll(&mut one, 500), "nobody else holds anything");
    }
}
