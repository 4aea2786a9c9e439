//! Call sites: where the store calls the disk, and which faults have been activated there.
//!
//! A site is an operation of the disk, on a kind of file, in a phase of the store's life. A fault
//! and a site make a pair if the fault fits the operation. Dry runs find the sites. A full run must
//! activate each pair, both once and for ever: a pair that it misses is a failure of the suite.
//! [`Sites::MUST`] lists sites that the workloads must keep reaching.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::meter::Called;
use super::step::Step;
use crate::engine::disk::{Call, Op, Persistence};
use crate::tools::torture::SiteRow;

/// A phase in the life of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Creating,
    /// It is opened after it was closed.
    Opening,
    /// It is opened after a crash.
    Recovering,
    /// It commits, and does what a commit triggers.
    Committing,
    Flushing,
    Checkpointing,
    Closing,
    /// It is read or verified.
    Reading,
}

impl Phase {
    /// The phase that a step begins with; none is for the creation of the store.
    pub(crate) fn of(step: Option<&Step>) -> Phase {
        match step {
            None => Phase::Creating,
            Some(Step::Commit { .. } | Step::Create { .. } | Step::Drop { .. }) => {
                Phase::Committing
            }
            Some(Step::Flush | Step::Wait { .. } | Step::Beside { .. }) => Phase::Flushing,
            Some(Step::Checkpoint | Step::Quiet) => Phase::Checkpointing,
            Some(Step::Snapshot | Step::EndSnapshot | Step::Read) => Phase::Reading,
            Some(Step::Reopen) => Phase::Closing,
            Some(Step::Crash { .. }) => Phase::Recovering,
        }
    }
}

/// The kind of a file, or a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Data,
    Log,
    Directory,
}

/// Where the store calls the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Site {
    pub(crate) op: Op,
    pub(crate) file: FileKind,
    pub(crate) phase: Phase,
}

impl Site {
    /// The site of a call; none if it cannot fail, or is a later part of a call.
    pub(crate) fn of(call: &Call<'_>, phase: Phase) -> Option<Site> {
        if call.part > 0 || call.op == Op::MapWrite {
            return None;
        }
        let file = match call.path.rsplit_once('/') {
            None => FileKind::Directory,
            Some((_, name)) if name.starts_with("log-") => FileKind::Log,
            Some(_) => FileKind::Data,
        };
        Some(Site { op: call.op, file, phase })
    }

    fn names(&self) -> [String; 3] {
        let file = match self.file {
            FileKind::Data => "data file",
            FileKind::Log => "log segment",
            FileKind::Directory => "directory",
        };
        let [op, phase] = [format!("{:?}", self.op), format!("{:?}", self.phase)];
        [op.to_lowercase(), file.to_owned(), phase.to_lowercase()]
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [operation, file, phase] = self.names();
        write!(f, "{operation} of {file} while {phase}")
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CallFault {
    /// A flush fails; the page cache still shows data that the device may not have.
    Flush,
    /// A flush fails, and the page cache drops the data that it could not write.
    FlushForgotten,
    /// The call fails with ENOSPC.
    Full,
    /// The device is full from here on: calls that need no space still work.
    FullFromHere,
    /// An input/output error.
    Io,
}

impl CallFault {
    pub(crate) const ALL: [CallFault; 5] = [
        CallFault::Flush,
        CallFault::FlushForgotten,
        CallFault::Full,
        CallFault::FullFromHere,
        CallFault::Io,
    ];

    /// Whether a call that a dry run has seen can fail like this.
    pub(crate) fn fits(self, called: &Called) -> bool {
        let op = called.site.op;
        let is_flush = matches!(op, Op::Sync | Op::MapSync | Op::SyncDir);
        match self {
            CallFault::Flush | CallFault::FlushForgotten => is_flush,
            CallFault::Full => {
                matches!(op, Op::Create | Op::Allocate | Op::Write | Op::Prefault | Op::Rename)
            }
            CallFault::FullFromHere => {
                matches!(op, Op::Create | Op::Allocate) && !called.grew_nothing
            }
            CallFault::Io => !is_flush && op != Op::MapWrite,
        }
    }

    /// Its number in the fault model, from 1 on.
    pub(crate) fn number(self) -> usize {
        match self {
            CallFault::Flush | CallFault::FlushForgotten => 3,
            CallFault::Full | CallFault::FullFromHere => 4,
            CallFault::Io => 10,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            CallFault::Flush => "flush fails",
            CallFault::FlushForgotten => "flush fails and is forgotten",
            CallFault::Full => "no space for the call",
            CallFault::FullFromHere => "disk full",
            CallFault::Io => "input/output error",
        }
    }
}

/// The pairs of fault and site, and how often each has happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sites(BTreeMap<(CallFault, Site), Count>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    once: u64,
    forever: u64,
}

impl Sites {
    /// Notes that a dry run has a call that can fail like this.
    pub(crate) fn saw(&mut self, fault: CallFault, site: Site) {
        self.0.entry((fault, site)).or_default();
    }

