//! The table of flights, with their deadlines.
//!
//! - SESSION-1 a request has one last answer: [`Flights::land`] is the only way out of the table;
//! - SESSION-2 an answer from the pool is for one flight only (its ticket), also when the client has
//!   used the id again meanwhile.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use super::flight::{Awaits, Flight, OnTime};

/// The flights of one connection, by the ids of their requests.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_id: HashMap<u64, Flight>,
    deadlines: BTreeSet<(Instant, u64)>,
    subscriptions: usize,
    next_ticket: u64,
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many of them are watches and streams.
    #[inline]
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        !self.by_id.is_empty() && self.by_id.contains_key(&id)
    }

    pub(super) fn get(&self, id: u64) -> Option<&Flight> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Flight> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Flight)> {
        self.by_id.iter_mut().map(|(id, flight)| (*id, flight))
    }

    /// Whether `picks` picks one of them.
    pub(super) fn has(&self, picks: impl Fn(&Awaits) -> bool) -> bool {
        self.by_id.values().any(|flight| picks(&flight.awaits))
    }

    /// The ids of those that `picks` picks, in ascending order.
    pub(super) fn ids_of(&self, picks: impl Fn(&Awaits) -> bool) -> Vec<u64> {
        let picked = self.by_id.iter().filter(|(_, flight)| picks(&flight.awaits));
        let mut ids: Vec<u64> = picked.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// A ticket that no flight had before (SESSION-2).
    pub(super) fn new_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Whether this id is that of the flight in the pool that has this ticket.
    pub(super) fn is_pooled(&self, id: u64, ticket: u64) -> bool {
        matches!(
            self.by_id.get(&id),
            Some(Flight { awaits: Awaits::Pool(pooled), .. }) if pooled.ticket == ticket
        )
    }

    /// Enters a request.
    pub(super) fn launch(&mut self, id: u64, flight: Flight) {
        if let Some((at, _)) = flight.until {
            self.deadlines.insert((at, id));
        }
        self.subscriptions += usize::from(flight.awaits.is_subscription());
        let before = self.by_id.insert(id, flight);
        assert!(before.is_none(), "ids in flight are checked when a request comes");
    }

    /// Takes a request out (SESSION-1). The caller sends its last answer.
    pub(super) fn land(&mut self, id: u64) -> Option<Flight> {
        let flight = self.by_id.remove(&id)?;
        if let Some((at, _)) = flight.until {
            self.deadlines.remove(&(at, id));
        }
        self.subscriptions -= usize::from(flight.awaits.is_subscription());
        Some(flight)
    }

    /// Gives a flight another time to end at, or none.
    pub(super) fn set_until(&mut self, id: u64, until: Option<(Instant, OnTime)>) {
        let Some(flight) = self.by_id.get_mut(&id) else { return };
        if let Some((at, _)) = std::mem::replace(&mut flight.until, until) {
            self.deadlines.remove(&(at, id));
        }
        if let Some((at, _)) = until {
            self.deadlines.insert((at, id));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A flight whose time has come; that time is taken from it.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<(u64, OnTime)> {
        let &(at, id) = self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.deadlines.pop_first();
        let flight = self.by_id.get_mut(&id).expect("a deadline belongs to a flight");
        let (_, on_time) = flight.until.take().expect("a deadline has its reason");
        Some((id, on_time))
    }
}
