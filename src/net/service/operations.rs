//! Long operations, and what comes of them.

use super::names::is_public;
use crate::engine::base::error::Error;
use crate::engine::base::lsn::Lsn;
use crate::engine::base::progress::OperationProgress;
use crate::net::proto::{Failure, JobState, Text, Verified};
use crate::{Store, Verification};

/// What can be asked for as a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Checkpoint,
    Verify,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Checkpoint(Lsn),
    Verified(Verification),
    Failed(Error),
    Cancelled,
}

impl Operation {
    /// Does it. Takes as long as it takes, or until it is cancelled.
    pub(super) fn run(self, store: &Store, progress: &OperationProgress) -> Outcome {
        let done = match self {
            Operation::Checkpoint => {
                store.checkpoint_on(progress).map(|lsn| lsn.map(Outcome::Checkpoint))
            }
            Operation::Verify => {
                let found = store.verify_on(progress, &is_public);
                found.map(|found| found.map(Outcome::Verified))
            }
        };
        done.map_or_else(Outcome::Failed, |done| done.unwrap_or(Outcome::Cancelled))
    }
}

impl Outcome {
    pub(super) fn state(&self) -> JobState<'static> {
        match self {
            Outcome::Checkpoint(lsn) => JobState::Done {
                summary: format!("everything up to {lsn} is in the data file").into(),
            },
            Outcome::Verified(found) if found.is_clean() => JobState::Done {
                summary: format!(
                    "clean: {} keyspaces, {} keys, {} pages",
                    found.keyspaces, found.keys, found.pages
                )
                .into(),
            },
            Outcome::Verified(found) => JobState::Done {
                summary: format!(
                    "{} problems, the first: {}",
                    found.problems.len(),
                    found.problems[0]
                )
                .into(),
            },
            Outcome::Failed(error) => JobState::Failed { failure: Failure::from(error) },
            Outcome::Cancelled => JobState::Cancelled,
        }
    }
}

/// What a check found, as an answer.
pub(crate) fn verified(found: &Verification) -> Verified<'_> {
    let problems = found.problems.iter().map(|problem| Text::from(problem.as_str()));
    Verified {
        problems: problems.collect(),
        keyspaces: found.keyspaces,
        keys: found.keys,
        pages: found.pages,
        free_blocks: found.free_blocks.unwrap_or(Verified::UNKNOWN),
    }
}
