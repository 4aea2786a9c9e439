//! The server's counters. `figures` renders them.
//!
//! A connection counts for itself (`tally`) and adds to these counters once per turn, so that
//! connections on different processors do not contend on every request.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use super::tally::{KINDS, RequestClass, Tally};
use crate::engine::base::durations::{DurationCounter, Durations};
use crate::net::proto::{Code, Kind};

#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) accepted: Counter,
    pub(crate) logins_failed: Counter,
    pub(crate) open: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    /// Answers that were deferred or refused for want of memory.
    pub(crate) held_back: Counter,
    pub(super) failures: Family<CodeLabel, Counter>,
    pub(super) endings: Family<CodeLabel, Counter>,
    /// By the number of the kind.
    requests: Box<[AtomicU64]>,
    /// By the number of the class.
    latencies: Box<[DurationCounter]>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct CodeLabel {
    code: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            accepted: Counter::default(),
            logins_failed: Counter::default(),
            open: Gauge::default(),
            in_flight: Gauge::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            held_back: Counter::default(),
            failures: Family::default(),
            endings: Family::default(),
            requests: (0..KINDS).map(|_| AtomicU64::new(0)).collect(),
            latencies: (0..RequestClass::COUNT).map(|_| DurationCounter::default()).collect(),
        }
    }
}

impl Metrics {
    /// Adds the counts of a connection, and resets them.
    pub(crate) fn add(&self, tally: &mut Tally) {
        if tally.in_flight != 0 {
            self.in_flight.inc_by(std::mem::take(&mut tally.in_flight));
        }
        if tally.bytes_in > 0 {
            self.bytes_in.inc_by(std::mem::take(&mut tally.bytes_in));
        }
        if tally.bytes_out > 0 {
            self.bytes_out.inc_by(std::mem::take(&mut tally.bytes_out));
        }
        if !tally.has_counted() {
            return;
        }
        tally.take_requests(|kind, count| {
            self.requests[kind].fetch_add(count, Ordering::Relaxed);
        });
        tally.take_failures(|code| {
            self.failures.get_or_create(&CodeLabel { code: code.name() }).inc();
        });
        tally.take_latencies(Instant::now(), |class, duration, count| {
            self.latencies[class.number()].add_many(duration, count);
        });
    }

    /// A connection was ended by the server.
    pub(crate) fn ended(&self, code: Code) {
        self.endings.get_or_create(&CodeLabel { code: code.name() }).inc();
    }

    /// Requests received, by kind.
    pub(super) fn requests(
        &self,
    ) -> impl Iterator<Item = (Vec<(&'static str, &'static str)>, u64)> {
        self.requests.iter().enumerate().filter_map(|(number, count)| {
            let count = count.load(Ordering::Relaxed);
            let kind = Kind::from_number(number as u8).map_or("Unknown", Kind::name);
            (count > 0).then(|| (vec![("kind", kind)], count))
        })
    }

    /// Latencies of requests, by kind and mode.
    pub(super) fn latencies(
        &self,
    ) -> impl Iterator<Item = (Vec<(&'static str, &'static str)>, Durations)> {
        RequestClass::all().filter_map(|class| {
            let durations = self.latencies[class.number()].read();
            let labels = || vec![("kind", class.kind()), ("mode", class.mode())];
            (durations.count() > 0).then(|| (labels(), durations))
        })
    }
}