    /// Counts a fault that has happened at `site`.
    pub(crate) fn activated(&mut self, fault: CallFault, site: Site, persistence: Persistence) {
        let count = self.0.entry((fault, site)).or_default();
        match persistence {
            Persistence::Once => count.once += 1,
            Persistence::Forever => count.forever += 1,
        }
    }

    /// How often the fault has happened at `site`.
    pub(crate) fn count(&self, fault: CallFault, site: Site, persistence: Persistence) -> u64 {
        let count = self.0.get(&(fault, site)).copied().unwrap_or_default();
        match persistence {
            Persistence::Once => count.once,
            Persistence::Forever => count.forever,
        }
    }

    /// Adds the counts of another worker.
    pub(crate) fn add(&mut self, other: Sites) {
        for (pair, from) in other.0 {
            let to = self.0.entry(pair).or_default();
            to.once += from.once;
            to.forever += from.forever;
        }
    }

    /// One row per pair.
    pub(crate) fn rows(&self) -> Vec<SiteRow> {
        let rows = self.0.iter().map(|((fault, site), count)| {
            let [operation, file, phase] = site.names();
            let Count { once, forever } = *count;
            SiteRow { fault: fault.name().to_owned(), operation, file, phase, once, forever }
        });
        rows.collect()
    }

    /// Pairs that were not activated, once or for ever, in words.
    pub(crate) fn missing(&self) -> Vec<String> {
        let rows = self.rows().into_iter().filter(|row| row.once == 0 || row.forever == 0);
        rows.map(|row| {
            let how = if row.once == 0 { "once" } else { "for ever" };
            let SiteRow { fault, operation, file, phase, .. } = row;
            format!("{fault} ({how}): {operation} of {file} while {phase}")
        })
        .collect()
    }

    /// Sites that the workloads must reach and that no dry run has seen, in words.
    pub(crate) fn unreached(&self) -> Vec<String> {
        let seen: std::collections::BTreeSet<[String; 3]> =
            self.0.keys().map(|(_, site)| site.names()).collect();
        let lacks = |must: &&(&str, &str, &str)| {
            !seen.contains(&[must.0.to_owned(), must.1.to_owned(), must.2.to_owned()])
        };
        let lacking = Self::MUST.iter().filter(lacks);
        lacking.map(|(op, file, phase)| format!("{op} of {file} while {phase}")).collect()
    }

    /// Sites that the workloads reach today. A change of the workloads must not lose one.
    pub(crate) const MUST: &[(&str, &str, &str)] = &[
        ("allocate", "data file", "committing"),
        ("create", "data file", "creating"),
        ("create", "log segment", "checkpointing"),
        ("create", "log segment", "committing"),
        ("create", "log segment", "flushing"),
        ("create", "log segment", "recovering"),
        ("list", "directory", "committing"),
        ("lock", "directory", "opening"),
        ("map", "log segment", "committing"),
        ("map", "log segment", "recovering"),
        ("mapsync", "log segment", "checkpointing"),
        ("mapsync", "log segment", "closing"),
        ("mapsync", "log segment", "committing"),
        ("mapsync", "log segment", "flushing"),
        ("prefault", "log segment", "flushing"),
        ("read", "data file", "opening"),
        ("read", "data file", "reading"),
        ("read", "data file", "recovering"),
        ("read", "log segment", "recovering"),
        ("remove", "log segment", "recovering"),
        ("rename", "data file", "creating"),
        ("rename", "log segment", "committing"),
        ("sync", "data file", "checkpointing"),
        ("sync", "data file", "closing"),
        ("sync", "data file", "committing"),
        ("sync", "data file", "recovering"),
        ("sync", "log segment", "committing"),
        ("sync", "log segment", "recovering"),
        ("syncdir", "directory", "committing"),
        ("syncdir", "directory", "creating"),
        ("syncdir", "directory", "recovering"),
        ("write", "data file", "checkpointing"),
        ("write", "data file", "closing"),
        ("write", "data file", "recovering"),
        ("write", "log segment", "committing"),
        ("write", "log segment", "recovering"),
    ];
}
