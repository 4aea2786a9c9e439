//! Measurements in a process of their own: one that is killed, one whose memory is bounded, one whose
//! memory is counted.
//!
//! ```text
//!   the benchmark                          the child: this program with a hidden command
//!     Errand, one line of JSON   ------->    opens the store, works
//!     Report, one line of JSON   <-------    and answers
//!                                            (Work::Put) waits to be killed, its store still open
//! ```
//!
//! The child is the only one that has the store open meanwhile (STAGE-1).

mod errand;
mod memory;
mod parent;
mod work;

pub(super) use errand::{Errand, Work};
pub(super) use parent::run_errand;
pub use work::{CHILD, do_errand};
