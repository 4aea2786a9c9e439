//! The server: connections, threads, limits and times around the `service`.
//!
//! ```text
//!   run, reload, notify, logs     the process; config <- settings <- sources
//!      |
//!   server  -- bound_sockets, listen, unix, admission, tls, tokens    which clients are accepted
//!      |    '-- http                           probes and metrics
//!   connection -- buffers, input_budget, output_budget     a task: one socket, one session
//!      |
//!   session                       bytes to answers; nothing in it waits
//!      |     '-- mailbox          messages from other threads
//!   pool, watermarks              threads for blocking work; one watcher of the watermarks
//! ```
//!
//! - SERVER-1 no thread of the runtime waits for the engine: a call that would wait is recognised
//!   beforehand (see `engine/commit/nonblocking.rs`) and goes to the pool, whose queue is bounded;
//! - SERVER-2 an idle connection holds no buffer, and a long poll is an entry in a table;
//! - SERVER-3 a slow client slows only itself: output, backlog, flights, subscriptions and times are
//!   capped per connection, and memory also for all connections together (`input_budget`, `output_budget`);
//! - SERVER-4 no write is reported durable before it is: `Written` with `durable` is sent when the sync
//!   line has passed it, and never after a failed flush.

mod admission;
mod bound_sockets;
mod buffers;
mod config;
mod connection;
mod descriptors;
mod device_watch;
mod expiry;
mod failure;
mod figures;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod http;
mod input_budget;
mod listen;
mod log_limiter;
mod logs;
mod mailbox;
mod metrics;
mod notify;
mod output_budget;
mod peer;
mod pool;
mod reload;
mod run;
#[expect(clippy::module_inception, reason = "the noun of the layer")]
mod server;
mod session;
mod settings;
mod shared;
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
