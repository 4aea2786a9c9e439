//! A failure as a file, with everything that replays it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::case::Case;
use super::explore::CrashAt;
use super::injected::InjectedFault;
use crate::tools::torture::{Clause, FailureKind};

/// The version of the file's format.
const FORMAT: u32 = 1;

/// A saved failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) format: u32,
    /// The version of Syncline that found it.
    pub(crate) version: String,
    /// The seed of the workload that showed it first.
    pub(crate) seed: u64,
    /// The mutant that was active.
    pub(crate) mutant: Option<String>,
    pub(crate) kind: FailureKind,
    pub(crate) clause: Clause,
    pub(crate) what: String,
    pub(crate) case: Case,
    /// The crashes, each during the recovery from the one before.
    pub(crate) crashes: Vec<CrashAt>,
    /// The fault that was injected, crashes aside.
    #[serde(rename = "trouble")]
    pub(crate) injected: Option<InjectedFault>,
}

impl Saved {
    pub(crate) fn format() -> u32 {
        FORMAT
    }

    /// Writes it into `directory` and returns the file.
    pub(crate) fn write(&self, directory: &Path) -> Result<PathBuf, String> {
        let cannot = |error| format!("cannot write into {}: {error}", directory.display());
        std::fs::create_dir_all(directory).map_err(cannot)?;
        let file = directory.join(format!("{}-{:016x}.json", self.clause, self.seed));
        let text = serde_json::to_string_pretty(self).expect("plain data");
        std::fs::write(&file, text + "\n").map_err(cannot)?;
        Ok(file)
    }

    /// Reads it.
    pub(crate) fn read(file: &Path) -> Result<Saved, String> {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {name}: {e}"))?;
        let saved: Saved =
            serde_json::from_str(&text).map_err(|e| format!("{name} is no saved failure: {e}"))?;
        if saved.format != FORMAT {
            let found = saved.format;
            return Err(format!("{name} has format {found}; this version reads format {FORMAT}"));
        }
        Ok(saved)
    }
}
