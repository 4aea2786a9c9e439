//! What the server itself counts.

use super::sheet::{Sheet, bytes, plain, seconds};
use crate::net::server::shared::Shared;

pub(super) fn fill(sheet: &mut Sheet<'_>, shared: &Shared) {
    sheet.info(
        plain("build", "The program that serves the store."),
        &vec![
            ("version", env!("CARGO_PKG_VERSION")),
            ("os", std::env::consts::OS),
            ("arch", std::env::consts::ARCH),
            ("profile", if cfg!(debug_assertions) { "debug" } else { "release" }),
        ],
    );
    connections(sheet, shared);
    requests(sheet, shared);
    memory(sheet, shared);
}

fn connections(sheet: &mut Sheet<'_>, shared: &Shared) {
    let metrics = &shared.metrics;
    sheet.metric(
        plain(
            "connections_accepted",
            "Connections of the protocol that came in, those turned away included.",
        ),
        &metrics.accepted,
    );
    sheet.metric(plain("connections_open", "Connections that are being served."), &metrics.open);
    sheet.gauge(
        plain("connections_limit", "The setting max_connections."),
        shared.limits.max_connections as u64,
    );
    sheet.metric(
        plain(
            "connections_ended",
            "Connections that the server ended or turned away, by the code of the error that it \
             gave.",
        ),
        &metrics.endings,
    );
    sheet.metric(
        plain("logins_failed", "Connections and requests that came without a token that is good."),
        &metrics.logins_failed,
    );
    sheet.metric(
        bytes("received", "Bytes that came in over connections, before TLS."),
        &metrics.bytes_in,
    );
    sheet.metric(
        bytes("sent", "Bytes that went out over connections, before TLS."),
        &metrics.bytes_out,
    );
}

fn requests(sheet: &mut Sheet<'_>, shared: &Shared) {
    let metrics = &shared.metrics;
    sheet.counters(
        plain("requests", "Requests that came in and were understood, by kind."),
        metrics.requests(),
    );
    sheet.metric(
        plain("requests_failed", "Requests that were answered with an error, by its code."),
        &metrics.failures,
    );
    sheet.metric(
        plain(
            "requests_in_flight",
            "Requests that came and are not answered yet: watches, streams and long polls too.",
        ),
        &metrics.in_flight,
    );
    sheet.histograms(
        seconds(
            "request_duration",
            "Time from a request's arrival to its last answer being written, by kind and mode. \
             Watches, streams and long polls, which last as long as the client likes, are not in \
             it.",
        ),
        metrics.latencies(),
    );
    sheet.gauge(
        plain("pool_queue_requests", "Requests that wait for a thread of the pool."),
        shared.pool.waiting() as u64,
    );
    sheet.gauge(
        plain(
            "pool_queue_limit",
            "The setting pool_queue: whoever finds so many waiting is told TooBusy.",
        ),
        shared.limits.pool_queue as u64,
    );
}

fn memory(sheet: &mut Sheet<'_>, shared: &Shared) {
    sheet.gauge(
        bytes("output_held", "Memory of answers that clients have not taken yet."),
        shared.budget.held() as u64,
    );
    sheet.gauge(
        bytes(
            "output_limit",
            "The setting max_output_mib: above half of it clients that do not read get nothing \
             more.",
        ),
        shared.budget.cap() as u64,
    );
    sheet.gauge(
        bytes("input_held", "Memory of packets that clients have begun and not finished."),
        shared.room.held() as u64,
    );
    sheet.gauge(
        bytes("input_limit", "The setting max_input_mib: above it no more long packets are read."),
        shared.room.cap() as u64,
    );
    sheet.metric(
        plain(
            "output_held_back",
            "Answers that were put off or refused because clients leave too much unread.",
        ),
        &shared.metrics.held_back,
    );
}
