//! Long operations and their outcomes.

use super::names::is_public;
use crate::engine::base::error::Error;
use crate::engine::base::lsn::Lsn;
use crate::engine::base::progress::OperationProgress;
use crate::net::proto::{Failure, JobState, Text, Verified};
use crate::{Store, Verification};

/// An operation that can be a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Checkpoint,
    Verify,
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub(crate) enum OperationOutcome {
    Checkpoint(Lsn),
    Verified(Verification),
    Failed(Error),
    Cancelled,
}

impl Operation {
    /// Runs to the end, or until it is cancelled.
    pub(super) fn run(self, store: &Store, progress: &OperationProgress) -> OperationOutcome {
        let done = match self {
            Operation::Checkpoint => {
                store.checkpoint_on(progress).map(|lsn| lsn.map(OperationOutcome::Checkpoint))
            }
            Operation::Verify => {
                let found = store.verify_on(progress, &is_public);
                found.map(|found| found.map(OperationOutcome::Verified))
            }
        };
        done.map_or_else(OperationOutcome::Failed, |done| {
            done.unwrap_or(OperationOutcome::Cancelled)
        })
    }
}

impl OperationOutcome {
    pub(super) fn state(&self) -> JobState<'static> {
        match self {
            OperationOutcome::Checkpoint(lsn) => JobState::Done {
                summary: format!("everything up to {lsn} is in the data file").into(),
            },
            OperationOutcome::Verified(found) if found.is_clean() => JobState::Done {
                summary: format!(
                    "clean: {} keyspaces, {} keys, {} pages",
                    found.keyspaces, found.keys, found.pages
                )
                .into(),
            },
            OperationOutcome::Verified(found) => JobState::Done {
                summary: format!(
                    "{} problems, the first: {}",
                    found.problems.len(),
                    found.problems[0]
                )
                .into(),
            },
            OperationOutcome::Failed(error) => JobState::Failed { failure: Failure::from(error) },
            OperationOutcome::Cancelled => JobState::Cancelled,
        }
    }
}

/// The answer with the findings of a check.
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
