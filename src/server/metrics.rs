//! What the server counts, as Prometheus wants to read it.
//!
//! A connection counts for itself and adds to the common figures once a turn, so that connections
//! on different processors do not contend for each request.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::shared::Shared;
use crate::proto::{Code, Kind};

/// Kinds of requests are below this.
const KINDS: usize = 64;

/// The server's figures.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) accepted: Counter,
    pub(crate) open: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    /// Answers that were not made when they could have been.
    pub(crate) held_back: Counter,
    requests: Family<KindLabel, Counter>,
    failures: Family<CodeLabel, Counter>,
    endings: Family<CodeLabel, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

/// What one connection has counted since it last reported.
#[derive(Debug)]
pub(crate) struct Tally {
    requests: [u32; KINDS],
    failures: Vec<Code>,
    in_flight: i64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    is_empty: bool,
}

impl Default for Tally {
    fn default() -> Self {
        let (requests, failures) = ([0; KINDS], Vec::new());
        Tally { requests, failures, in_flight: 0, bytes_in: 0, bytes_out: 0, is_empty: true }
    }
}

impl Tally {
    #[inline]
    pub(crate) fn received(&mut self, kind: Kind) {
        self.is_empty = false;
        self.requests[usize::from(kind.number()) % KINDS] += 1;
    }

    pub(crate) fn failed(&mut self, code: Code) {
        self.is_empty = false;
        self.failures.push(code);
    }

    pub(crate) fn launched(&mut self) {
        self.in_flight += 1;
    }

    pub(crate) fn landed(&mut self) {
        self.is_empty = false;
        self.in_flight -= 1;
    }
}

impl Metrics {
    /// Adds what a connection has counted.
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
        if std::mem::replace(&mut tally.is_empty, true) {
            return;
        }
        for (number, count) in tally.requests.iter_mut().enumerate().filter(|(_, n)| **n > 0) {
            let kind = Kind::from_number(number as u8).map_or("Unknown", Kind::name);
            let label = KindLabel { kind };
            self.requests.get_or_create(&label).inc_by(u64::from(std::mem::take(count)));
        }
        for code in tally.failures.drain(..) {
            self.failures.get_or_create(&CodeLabel { code: code.name() }).inc();
        }
    }

    /// A connection was ended by the server.
    pub(crate) fn ended(&self, code: Code) {
        self.endings.get_or_create(&CodeLabel { code: code.name() }).inc();
    }
}

/// Everything as text: the server's figures and the store's.
pub(crate) fn render(shared: &Shared) -> String {
    let metrics = &shared.metrics;
    let mut registry = Registry::with_prefix("syncline");
    let server = &mut registry;
    server.register(
        "connections_accepted",
        "Connections that were accepted",
        metrics.accepted.clone(),
    );
    server.register("connections_open", "Connections that are open", metrics.open.clone());
    server.register("requests_in_flight", "Requests that are under way", metrics.in_flight.clone());
    server.register("received_bytes", "Bytes that came in", metrics.bytes_in.clone());
    server.register("sent_bytes", "Bytes that went out", metrics.bytes_out.clone());
    server.register("requests", "Requests by kind", metrics.requests.clone());
    server.register("failures", "Requests that failed, by code", metrics.failures.clone());
    server.register(
        "connections_ended",
        "Connections that the server ended, by code",
        metrics.endings.clone(),
    );
    server.register(
        "output_held_back",
        "Answers that were put off or refused because clients leave too much unread",
        metrics.held_back.clone(),
    );
    for (name, help, number) in [
        ("pool_waiting", "Requests that wait for a thread", shared.pool.waiting()),
        ("output_held_bytes", "Memory of what clients have not read yet", shared.budget.held()),
        ("output_cap_bytes", "Its cap", shared.budget.cap()),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
    let store = registry.sub_registry_with_prefix("store");
    let marks = shared.service.marks();
    let poisoned = u64::from(shared.service.store().is_poisoned());
    let own = [
        ("incarnation", u64::from(marks.incarnation)),
        ("appended_lsn", marks.appended),
        ("visible_lsn", marks.visible),
        ("durable_lsn", marks.durable),
        ("checkpoint_lsn", marks.checkpoint),
        ("poisoned", poisoned),
    ];
    let stats = shared.service.store().stats();
    for (name, value) in own.into_iter().chain(crate::service::named(&stats)) {
        let gauge: Gauge<u64, AtomicU64> = Gauge::default();
        gauge.set(value);
        store.register(name, "As the store says it", gauge);
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("text takes everything");
    text
}

/// The same as Prometheus' own text format, version 0.0.4, has it: there a counter's family is named
/// as its samples are, and neither unit nor end is said.
pub(crate) fn prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if line.starts_with("# HELP ") {
            help = line; // its type comes next, and with it the name
            continue;
        }
        let Some(family) = line.strip_prefix("# TYPE ") else {
            if !line.starts_with('#') {
                text.push_str(line);
                text.push('\n');
            }
            continue;
        };
        let (name, kind) = family.rsplit_once(' ').unwrap_or((family, "untyped"));
        let (suffix, kind) = match kind {
            "counter" => ("_total", kind),
            "info" => ("_info", "gauge"),
            "unknown" => ("", "untyped"),
            _ => ("", kind),
        };
        let words = help.strip_prefix("# HELP ").and_then(|help| help.strip_prefix(name));
        let words = words.unwrap_or_default();
        let family = format!("# HELP {name}{suffix}{words}\n# TYPE {name}{suffix} {kind}\n");
        text.push_str(&family);
    }
    text
}
