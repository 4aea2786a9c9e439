//! What a request means, over a store: one meaning for every front end that speaks to it.
//!
//! ```text
//!   Caller          who asks, and what he may: scope (the table), caller
//!      |
//!   Service         at_once: what needs no waiting      perform: what may block a thread
//!      |               get, put, delete, batch, marks      everything
//!   names, once, stream, jobs, shortage
//! ```
//!
//! No sockets and no runtime: a front end that must not block asks [`Service::write_at_once`] and
//! its like first, and has [`Service::perform`] done in a thread that may wait. Nothing here is
//! lost with the process that a client was promised: a write's job id is the position of its
//! commit, and idempotency keys are in the store.
//!
//! - SERVICE-1 every request passes [`Caller::check`] before anything else happens; it is the one place
//!   that knows the scopes;
//! - SERVICE-2 a write with an idempotency key is applied at most once while the key is kept, also when
//!   the server is killed between the two: key and write are one commit;
//! - SERVICE-3 all parts of a stream are of one snapshot, which is given up after a bounded time;
//! - SERVICE-4 a job id tells the truth in every later process: of a write by its position alone; of an
//!   operation that it is interrupted, since no operation goes on after its process.

mod caller;
mod jobs;
mod names;
mod once;
mod operations;
mod perform;
mod read;
mod reply;
mod scope;
#[expect(clippy::module_inception, reason = "the noun of the layer")]
mod service;
mod shortage;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use caller::{Caller, Realm};
pub(crate) use jobs::{JobListener, JobNumber};
pub(crate) use names::{Recent, check_public, is_public};
pub(crate) use once::Swept;
pub(crate) use operations::{Operation, Outcome, verified};
pub(crate) use perform::Performed;
pub(crate) use reply::Reply;
pub(crate) use scope::{Scope, Scopes};
pub(crate) use service::{JobRef, Service};
pub(crate) use stream::Stream;
pub(crate) use write::Appended;
