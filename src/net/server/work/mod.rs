//! Work that a connection hands to the pool: single requests, and runs of writes.
//!
//! ```text
//!   session ---(QueuedRequest, WriteRun)---> pool ---(Message)---> mailbox of the session
//! ```
//!
//! These types lie below the mailbox and the session, because both carry them.

mod request;
mod run;

pub(crate) use request::{DeferReason, Ownership, QueuedRequest};
pub(crate) use run::{QueuedWrite, WriteOutcome, WriteRun};
