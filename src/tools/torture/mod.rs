//! The crash-recovery suite: it lets everything befall a store that can, and judges the recovery.
//!
//! ```text
//!   run ------+-- sim        the simulated disk: crash states, failing calls, rot; exhaustive
//!   (tiers)   +-- kill       real processes on real files, killed; Linux
//!             +-- server     a store that is served, its server killed; judged by its clients
//!             +-- museum     known bugs, ours and others', as scenarios
//!             `-- gate       builds broken on purpose: each must be caught
//!                  |
//!               oracle P     the clauses that judge every recovery (`Clause`)
//!                  |
//!   config  progress  summary  failure      the settings, the counters, the results
//!   watch  table  html                      shows them: live, at the end, as a page
//! ```
//!
//! `CRASH-SUITE.md` says what is checked and what is not, how to read a failure, and how to add a
//! fault, a workload, a mutant.
//!
//! - A run follows from its seed: a simulated workload always gives the same trace.
//! - A failure has one of three kinds, each with its exit status: the store broke a promise
//!   (safety), it did not go on when it could (liveness), or the suite could not work (harness).

mod config;
mod failure;
mod processor;
mod progress;
mod summary;

#[cfg(feature = "mutants")]
mod gate;
#[cfg(not(feature = "mutants"))]
#[path = "gate/off.rs"]
mod gate;
#[cfg(target_os = "linux")]
pub mod kill;
#[cfg(not(target_os = "linux"))]
#[path = "kill/elsewhere.rs"]
pub mod kill;
mod museum;
#[cfg(unix)]
mod scratch;
#[cfg(unix)]
pub mod server;
#[cfg(not(unix))]
#[path = "server/elsewhere.rs"]
pub mod server;
mod sim;

mod merge;
mod run;

mod digest;
mod html;
mod table;
mod watch;

#[cfg(test)]
mod sample;

pub use self::config::{Config, Suite, Tier};
pub use self::failure::{Clause, Failure, FailureKind};
pub use self::gate::{HUNTER, hunter};
pub use self::html::page;
pub use self::progress::Progress;
pub use self::run::{limit, run};
pub use self::sim::replay;
pub use self::summary::{
    Caught, Exhibit, FaultRow, GateSummary, KillSummary, Moment, MuseumSummary, Picture, RotRow,
    ServerSummary, SimSummary, SiteRow, Summary,
};
pub use self::table::table;
pub use self::watch::{story, watch};
