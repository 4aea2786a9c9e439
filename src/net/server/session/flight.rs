//! A flight: a request that is in progress.

use std::sync::Arc;

use tokio::time::Instant;

use super::subscription::{JobsWatch, MarksWatch, StreamState};
use crate::engine::base::lsn::Lsn;
use crate::net::proto::{Applied, Code, Kind, Mode};
use crate::net::server::work::Ownership;
use crate::net::service::{JobNumber, JobRef};

/// A request that is in progress.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) kind: Kind,
    /// When it ends by itself, and how.
    pub(super) until: Option<(Instant, OnTime)>,
    pub(super) awaits: Awaits,
}

/// What happens when a flight's time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnTime {
    /// The request fails: its deadline has passed.
    Fail,
    /// A long poll is answered with the present state.
    Answer,
    /// A stream fails: it has kept its snapshot for too long.
    TooOld,
    /// The watermarks may be sent again.
    Push,
}

/// What a flight waits for.
#[derive(Debug)]
pub(super) enum Awaits {
    /// A thread of the pool.
    Pool(Pooled),
    /// Writes that were sent before it; it is a read.
    Writes {
        ticket: u64,
    },
    /// The sync line at `lsn`: a write, or the end of the log when a flush was requested.
    Durable {
        lsn: Lsn,
        applied: Applied,
    },
    /// A job's end; it is a long poll.
    Job {
        job: JobRef,
    },
    /// A long operation's end.
    Operation {
        number: JobNumber,
    },
    JobsWatch(Box<JobsWatch>),
    MarksWatch(Box<MarksWatch>),
    Stream(Box<StreamState>),
}

impl Awaits {
    /// Whether it holds resources for as long as the client likes.
    pub(super) fn is_subscription(&self) -> bool {
        matches!(self, Awaits::JobsWatch(_) | Awaits::MarksWatch(_) | Awaits::Stream(_))
    }

    /// Whether only the client waits, and no work is to be finished.
    pub(super) fn is_wait(&self) -> bool {
        self.is_subscription() || matches!(self, Awaits::Job { .. } | Awaits::Operation { .. })
    }
}

/// A request in the pool, or queued for it.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) ticket: u64,
    /// A write's mode.
    pub(super) mode: Option<Mode>,
    /// It was cancelled while a thread had it: the error for the wait that follows.
    pub(super) cancelled: Option<(Code, &'static str)>,
    owner: Arc<Ownership>,
}

impl Pooled {
    pub(super) fn new(ticket: u64, mode: Option<Mode>, owner: Arc<Ownership>) -> Pooled {
        Pooled { ticket, mode, cancelled: None, owner }
    }

    /// Cancels it. False if a thread has it and it changes the store: then only its answer tells
    /// whether the change was made.
    pub(super) fn cancel(&self, kind: Kind) -> bool {
        use Kind::{Get, JobStatus, JobWait, Keyspaces, Range, Stats};
        self.owner.cancel() || matches!(kind, Get | Range | JobStatus | JobWait | Stats | Keyspaces)
    }
}
