//! The server: connections, threads, limits and times around the `service`.
//!
//! ```text
//!   run, reload, notify, logs     the process; config <- settings <- sources
//!      |
//!   server  -- openings, listen, unix, gate, tls, tokens    who may come in
//!      |    '-- http                           probes and metrics
//!   connection -- buffers, budget a task: one socket, one session
//!      |
//!   session                       bytes to answers; nothing in it waits
//!      |     '-- mailbox          what others tell it
//!   pool, watermarks              threads for blocking work; one watcher of the watermarks
//! ```
//!
//! - SERVER-1 no thread of the runtime waits for the engine: what would wait is known beforehand (see
//!   `engine/commit/at_once.rs`) and goes to the pool, whose queue has a bound;
//! - SERVER-2 an idle connection holds no buffer, and a long poll is an entry in a table;
//! - SERVER-3 whoever is slow slows only itself: output, backlog, flights, subscriptions and times have
//!   their caps for each connection, and both one for all together (`budget`, `claim`);
//! - SERVER-4 nothing is told durable that is not: `Written` with `durable` is sent when the sync line has
//!   passed it, and after a failed flush nothing is.

mod budget;
mod buffers;
mod claim;
mod config;
mod connection;
mod descriptors;
mod expiry;
mod failure;
mod figures;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod gate;
mod http;
mod listen;
mod logs;
mod mailbox;
mod metrics;
mod notify;
mod openings;
mod peer;
mod pool;
mod reload;
mod run;
mod seldom;
#[expect(clippy::module_inception, reason = "the noun of the layer")]
mod server;
mod session;
mod settings;
mod shared;
mod signs;
mod sources;
mod tally;
#[cfg(test)]
mod tests;

mod tls;
mod tokens;
#[cfg(unix)]
mod unix;
mod watermarks;
mod work;

pub use config::{Config, LogFormat};
pub use failure::Failure;
#[cfg(any(test, fuzzing))]
pub(crate) use fuzz::session;
pub use run::serve;
pub use server::Server;
pub use settings::settings_help;
pub use sources::{Settings, Sources};
