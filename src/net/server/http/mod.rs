//! HTTP: probes for operators and supervisors, and metrics for Prometheus.
//!
//! ```text
//!   listener      connections: number, time limits, TLS, shutdown
//!      |
//!   router        path and method -> endpoint; 404, 405
//!      |
//!   access        authorisation
//!      |
//!   probes        /livez /readyz /health <- ready   whether a write would be taken
//!   figures       /metrics               <- metrics
//! ```
//!
//! | path | says | needs a token |
//! |---|---|---|
//! | `/livez` | the process answers | never |
//! | `/readyz` | writes are accepted (see `ready`); 503 with the reason if not | for the reason |
//! | `/health` | the same, as text or JSON | for the reason |
//! | `/metrics` | metrics, as OpenMetrics or Prometheus text | yes |
//!
//! - HTTP-1 A loopback address needs neither TLS nor a token. Any other address needs both, unless
//!   `metrics_open` is set: a server without them does not start.
//! - HTTP-2 A client that sends or reads nothing costs a task and its buffers, for a limited time. It
//!   blocks no other client: if there are too many connections, an idle one is evicted (`slots`).
//! - HTTP-3 No task here waits for the device: one thread at a time does the work that may, and a client
//!   that asks meanwhile gets the last result, or an error after a time.
//!
//! Left out: HTTP/2, which neither probes nor Prometheus need, and request bodies.

mod accept;
mod access;
mod figures;
mod listener;
mod message;
mod probes;
mod ready;
mod router;
mod slots;
mod socket;

pub(super) use listener::{HttpListener, run};
pub(crate) use ready::Readiness;
