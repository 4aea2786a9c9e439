//! The simulated tier: workloads on a disk in memory, crashed everywhere.
//!
//! ```text
//!   generate      a workload from a seed          case, step     how it is written down
//!   run           does it, keeps the books        history        commits in log order, promises
//!   watch         at each call of the disk        contents       keys, values, hashes
//!   explore       crash points, what is kept      subsets        which subsets
//!   judge, look   oracle P; what a store is looked at with
//!   quiet         what is left when all is let go
//!   shape         the dimensions of a commit, and which pairs of them were met
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
mod look;
mod meter;
mod mishap;
mod pace;
pub(super) mod panics;
mod play;
mod quiet;
mod report;
mod rot;
mod run;
mod saved;
mod shape;
mod shrink;
mod site;
mod specimen;
mod step;
pub(super) mod story;
mod subsets;
mod tally;
mod trouble;
mod watch;
mod work;

// For the museum, which tells its scenarios with the same means.
pub(super) use self::case::{Case, Setup};
pub(super) use self::contents::{KeyNo, KeyspaceNo, Stamp, hash_of};
pub(super) use self::explore::Depth;
pub(super) use self::history::{History, Mark};
pub(super) use self::judge::{Crash, Judge, Verdict, Violation};
pub(super) use self::play::{crash_point, explorer, play};
pub(super) use self::run::{Outcome, Run};
pub(super) use self::step::{Change, Kept, Mode, Step};
pub(super) use self::subsets::Effort;
pub(super) use self::watch::{Point, Watch};

#[cfg(feature = "mutants")]
pub(super) use self::hunt::{Hunt, hunt};
#[cfg(feature = "mutants")]
pub(super) use self::pace::Pace;

pub use self::report::replay;
pub(super) use self::work::{flip, run};
