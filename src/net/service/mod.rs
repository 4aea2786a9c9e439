//! The service: what a request means to a store, the same for every front end.
//!
//! ```text
//!   Caller          the token behind a connection, and its rights: caller, scope (the table)
//!      |
//!   Service         at_once: never blocks               perform: may block its thread
//!      |               get, put, delete, batch, marks      everything
//!   names, once, stream, jobs, shortage
//! ```
//!
//! No sockets and no runtime: a front end that must not block tries [`Service::write_at_once`] and
//! its like first, and calls [`Service::perform`] in a thread that may block. All that a client was
//! promised outlives the process: the job id of a write is the position of its commit, and
//! idempotency keys are in the store.
//!
//! - SERVICE-1 every request passes [`Caller::check`] first; no other code knows the scopes;
//! - SERVICE-2 a write with an idempotency key is applied at most once while the key is kept, even if the
//!   server is killed: key and write are one commit;
//! - SERVICE-3 all parts of a stream are of one snapshot, which is released after a bounded time;
//! - SERVICE-4 every later process tells the state of a job from its id: the state of a write from its
//!   position alone; an operation is interrupted, since none outlives its process.

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
pub(crate) use names::Recent;
#[cfg(feature = "cli")]
pub(crate) use names::{check_public, is_public};
pub(crate) use once::Swept;
pub(crate) use operations::{Operation, OperationOutcome, verified};
pub(crate) use perform::Performed;
pub(crate) use reply::Reply;
pub(crate) use scope::{Scope, Scopes};
pub(crate) use service::{JobRef, Service};
pub(crate) use stream::Stream;
pub(crate) use write::Appended;
