//! Watched watermarks: the newest are told, at most so often, under credit.
//!
//! Nothing is queued: who is slow is told where they are when he comes round to it, and how many
//! times he was passed over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use super::flight::{AtTime, Flight, What};
use super::pooled::deadline;
use crate::net::proto::{Kind, Marks, MarksEvent, Packet, Response, WatchWatermarks};

/// A client that watches the watermarks.
#[derive(Debug)]
pub(super) struct MarksWatch {
    credit: u32,
    min_interval: Duration,
    last: Option<(Instant, Marks)>,
    skipped: u64,
    /// The request's own deadline.
    deadline: Option<Instant>,
}

impl MarksWatch {
    pub(super) fn add_credit(&mut self, more: u32) {
        self.credit = self.credit.saturating_add(more);
    }
}

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
        let begun = MarksWatch {
            credit: watch.credit,
            min_interval: Duration::from_millis(u64::from(watch.min_interval_ms)),
            last: None,
            skipped: 0,
            deadline: deadline(packet, now),
        };
        let what = What::Marks(Box::new(begun));
        self.launch(id, Flight { kind: Kind::WatchWatermarks, until: None, what });
        self.shared.tide.watch(Arc::downgrade(&self.mailbox));
        self.push_marks(id, now);
    }

    /// The watermarks have moved: every watch of them is told, or passed over.
    pub(super) fn marks_moved(&mut self, now: Instant) {
        let watches = self.flights.iter_mut().filter_map(|(id, flight)| match &mut flight.what {
            What::Marks(marks) => Some((*id, marks)),
            _ => None,
        });
        let mut ids = Vec::new();
        for (id, watch) in watches {
            if watch.credit == 0 {
                watch.skipped += 1;
            } else {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        for &id in &ids {
            self.push_marks(id, now);
        }
        if self.flights.values().any(|flight| matches!(flight.what, What::Marks(_))) {
            self.shared.tide.watch(Arc::downgrade(&self.mailbox));
        }
    }

    /// Tells the watermarks if they are not where they were, there is credit, and it is time.
    pub(super) fn push_marks(&mut self, id: u64, now: Instant) {
        let marks = self.shared.service.marks();
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let What::Marks(watch) = &mut flight.what else { return };
        let deadline = watch.deadline.map(|at| (at, AtTime::Fail));
        if deadline.is_some_and(|(at, _)| at <= now) {
            return self.give_up(
                id,
                crate::net::proto::Code::DeadlineExceeded,
                "the deadline has passed",
            );
        }
        let is_news = watch.last.is_none_or(|(_, last)| last != marks);
        let due = watch.last.map_or(now, |(at, _)| at + watch.min_interval);
        if !is_news || watch.credit == 0 {
            return self.set_until(id, deadline);
        }
        if due > now {
            let push = Some((due, AtTime::Push));
            let until = deadline.filter(|(at, _)| *at < due).or(push);
            return self.set_until(id, until);
        }
        watch.credit -= 1;
        watch.last = Some((now, marks));
        let event = MarksEvent { marks, skipped: watch.skipped };
        self.set_until(id, deadline);
        self.reply(id).push(&Response::MarksEvent(event));
    }
}
