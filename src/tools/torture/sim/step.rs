//! What a simulated user does: a workload is a list of steps, which can be written down, replayed
//! and made shorter.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::contents::{KeyNo, KeyspaceNo, Stamp};
use crate::CommitMode;

/// A commit mode, as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    Sync,
    Async,
}

impl From<Mode> for CommitMode {
    fn from(mode: Mode) -> CommitMode {
        match mode {
            Mode::Sync => CommitMode::Sync,
            Mode::Async => CommitMode::Async,
        }
    }
}

/// One change of a commit. If its keyspace is not there, it is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    Put { keyspace: KeyspaceNo, key: KeyNo, value: Stamp },
    Delete { keyspace: KeyspaceNo, key: KeyNo },
}

impl Change {
    pub(crate) fn keyspace(&self) -> KeyspaceNo {
        match self {
            Change::Put { keyspace, .. } | Change::Delete { keyspace, .. } => *keyspace,
        }
    }
}

/// What a crash within a workload keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kept {
    /// The process is killed.
    Everything,
    Nothing,
    Seeded(u64),
    Versions(Vec<u8>),
}

impl Kept {
    pub(crate) fn keep(&self) -> crate::engine::disk::Keep {
        use crate::engine::disk::Keep;
        match self {
            Kept::Everything => Keep::Everything,
            Kept::Nothing => Keep::Nothing,
            Kept::Seeded(seed) => Keep::Seeded(*seed),
            Kept::Versions(versions) => Keep::Versions(versions.clone()),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Everything => f.write_str("a kill: everything that was written is there"),
            Kept::Nothing => f.write_str("a power loss that keeps nothing unsynced"),
            Kept::Seeded(seed) => write!(f, "a power loss that keeps by chance (seed {seed})"),
            Kept::Versions(versions) => {
                let kept = versions.iter().filter(|version| **version > 0).count();
                write!(f, "a power loss that keeps {kept} of {} changes", versions.len())
            }
        }
    }
}

/// One step of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// A commit; of one change through the keyspace, of more as a batch.
    Commit { mode: Mode, changes: Vec<Change> },
    /// A keyspace is made, unless it is there.
    Create { keyspace: KeyspaceNo },
    /// A keyspace is dropped, if it is there.
    Drop { keyspace: KeyspaceNo },
    /// All commits so far are made durable.
    Flush,
    /// A checkpoint.
    Checkpoint,
    /// Waits for a receipt, counted back from the newest.
    Wait { back: u8 },
    /// A snapshot is taken and held.
    Snapshot,
    /// The oldest snapshot must still show what it showed, and is let go.
    EndSnapshot,
    /// The store must show what was committed, `verify` must be clean and receipts true.
    Read,
    /// Nobody holds anything any more, and a checkpoint is made: the store must be about as large
    /// as what is in it.
    Quiet,
    /// The store is closed and opened.
    Reopen,
    /// The store crashes and is opened. Goes on from what is left.
    Crash { keep: Kept },
    /// Asynchronous commits by others while the next step waits for the device: one each time,
    /// from its `after`-th call on.
    Beside { after: u8, commits: Vec<Vec<Change>> },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Commit { mode, changes } => {
                let mode = match mode {
                    Mode::Sync => "sync",
                    Mode::Async => "async",
                };
                write!(f, "{mode} commit: ")?;
                show_changes(f, changes)
            }
            Step::Create { keyspace } => write!(f, "make keyspace k{keyspace}"),
            Step::Drop { keyspace } => write!(f, "drop keyspace k{keyspace}"),
            Step::Flush => f.write_str("flush"),
            Step::Checkpoint => f.write_str("checkpoint"),
            Step::Wait { back } => write!(f, "wait for the receipt {back} back"),
            Step::Snapshot => f.write_str("take a snapshot"),
            Step::EndSnapshot => f.write_str("read the oldest snapshot and let it go"),
            Step::Read => f.write_str("read everything"),
            Step::Quiet => f.write_str("let everything go and make a checkpoint"),
            Step::Reopen => f.write_str("close and open"),
            Step::Crash { keep } => write!(f, "{keep}; open"),
            Step::Beside { after, commits } => {
                let count = commits.len();
                write!(f, "beside the next step, from call {after} on: {count} async commits")
            }
        }
    }
}

fn show_changes(f: &mut fmt::Formatter<'_>, changes: &[Change]) -> fmt::Result {
    const SHOWN: usize = 4;
    for (at, change) in changes.iter().take(SHOWN).enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        match change {
            Change::Put { keyspace, key, value } => {
                write!(f, "{comma}put k{keyspace}/{key} = #{} ({} B)", value.id, value.bytes)?;
            }
            Change::Delete { keyspace, key } => write!(f, "{comma}delete k{keyspace}/{key}")?,
        }
    }
    match changes.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}
