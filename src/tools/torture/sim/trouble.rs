//! What befalls a store beside crashes, as it is written down.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::judge::Violation;
use super::site::CallFault;
use super::step::Kept;
use crate::engine::disk::Persistence;

/// What befell a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trouble {
    /// A call of the disk fails.
    Failing(Failing),
    /// A write of the disk does not do what it says.
    Write(BadWrite),
    /// The files of a store that is not open are damaged.
    Rot(Rot),
}

/// A call that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failing {
    /// Calls before it that could have failed, since the run began.
    pub(crate) call: u64,
    pub(crate) fault: CallFault,
    pub(crate) lasts: Lasts,
    /// Steps after which the trouble is over, if it lasts and no crash comes first.
    pub(crate) heals_after: u64,
    /// It goes on through the crash at the end, until opening has failed for it.
    pub(crate) through_crash: bool,
    /// What the crash at the end keeps.
    pub(crate) kept: Kept,
}

/// How long a fault lasts, as it is written down.
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

/// A write that does not do what it says, and is reported as done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BadWrite {
    /// Writes before it since the run began.
    pub(crate) write: u64,
    pub(crate) how: WriteFault,
    /// What the crash at the end keeps.
    pub(crate) kept: Kept,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WriteFault {
    /// Only some of its sectors arrive: those whose bits are set, in turn.
    Torn(u64),
    Lost,
    /// It goes elsewhere, so many bytes away.
    Misdirected(i64),
    /// It arrives, and later what was there before is there again: an older write was repeated.
    Repeated,
}

/// Damage to files at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rot {
    /// The steps of the workload that are done before.
    pub(crate) steps: usize,
    /// How the store ends before.
    pub(crate) end: End,
    pub(crate) damage: Damage,
}

/// How a store comes to rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    Closed,
    Crash(Kept),
    /// It crashes, and the recovery is killed after so many operations of the disk.
    RecoveryCrash {
        kept: Kept,
        operation: u64,
    },
}

/// What is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Damage {
    /// The store is wrong before anything is damaged.
    Nothing,
    Flip {
        file: String,
        offset: u64,
        bit: u8,
    },
    /// All bits of bytes that are never read: nothing may come of it.
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
    /// The file as it was after so many steps.
    Older {
        file: String,
        steps: usize,
    },
    /// The file of that name of a store that did the same and has another id.
    Foreign {
        file: String,
    },
    /// Two files have each other's name.
    Exchange {
        one: String,
        other: String,
    },
}

/// Something went wrong, and what had befallen the store.
#[derive(Clone, Debug)]
pub(crate) struct Troubled {
    pub(crate) violation: Violation,
    pub(crate) trouble: Trouble,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Failing(Failing { call, fault, lasts, .. }) => {
                let lasts = if *lasts == Lasts::Once { "once" } else { "and goes on failing" };
                write!(f, "call {call} of the disk fails {lasts}: {}", fault.name())
            }
            Trouble::Write(BadWrite { write, how, .. }) => match how {
                WriteFault::Torn(_) => write!(f, "write {write} of the disk is torn"),
                WriteFault::Lost => write!(f, "write {write} of the disk is lost"),
                WriteFault::Misdirected(by) => {
                    write!(f, "write {write} of the disk goes {by} bytes astray")
                }
                WriteFault::Repeated => {
                    write!(f, "after write {write} of the disk an older one is repeated")
                }
            },
            Trouble::Rot(Rot { steps, end, damage }) => {
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
