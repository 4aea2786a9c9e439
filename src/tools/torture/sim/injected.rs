//! An injected fault, crashes aside, in the form that a saved failure holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::judge::Violation;
use super::site::CallFault;
use super::step::Kept;
use crate::engine::disk::Persistence;

/// A fault that the suite injects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InjectedFault {
    /// A call of the disk fails.
    Failing(Failing),
    /// A write of the disk goes wrong and reports success.
    Write(BadWrite),
    /// The files of a closed store are damaged.
    Rot(Rot),
}

/// A call that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failing {
    /// The number of calls before it, since the run began, that could have failed.
    pub(crate) call: u64,
    pub(crate) fault: CallFault,
    pub(crate) lasts: Lasts,
    /// Steps after which a lasting fault is cleared, if no crash comes first.
    pub(crate) heals_after: u64,
    /// The fault outlasts the crash at the end, until an opening has failed.
    pub(crate) through_crash: bool,
    /// What the crash at the end keeps.
    pub(crate) kept: Kept,
}

/// [`Persistence`], in a form that can be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lasts {
    Once,
    Forever,
}

impl From<Lasts> for Persistence {
    fn from(lasts: Lasts) -> Persistence {
        match lasts {
            Lasts::Once => Persistence::Once,
            Lasts::Forever => Persistence::Forever,
        }
    }
}

/// A write that goes wrong and reports success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BadWrite {
    /// The number of writes before it, since the run began.
    pub(crate) write: u64,
    pub(crate) how: WriteFault,
    /// What the crash at the end keeps.
    pub(crate) kept: Kept,
}

/// How a write goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WriteFault {
    /// Only some sectors arrive: sector `i` does if bit `i` (modulo 64) is set.
    Torn(u64),
    Lost,
    /// It goes to another offset, this many bytes away.
    Misdirected(i64),
    /// It arrives, and later an older write of the same place is repeated over it.
    Repeated,
}

/// Damage to files at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rot {
    /// The number of steps of the workload before the damage.
    pub(crate) steps: usize,
    /// How the store ends after them.
    pub(crate) end: End,
    pub(crate) damage: Damage,
}

/// How a store ends before it is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    Closed,
    Crash(Kept),
    /// It crashes, and its recovery is killed after this many operations of the disk.
    RecoveryCrash {
        kept: Kept,
        operation: u64,
    },
}

/// A kind of damage to the files of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Damage {
    /// No damage: the store was wrong before any.
    Nothing,
    Flip {
        file: String,
        offset: u64,
        bit: u8,
    },
    /// All bits of bytes that are never read flip: this must change nothing.
    Invert {
        file: String,
        offset: u64,
        bytes: u64,
    },
    Truncate {
        file: String,
        bytes: u64,
    },
    Remove {
        file: String,
    },
    /// The file as it was after this many steps.
    Older {
        file: String,
        steps: usize,
    },
    /// The file of a store that has another id.
    Foreign {
        file: String,
    },
    /// Two files swap names.
    Exchange {
        one: String,
        other: String,
    },
}

/// A violation, and the fault that led to it.
#[derive(Clone, Debug)]
pub(crate) struct FaultViolation {
    pub(crate) violation: Violation,
    pub(crate) injected: InjectedFault,
}

impl fmt::Display for InjectedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InjectedFault::Failing(Failing { call, fault, lasts, .. }) => {
                let lasts = if *lasts == Lasts::Once { "once" } else { "and goes on failing" };
                write!(f, "call {call} of the disk fails {lasts}: {}", fault.name())
            }
            InjectedFault::Write(BadWrite { write, how, .. }) => match how {
                WriteFault::Torn(_) => write!(f, "write {write} of the disk is torn"),
                WriteFault::Lost => write!(f, "write {write} of the disk is lost"),
                WriteFault::Misdirected(by) => {
                    write!(f, "write {write} of the disk goes {by} bytes astray")
                }
                WriteFault::Repeated => {
                    write!(f, "after write {write} of the disk an older one is repeated")
                }
            },
            InjectedFault::Rot(Rot { steps, end, damage }) => {
                let end = match end {
                    End::Closed => "the store is closed".to_owned(),
                    End::Crash(kept) => kept.to_string(),
                    End::RecoveryCrash { kept, operation } => {
                        format!("{kept}; recovery killed before operation {operation}")
                    }
                };
                write!(f, "after {steps} steps: {end}; then {damage}")
            }
        }
    }
}

impl WriteFault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            WriteFault::Torn(_) => "write torn",
            WriteFault::Lost => "write lost",
            WriteFault::Misdirected(_) => "write misdirected",
            WriteFault::Repeated => "write repeated",
        }
    }
}

impl Damage {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Damage::Older { file, .. } if file == "data" => "older data file",
            Damage::Flip { file, .. } if file == "data" => "bit flipped in data file",
            Damage::Flip { .. } => "bit flipped",
            Damage::Nothing => "no damage",
            Damage::Invert { .. } => "unread bits inverted",
            Damage::Truncate { .. } => "file truncated",
            Damage::Remove { .. } => "file missing",
            Damage::Older { .. } => "older copy",
            Damage::Foreign { .. } => "another store's file",
            Damage::Exchange { .. } => "files exchanged",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Flip { file, offset, bit } => {
                write!(f, "bit {bit} of byte {offset} of {file} flips")
            }
            Damage::Nothing => f.write_str("nothing else"),
            Damage::Invert { file, offset, bytes } => {
                write!(f, "all bits of the {bytes} bytes of {file} from {offset} on flip")
            }
            Damage::Truncate { file, bytes } => write!(f, "{file} is cut to {bytes} bytes"),
            Damage::Remove { file } => write!(f, "{file} is gone"),
            Damage::Older { file, steps } => write!(f, "{file} is as it was after {steps} steps"),
            Damage::Foreign { file } => write!(f, "{file} is that of another store"),
            Damage::Exchange { one, other } => write!(f, "{one} and {other} are exchanged"),
        }
    }
}
