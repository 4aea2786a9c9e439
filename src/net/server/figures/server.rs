//! Metrics of the server itself.

use super::writer::{MetricsWriter, bytes, plain, seconds};
use crate::net::server::shared::Shared;

pub(super) fn fill(writer: &mut MetricsWriter<'_>, shared: &Shared) {
    writer.info(
        plain("build", "The program that serves the store."),
        &vec![
            ("version", env!("CARGO_PKG_VERSION")),
            ("os", std::env::consts::OS),
            ("arch", std::env::consts::ARCH),
            ("profile", if cfg!(debug_assertions) { "debug" } else { "release" }),
        ],
    );
    connections(writer, shared);
    requests(writer, shared);
    memory(writer, shared);
}

fn connections(writer: &mut MetricsWriter<'_>, shared: &Shared) {
    let metrics = &shared.metrics;
    writer.metric(
        plain(
            "connections_accepted",
            "Connections of the protocol that were accepted, with those turned away.",
        ),
        &metrics.accepted,
    );
    writer.metric(plain("connections_open", "Connections that are being served."), &metrics.open);
    writer.gauge(
        plain("connections_limit", "The setting max_connections."),
        shared.limits.max_connections as u64,
    );
    writer.metric(
        plain(
            "connections_ended",
            "Connections that the server ended or turned away, by the code of its error.",
        ),
        &metrics.endings,
    );
    writer.metric(
        plain("logins_failed", "Connections and HTTP requests without a valid token."),
        &metrics.logins_failed,
    );
    writer.metric(
        bytes("received", "Bytes received on connections, without TLS overhead."),
        &metrics.bytes_in,
    );
    writer.metric(
        bytes("sent", "Bytes sent on connections, without TLS overhead."),
        &metrics.bytes_out,
    );
}

fn requests(writer: &mut MetricsWriter<'_>, shared: &Shared) {
    let metrics = &shared.metrics;
    writer.counters(
        plain("requests", "Well-formed requests that were received, by kind."),
        metrics.requests(),
    );
    writer.metric(
        plain("requests_failed", "Requests that were answered with an error, by its code."),
        &metrics.failures,
    );
    writer.metric(
        plain(
            "requests_in_flight",
            "Requests that are not answered yet, with watches, streams and long polls.",
        ),
        &metrics.in_flight,
    );
    writer.histograms(
        seconds(
            "request_duration",
            "Time from a request's arrival to its last answer being written, by kind and mode. \
             Watches, streams and long polls, which last as long as the client likes, are excluded.",
        ),
        metrics.latencies(),
    );
    writer.gauge(
        plain("pool_queue_requests", "Requests that wait for a thread of the pool."),
        shared.pool.waiting() as u64,
    );
    writer.gauge(
        plain(
            "pool_queue_limit",
            "The setting pool_queue: with this many waiting, a request is refused as TooBusy.",
        ),
        shared.limits.pool_queue as u64,
    );
}

fn memory(writer: &mut MetricsWriter<'_>, shared: &Shared) {
    writer.gauge(
        bytes("output_held", "Memory of answers that clients have not read yet."),
        shared.output_budget.held() as u64,
    );
    writer.gauge(
        bytes(
            "output_limit",
            "The setting max_output_mib: above half of it a client that does not read gets no more.",
        ),
        shared.output_budget.cap() as u64,
    );
    writer.gauge(
        bytes("input_held", "Memory of packets that clients have not finished."),
        shared.input_budget.held() as u64,
    );
    writer.gauge(
        bytes("input_limit", "The setting max_input_mib: above it no long packet is read."),
        shared.input_budget.cap() as u64,
    );
    writer.metric(
        plain(
            "output_held_back",
            "Answers that were deferred or refused because clients leave too much unread.",
        ),
        &shared.metrics.held_back,
    );
}
