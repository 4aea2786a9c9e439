//! The stores under measurement: ours, and those that people would use instead.
//!
//! ```text
//!   Engine     how to open one, and what each of its modes promises
//!     Database   one open store, in one mode, shared by all threads
//!       Session    what one thread does to it
//! ```
//!
//! Everybody's operations run through the same three traits, in the same loop, with the same
//! keys: a call through a table of functions costs some nanoseconds, and each engine pays it.
//! Peers live in a package of their own, which hands its engines to [`super::run`].
//!
//! - MODES-1 A mode is compared only with modes of the same [`Guarantee`].
//! - MODES-2 An engine is used as its own documentation says is fastest for that guarantee, with the
//!   same cache size, and what it would lose stands beside its figures.

use std::path::Path;

use super::BenchError;
use crate::Watermarks;

/// What an acknowledged commit survives.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// The end of the process, as by SIGKILL: it is with the operating system.
    ProcessEnd,
    /// A power loss: the device has confirmed it.
    PowerLoss,
    /// Nothing: it may still be in a buffer of the process.
    Nothing,
}

/// One way of committing that an engine offers.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// As the engine calls it, in few words.
    pub name: &'static str,
    /// What an acknowledged commit survives.
    pub guarantee: Guarantee,
    /// What is lost if the process is killed.
    pub lost_on_kill: &'static str,
    /// What is lost if the power fails.
    pub lost_on_power_loss: &'static str,
}

/// What is the same for every engine in a run.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The cache that the engine may use, in bytes.
    pub cache_bytes: u64,
    /// About how much will be put in, in bytes: for engines that need to know their largest size.
    pub expected_bytes: u64,
}

/// A kind of store.
pub trait Engine: Send + Sync {
    /// As in the tables: lower case.
    fn name(&self) -> &'static str;

    /// The version that was built.
    fn version(&self) -> String;

    /// Its modes, at most one for each guarantee.
    fn modes(&self) -> &'static [Mode];

    /// Opens the store in `dir`, or makes it there, to commit in `mode`.
    ///
    /// # Errors
    /// What the engine says.
    fn open(&self, dir: &Path, mode: &Mode, sizes: &Sizes)
    -> Result<Box<dyn Database>, BenchError>;
}

/// An open store. Dropping it closes it, with everything on the device.
pub trait Database: Send + Sync {
    /// What one thread uses.
    fn session(&self) -> Box<dyn Session + '_>;

    /// Writes and flushes what is only in memory or in the log, as far as the engine has a call
    /// for it, so that the next measurement does not pay for this one.
    ///
    /// # Errors
    /// What the engine says.
    fn settle(&self) -> Result<(), BenchError>;

    /// Commits and flushes of the log so far, where the engine counts them.
    fn commits_and_flushes(&self) -> Option<(u64, u64)> {
        None
    }

    /// Where the log is, for who has such watermarks: shown while a measurement runs.
    fn watermarks(&self) -> Option<Watermarks> {
        None
    }
}

/// What one thread does to a store.
pub trait Session: Send {
    /// Commits one put in the mode of the store.
    ///
    /// # Errors
    /// What the engine says.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError>;

    /// Commits all `rows` as one.
    ///
    /// # Errors
    /// What the engine says.
    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError>;

    /// Shows the value of `key` to `seen`, with as little copying as the engine allows. Returns
    /// whether there is one.
    ///
    /// # Errors
    /// What the engine says.
    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError>;

    /// Shows up to `limit` rows to `seen`, in order, from `from` on. Returns how many.
    ///
    /// # Errors
    /// What the engine says.
    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, BenchError>;

    /// Reads `key` and puts what `change` makes of its value, in one transaction where the engine
    /// has them (YCSB F).
    ///
    /// # Errors
    /// What the engine says.
    fn read_modify_write(
        &mut self,
        key: &[u8],
        change: &mut dyn FnMut(&mut Vec<u8>),
    ) -> Result<(), BenchError>;
}
