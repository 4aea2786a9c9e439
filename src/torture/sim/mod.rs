//! The simulated tier: workloads on a disk in memory, crashed everywhere.
//!
//! ```text
//!   generate      a workload from a seed          case, step     how it is written down
//!   run           does it, keeps the books        history        commits in log order, promises
//!   watch         at each call of the disk        contents       keys, values, hashes
//!   explore       crash points, what is kept      subsets        which subsets
//!   judge         oracle P
//!   faults        failing calls, by meter        site         call sites
//!   rot, flips    damage to a specimen           trouble      how it is written down
//! ```

mod case;
mod contents;
mod explore;
mod faults;
mod flips;
mod generate;
mod history;
#[cfg(feature = "mutants")]
mod hunt;
mod judge;
mod meter;
mod mishap;
mod pace;
mod panics;
mod play;
mod report;
mod rot;
mod run;
mod saved;
mod shrink;
mod site;
mod specimen;
mod step;
mod story;
mod subsets;
mod tally;
mod trouble;
mod watch;
mod work;

#[cfg(feature = "mutants")]
pub(super) use self::hunt::{Hunt, hunt};
#[cfg(feature = "mutants")]
pub(super) use self::pace::Pace;
pub use self::report::replay;
pub(super) use self::work::run;
