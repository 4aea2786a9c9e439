//! The public interface of the embedded store.

mod batch;
mod handle;
pub mod inspect;
mod keyspace;
#[cfg(feature = "server")]
mod nonblocking;
mod open;
mod open_store;
mod range;
mod receipt;
#[cfg(any(feature = "cli", test))]
mod simulate;
mod snapshot;
mod stats;
mod status;
mod value;
mod verify;

pub use crate::engine::commit::Watermarks;
pub use crate::engine::commit::checkpoint::CheckpointStats;
pub use crate::engine::recovery::RecoverySummary;
pub use batch::WriteBatch;
pub use handle::Store;
pub use keyspace::Keyspace;
#[cfg(feature = "server")]
pub(crate) use nonblocking::{BatchSize, Gathered};
pub use range::Range;
#[cfg(feature = "client")]
pub(crate) use range::prefix_bounds;
#[cfg(any(test, fuzzing, feature = "server", feature = "client"))]
pub(crate) use receipt::Token;
pub use receipt::{Receipt, Status};
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use value::{Entry, Value};
pub use verify::Verification;
