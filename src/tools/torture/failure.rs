//! What went wrong, told so that somebody can mend it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The store broke a promise: something is wrong, lost, or back from the dead.
    Safety,
    /// The store does not go on although it could: it hangs, or refuses for no reason.
    Liveness,
    /// The suite could not do its work.
    Harness,
}

/// The clauses of oracle P, which every recovery is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clause {
    /// 1: the contents are those after the first k commits, for one k.
    Prefix,
    /// 2: `D <= k <= last submitted`.
    Bounds,
    /// 3: the store says that it recovered to k.
    Reported,
    /// 4: `verify` is clean, and counts are right.
    Sound,
    /// 5: opening again gives the same; the store takes writes and survives another crash.
    Again,
    /// 6: what was served is not undone by the next crash.
    Served,
    /// 7: every receipt answers truly.
    Receipts,
    /// Beside P: an answer is right or a typed error that fits, never a panic or a hang.
    Answers,
}

impl Clause {
    /// All, in order.
    pub const ALL: [Clause; 8] = [
        Clause::Prefix,
        Clause::Bounds,
        Clause::Reported,
        Clause::Sound,
        Clause::Again,
        Clause::Served,
        Clause::Receipts,
        Clause::Answers,
    ];

    /// What it demands.
    pub fn demand(self) -> &'static str {
        match self {
            Clause::Prefix => "one k exists: whole transactions, no hole, nothing refused",
            Clause::Bounds => "D <= k <= last submitted",
            Clause::Reported => "the store reports k",
            Clause::Sound => "verify is clean",
            Clause::Again => "opening again gives the same, and writes go on",
            Clause::Served => "what was served is never undone",
            Clause::Receipts => "receipts answer truly",
            Clause::Answers => "answers are right or typed errors, in time",
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Clause::Answers => f.write_str("answers"),
            clause => write!(f, "P{}", *clause as u8 + 1),
        }
    }
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose fault it is.
    pub kind: FailureKind,
    /// What it broke. None if it is the harness's.
    pub clause: Option<Clause>,
    /// In one line.
    pub title: String,
    /// What was acknowledged, what the disk held, what recovery returned, a line each.
    pub story: Vec<String>,
    /// The command that shows it again.
    pub replay: String,
}
