//! The slots for HTTP connections: a fixed number, with eviction of idle connections.
//!
//! A connection is *idle* from its start, or its last answer, until the whole head of a request has
//! come. If all slots are taken, a new connection evicts an idle one. The victim is the longest idle
//! among those that have never sent a request, or else among all. So a client that connects and sends
//! nothing keeps no other client out. A new connection is turned away only if all others are being
//! answered, which takes moments.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct ConnectionSlots {
    most: usize,
    table: Mutex<SlotTable>,
    is_empty: Notify,
}

#[derive(Debug, Default)]
struct SlotTable {
    /// A logical clock: the last value of `tick`.
    ticks: u64,
    by_number: HashMap<u64, SlotState>,
}

#[derive(Debug)]
struct SlotState {
    has_asked: bool,
    /// The tick since which it is idle.
    idle_since: Option<u64>,
    evict: Arc<Notify>,
}

/// The slot of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    number: u64,
    evict: Arc<Notify>,
}

impl ConnectionSlots {
    pub(super) fn new(most: usize) -> Arc<ConnectionSlots> {
        Arc::new(ConnectionSlots { most, table: Mutex::default(), is_empty: Notify::new() })
    }

    /// A slot for a new connection, if need be that of an idle one; `None` if all are being answered.
    pub(super) fn take(self: &Arc<Self>) -> Option<ConnectionSlot> {
        let mut table = self.table.lock();
        if table.by_number.len() >= self.most {
            let number = table.longest_idle()?;
            let slot = table.by_number.remove(&number).expect("found above");
            slot.evict.notify_one();
        }
        let number = table.tick();
        let evict = Arc::new(Notify::new());
        let idle_since = Some(number);
        let slot = SlotState { has_asked: false, idle_since, evict: Arc::clone(&evict) };
        table.by_number.insert(number, slot);
        Some(ConnectionSlot { slots: Arc::clone(self), number, evict })
    }

    /// Waits until all slots are free.
    pub(super) async fn emptied(&self) {
        loop {
            let empty = self.is_empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if self.table.lock().by_number.is_empty() {
                return;
            }
            empty.await;
        }
    }
}

impl SlotTable {
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    fn longest_idle(&self) -> Option<u64> {
        let quiet = self
            .by_number
            .iter()
            .filter_map(|(number, slot)| Some(((slot.has_asked, slot.idle_since?), *number)));
        quiet.min().map(|(_, number)| number)
    }
}

impl ConnectionSlot {
    /// The head of a request has come.
    pub(super) fn begin_request(&self) {
        if let Some(slot) = self.slots.table.lock().by_number.get_mut(&self.number) {
            (slot.has_asked, slot.idle_since) = (true, None);
        }
    }

    pub(super) fn end_request(&self) {
        let mut table = self.slots.table.lock();
        let turn = table.tick();
        if let Some(slot) = table.by_number.get_mut(&self.number) {
            slot.idle_since = Some(turn);
        }
    }

    /// Waits until another connection has taken this slot.
    pub(super) async fn evicted(&self) {
        self.evict.notified().await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut table = self.slots.table.lock();
        table.by_number.remove(&self.number);
        if table.by_number.is_empty() {
            self.slots.is_empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_connection_without_a_request_is_evicted() {
        let slots = ConnectionSlots::new(3);
        let [first, second, third] = std::array::from_fn(|_| slots.take().unwrap());
        first.begin_request();
        first.end_request();
        second.begin_request();
        // 1. First the oldest one without a request, then the only idle one.
        let fourth = slots.take().unwrap();
        third.evicted().await;
        let _fifth = {
            fourth.begin_request();
            slots.take().unwrap()
        };
        first.evicted().await;
        let sixth = slots.take().unwrap();
        sixth.begin_request();
        assert!(slots.take().is_none(), "all are being answered");
        // 2. To drop an evicted connection frees no slot.
        drop((first, third));
        assert!(slots.take().is_none());
        drop(sixth);
        let seventh = slots.take().unwrap();
        drop((second, fourth, seventh));
        slots.emptied().await;
    }
}
