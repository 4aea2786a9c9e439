//! A failure, told so that somebody can mend it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The store broke a promise: data is wrong, lost, or back after its deletion.
    Safety,
    /// The store could go on and does not: it hangs, or refuses for no reason.
    Liveness,
    /// The suite could not do its work.
    Harness,
}

/// The clauses of oracle P, which judge every recovery.
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
    /// 6: the next crash undoes nothing that was served.
    Served,
    /// 7: every receipt answers truly.
    Receipts,
    /// Outside P: an answer is right or a fitting typed error, never a panic or a hang.
    Answers,
}

impl Clause {
    /// All clauses, in order.
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

    /// Its demand, in words.
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

/// One failure of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose fault it is.
    pub kind: FailureKind,
    /// The broken clause. None for a failure of the harness.
    pub clause: Option<Clause>,
    /// One line.
    pub title: String,
    /// Lines on what was acknowledged, what the disk held, what recovery returned.
    pub story: Vec<String>,
    /// The command that shows it again.
    pub replay: String,
}
