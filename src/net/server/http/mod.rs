//! HTTP: probes for whoever runs the server, and its figures for Prometheus.
//!
//! ```text
//!   listener      connections: how many, how long, TLS, the end
//!      |
//!   router        path and method -> endpoint; 404, 405
//!      |
//!   access        whether the caller may see it
//!      |
//!   probes        /livez /readyz /health <- ready   whether a write would be taken
//!   figures       /metrics               <- metrics
//! ```
//!
//! | path | says | asks for a token |
//! |---|---|---|
//! | `/livez` | the process answers | never |
//! | `/readyz` | writes are taken (see `ready`); 503 with the reason if not | for the reason |
//! | `/health` | the same, as text or JSON | for the reason |
//! | `/metrics` | figures, as OpenMetrics or Prometheus text | yes |
//!
//! - HTTP-1 An address that only this machine can reach is served without TLS, and asks for no token. Any
//!   other is served with TLS and asks for one, unless `metrics_open` says otherwise: a server that
//!   has neither does not start.
//! - HTTP-2 A connection that says nothing, or takes nothing, costs a task and its buffers, for a time
//!   and up to a number. It holds up no other: where there are too many, the quiet give way (`seats`).
//! - HTTP-3 Nothing here waits for the device: what may is done by one thread at a time, and whoever asks
//!   meanwhile is answered with what is known.
//!
//! What is left out: HTTP/2, which no prober and no Prometheus needs, and bodies of requests.

mod accept;
mod access;
mod figures;
mod listener;
mod message;
mod probes;
mod ready;
mod router;
mod seats;
mod socket;

pub(super) use listener::{Opening, run};
pub(crate) use ready::Readiness;
