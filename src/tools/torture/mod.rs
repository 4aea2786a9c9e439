//! The crash-recovery suite: everything that can befall a store, and what must hold afterwards.
//!
//! ```text
//!   run ------+-- sim        the simulated disk: crash states, failing calls, rot; exhaustive
//!   (tiers)   +-- kill       real processes on real files, killed; Linux
//!             +-- server     a store that is served, its server killed; judged by its clients
//!             +-- museum     known bugs, ours and others', told as scenarios
//!             `-- gate       builds broken on purpose: each must be caught
//!                  |
//!               oracle P     what every recovery is judged by (`Clause`)
//!                  |
//!   config  progress  summary  failure      what is asked, what is seen meanwhile, what is told
//!   watch  table  html                      how that is shown: live, at the end, as a page
//! ```
//!
//! `CRASH-SUITE.md` says what is checked and what is not, how to read a failure, and how to add a
//! fault, a workload, a mutant.
//!
//! - A run follows from its seed: what is simulated gives the same trace, always.
//! - A failure is of one of three kinds: the store broke a promise (safety), it did not go on
//!   when it could (liveness), or the suite itself could not do its work (harness). They have
//!   exit statuses of their own.

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
mod place;
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
