//! Watched watermarks: the newest are sent, at most once per interval, under credit.
//!
//! Nothing is queued. A slow client gets the newest watermarks when it gives credit again, and the
//! number of changes that it missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::flight::{Awaits, Flight, OnTime};
use super::session::Session;
use super::subscription::MarksWatch;
use super::time::deadline;
use crate::net::proto::{Kind, MarksEvent, Packet, Response, WatchWatermarks};

impl Session {
    pub(super) fn watch_marks(
        &mut self,
        packet: &Packet<'_>,
        watch: &WatchWatermarks,
        now: Instant,
    ) {
        let id = packet.head.id;
        if let Err(failure) = self.admit_subscription() {
            return self.refuse(id, failure);
        }
        let watch = MarksWatch {
            credit: watch.credit,
            min_interval: Duration::from_millis(u64::from(watch.min_interval_ms)),
            last: None,
            skipped: 0,
            deadline: deadline(packet, now),
        };
        let awaits = Awaits::MarksWatch(Box::new(watch));
        self.launch(id, Flight { kind: Kind::WatchWatermarks, until: None, awaits });
        self.await_next_marks();
        self.push_marks(id, now);
    }

    /// Has this connection told of the next change.
    fn await_next_marks(&self) {
        self.context.shared.watermarks.watch(Arc::downgrade(&self.context.mailbox));
    }

    /// The watermarks have moved: each watch with credit gets an event, each other one skips it.
    pub(super) fn marks_moved(&mut self, now: Instant) {
        let mut ids = Vec::new();
        for (id, flight) in self.flights.iter_mut() {
            match &mut flight.awaits {
                Awaits::MarksWatch(watch) if watch.credit == 0 => watch.skipped += 1,
                Awaits::MarksWatch(_) => ids.push(id),
                _ => {}
            }
        }
        ids.sort_unstable();
        for id in ids {
            self.push_marks(id, now);
        }
        let is_watch = |awaits: &Awaits| matches!(awaits, Awaits::MarksWatch(_));
        if self.flights.has(is_watch) {
            self.await_next_marks();
        }
    }

    /// Sends the watermarks if they changed since the last time, there is credit, and the interval
    /// is over.
    pub(super) fn push_marks(&mut self, id: u64, now: Instant) {
        let marks = self.context.shared.service.marks();
        let Some(flight) = self.flights.get_mut(id) else { return };
        let Awaits::MarksWatch(watch) = &mut flight.awaits else { return };
        let deadline = watch.deadline.map(|at| (at, OnTime::Fail));
        if deadline.is_some_and(|(at, _)| at <= now) {
            return self.deadline_passed(id);
        }
        let is_news = watch.last.is_none_or(|(_, last)| last != marks);
        let due = watch.last.map_or(now, |(at, _)| at + watch.min_interval);
        if !is_news || watch.credit == 0 {
            return self.flights.set_until(id, deadline);
        }
        if due > now {
            let push = Some((due, OnTime::Push));
            let until = deadline.filter(|(at, _)| *at < due).or(push);
            return self.flights.set_until(id, until);
        }
        watch.credit -= 1;
        watch.last = Some((now, marks));
        let event = MarksEvent { marks, skipped: watch.skipped };
        self.flights.set_until(id, deadline);
        self.reply(id).push(&Response::MarksEvent(event));
    }
}
