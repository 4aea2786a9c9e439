//! The steps of a simulated user. A workload is a list of them, which can be saved, replayed and made
//! shorter.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::contents::{KeyNo, KeyspaceNo, Stamp};
use crate::CommitMode;

/// [`CommitMode`], in a form that can be saved.
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

/// One change of a commit. A change whose keyspace does not exist is left out.
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

/// The unsynced changes that a crash keeps.
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
            Kept::Everything => f.write_str("a kill, which keeps everything that was written"),
            Kept::Nothing => f.write_str("a power loss that keeps nothing unsynced"),
            Kept::Seeded(seed) => write!(f, "a power loss that keeps a random part (seed {seed})"),
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
    /// Commits one change through its keyspace, several as a batch.
    Commit { mode: Mode, changes: Vec<Change> },
    /// Creates a keyspace, unless it exists.
    Create { keyspace: KeyspaceNo },
    /// Drops a keyspace, if it exists.
    Drop { keyspace: KeyspaceNo },
    /// Makes all commits so far durable.
    Flush,
    /// Makes a checkpoint.
    Checkpoint,
    /// Waits for a receipt, counted back from the newest.
    Wait { back: u8 },
    /// Takes a snapshot and holds it.
    Snapshot,
    /// Judges that the oldest snapshot still shows the same, and drops it.
    EndSnapshot,
    /// Judges that the store shows what was committed, `verify` is clean and receipts are true.
    Read,
    /// Drops all snapshots and receipts and makes a checkpoint: see [`super::quiet`].
    Quiet,
    /// Closes and opens the store.
    Reopen,
    /// Crashes and opens the store. The workload goes on with the commits that are left.
    Crash { keep: Kept },
    /// Asynchronous commits of other threads during the next step: one per call that waits for the
    /// device, after the first `after` of these calls.
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
            Step::EndSnapshot => f.write_str("read the oldest snapshot and drop it"),
            Step::Read => f.write_str("read everything"),
            Step::Quiet => f.write_str("drop all snapshots and receipts and make a checkpoint"),
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
