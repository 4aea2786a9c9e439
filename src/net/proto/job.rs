//! Jobs: the form of their ids, and their states.
//!
//! ```text
//!   a write        queued -> appended -> durable
//!                                   \--> lost                (told by a later incarnation)
//!
//!   an operation   queued -> running -> done | failed | cancelled
//!                                   \--> interrupted         (told by a later incarnation)
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::body::Text;
use super::failure::Failure;
use crate::engine::base::error::Error;
#[cfg(feature = "server")]
use crate::engine::base::lsn::Lsn;
use crate::engine::store::Token;

/// The position of a commit: its receipt, without the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CommitPosition {
    pub incarnation: u32,
    pub lsn: u64,
}

/// What a job id names. Only servers parse ids: to a client they are opaque.
#[allow(dead_code)] // what reads them is a layer above
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobId {
    /// A write: its receipt's token, `store-incarnation.mark-lsn-check`.
    Write(Token),
    /// A long operation: `store-incarnation.mark-op-number-check`. The number, from 1 in each
    /// incarnation, takes the place of the LSN in the token.
    Operation(Token),
}

/// The prefix of the number of an operation.
const OPERATION: &str = "op-";

#[cfg(feature = "server")]
impl JobId {
    /// The store and incarnation of the job, and its number or LSN.
    pub(crate) fn token(&self) -> &Token {
        match self {
            JobId::Write(token) | JobId::Operation(token) => token,
        }
    }

    /// The id of an operation, in the store and incarnation of `token`.
    pub(crate) fn of_operation(token: Token, number: u64) -> JobId {
        JobId::Operation(Token { lsn: Lsn::new(number), ..token })
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobId::Write(token) => token.fmt(f),
            JobId::Operation(token) => token.write(f, OPERATION),
        }
    }
}

impl FromStr for JobId {
    type Err = Error;

    fn from_str(text: &str) -> Result<JobId, Error> {
        match text.contains("-op-") {
            true => Token::read(text, OPERATION).map(JobId::Operation),
            false => text.parse().map(JobId::Write),
        }
    }
}

/// The state of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JobState<'a> {
    /// It waits for its turn.
    Queued,
    /// A write: it can be read, and a power loss could still undo it.
    Appended,
    /// A write: it survives a power loss. Final.
    Durable,
    /// A write: a crash undid it. Final.
    Lost,
    /// An operation runs. `total` is 0 until it is known.
    Running {
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
    },
    /// An operation ended. Final.
    Done {
        /// Its result, in words.
        #[serde(borrow)]
        summary: Text<'a>,
    },
    /// An operation failed. Final.
    Failed {
        /// Why.
        #[serde(borrow)]
        failure: Failure<'a>,
    },
    /// A client cancelled the operation. Final.
    Cancelled,
    /// The server ended before the operation did. Final.
    Interrupted,
}

impl JobState<'_> {
    /// Whether the state will never change.
    pub fn is_final(&self) -> bool {
        match self {
            JobState::Queued | JobState::Appended | JobState::Running { .. } => false,
            JobState::Durable
            | JobState::Lost
            | JobState::Done { .. }
            | JobState::Failed { .. }
            | JobState::Cancelled
            | JobState::Interrupted => true,
        }
    }

    /// The state, owned.
    pub fn into_owned(self) -> JobState<'static> {
        match self {
            JobState::Queued => JobState::Queued,
            JobState::Appended => JobState::Appended,
            JobState::Durable => JobState::Durable,
            JobState::Lost => JobState::Lost,
            JobState::Running { done, total } => JobState::Running { done, total },
            JobState::Done { summary } => JobState::Done { summary: summary.into_owned() },
            JobState::Failed { failure } => JobState::Failed { failure: failure.into_owned() },
            JobState::Cancelled => JobState::Cancelled,
            JobState::Interrupted => JobState::Interrupted,
        }
    }
}

impl fmt::Display for JobState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobState::Queued => f.write_str("queued"),
            JobState::Appended => f.write_str("appended"),
            JobState::Durable => f.write_str("durable"),
            JobState::Lost => f.write_str("lost"),
            JobState::Running { done, total: 0 } => write!(f, "running {done}"),
            JobState::Running { done, total } => write!(f, "running {done}/{total}"),
            JobState::Done { summary } if summary.is_empty() => f.write_str("done"),
            JobState::Done { summary } => write!(f, "done: {summary}"),
            JobState::Failed { failure } => write!(f, "failed: {failure}"),
            JobState::Cancelled => f.write_str("cancelled"),
            JobState::Interrupted => f.write_str("interrupted"),
        }
    }
}
