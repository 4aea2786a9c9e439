//! The stores under measurement: ours and its alternatives.
//!
//! ```text
//!   Engine     opens a store; the guarantee of each of its modes
//!     Database   one open store, in one mode, shared by all threads
//!       Session    the operations of one thread
//! ```
//!
//! The operations of every engine run through the same three traits, in the same loop, with the same
//! keys. A call through a table of functions costs some nanoseconds, and each engine pays them.
//! Peers live in a package of their own, which hands its engines to [`super::run`].
//!
//! - MODES-1 A mode is compared only with modes of the same [`Guarantee`].
//! - MODES-2 An engine has the settings that its own documentation says are fastest for that guarantee,
//!   and the same cache size. The table says what it would lose.

use std::path::Path;
use std::time::Instant;

use super::error::BenchError;
use crate::Watermarks;

/// What an acknowledged commit survives.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// The end of the process, as by SIGKILL: the operating system has the commit.
    ProcessEnd,
    /// A power loss: the device has confirmed the commit.
    PowerLoss,
    /// Nothing: the commit may still be in a buffer of the process.
    Nothing,
}

/// One way of committing that an engine offers.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// The engine's name for it, in few words.
    pub name: &'static str,
    /// What an acknowledged commit survives.
    pub guarantee: Guarantee,
    /// The commits that a kill of the process loses.
    pub lost_on_kill: &'static str,
    /// The commits that a power loss loses.
    pub lost_on_power_loss: &'static str,
}

/// Sizes that are the same for every engine of a run.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The cache that the engine may use, in bytes.
    pub cache_bytes: u64,
    /// What the engine may keep of rows that it has not yet moved to where they stay: one memtable, or
    /// the part of its log that a checkpoint will move. In bytes.
    pub write_buffer_bytes: u64,
    /// About how many bytes will be stored: for engines that must know their largest size.
    pub expected_bytes: u64,
    /// The size of most values, in bytes: for engines that keep large ones apart.
    pub value_bytes: usize,
}

/// The write buffer of an engine where memory is not the question: the default of fjall, RocksDB and
/// canopydb.
pub const WRITE_BUFFER_BYTES: u64 = 64 << 20;

/// A kind of store.
pub trait Engine: Send + Sync {
    /// Its name in the tables, in lower case.
    fn name(&self) -> &'static str;

    /// The version that was built.
    fn version(&self) -> String;

    /// Its modes, at most one for each guarantee.
    fn modes(&self) -> &'static [Mode];

    /// What it is, what it is set to here, and what it is good at: a paragraph that its author would
    /// sign.
    fn about(&self) -> &'static str;

    /// Whether [`Session::read_modify_write`] is atomic.
    fn changes_atomically(&self) -> bool {
        true
    }

    /// Opens the store in `dir`, or makes it there, to commit in `mode`.
    ///
    /// # Errors
    /// The engine's own error.
    fn open(&self, dir: &Path, mode: &Mode, sizes: &Sizes)
    -> Result<Box<dyn Database>, BenchError>;
}

/// An open store. Dropping it closes it, with everything on the device.
pub trait Database: Send + Sync {
    /// A session for one thread.
    fn session(&self) -> Box<dyn Session + '_>;

    /// Writes back everything that is only in memory or in the log, as far as the engine has a call
    /// for it, so that the next measurement does not pay for this one.
    ///
    /// # Errors
    /// The engine's own error.
    fn settle(&self) -> Result<(), BenchError>;

    /// Commits and flushes of the log so far, where the engine counts them.
    fn commits_and_flushes(&self) -> Option<(u64, u64)> {
        None
    }

    /// A moment before which every acknowledged commit is on the device, so far as the engine's own
    /// flushes show: the beginning of the last one that has ended. `None` if none has, or if flushes
    /// cannot be seen.
    fn flushed_until(&self) -> Option<Instant> {
        None
    }

    /// Whether [`Database::flushed_until`] sees flushes.
    fn sees_flushes(&self) -> bool {
        false
    }

    /// The watermarks of the log, of an engine that has them: shown while a measurement runs.
    fn watermarks(&self) -> Option<Watermarks> {
        None
    }
}

/// The operations of one thread on a store.
pub trait Session: Send {
    /// Commits one put in the mode of the store.
    ///
    /// # Errors
    /// The engine's own error.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError>;

    /// Commits all `rows` as one.
    ///
    /// # Errors
    /// The engine's own error.
    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError>;

    /// Commits the removal of all `keys` as one. Every key is there.
    ///
    /// # Errors
    /// The engine's own error.
    fn delete_batch(&mut self, keys: &[&[u8]]) -> Result<(), BenchError>;

    /// Commits one removal of a key that is there.
    ///
    /// # Errors
    /// The engine's own error.
    fn delete(&mut self, key: &[u8]) -> Result<(), BenchError> {
        self.delete_batch(&[key])
    }

    /// Shows the value of `key` to `seen`, with as little copying as the engine allows. Returns
    /// whether there is one.
    ///
    /// # Errors
    /// The engine's own error.
    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError>;

    /// Shows up to `limit` rows to `seen`, in order, from `from` on. Returns how many.
    ///
    /// # Errors
    /// The engine's own error.
    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, BenchError>;

    /// Reads `key`, changes its value by `change` and puts it (YCSB F), as one transaction if
    /// [`Engine::changes_atomically`].
    ///
    /// # Errors
    /// The engine's own error.
    fn read_modify_write(
        &mut self,
        key: &[u8],
        change: &mut dyn FnMut(&mut Vec<u8>),
    ) -> Result<(), BenchError>;
}
