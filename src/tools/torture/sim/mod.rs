//! The simulated tier: workloads on a disk in memory, crashed at every operation of the disk.
//!
//! ```text
//!   work          the workers and their jobs      fault_jobs     jobs that inject a fault
//!   generate      a workload from a seed          case, step     the workload in a saved failure
//!   run           runs it, records its history    history        commits in log order, promises
//!   watch         the hook at each disk call      contents       keys, values, hashes
//!   explore       crash points, crash states      subsets        which unsynced changes survive
//!   judge, look   oracle P; every way to read a store
//!   quiet         the size of a store that nothing uses
//!   shape         the dimensions of a commit, and the pairs of them that a run has covered
//!   faults        failing calls, by meter         site           call sites
//!   rot, flips    damage to a specimen            injected       the fault in a saved failure
//!   shrink        makes a failure small           story, report  tell it and save it
//! ```

mod case;
mod contents;
mod explore;
mod fault_jobs;
mod faults;
mod flips;
mod generate;
mod history;
#[cfg(feature = "mutants")]
mod hunt;
mod injected;
mod judge;
mod look;
mod meter;
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
mod watch;
mod work;

// The museum builds its scenarios from these.
pub(super) use self::case::{Case, Setup};
pub(super) use self::contents::{KeyNo, KeyspaceNo, Stamp, hash_of};
pub(super) use self::explore::Depth;
pub(super) use self::history::{History, Mark};
pub(super) use self::judge::{Crash, Judge, Verdict, Violation};
pub(super) use self::play::{crash_point, explorer, play};
pub(super) use self::run::{StepOutcome, WorkloadRun};
pub(super) use self::step::{Change, Kept, Mode, Step};
pub(super) use self::subsets::Effort;
pub(super) use self::watch::{Point, Watch};

#[cfg(feature = "mutants")]
pub(super) use self::hunt::{Hunt, hunt};
#[cfg(feature = "mutants")]
pub(super) use self::pace::Pace;

pub use self::report::replay;
pub(super) use self::work::{flip, run};
