//! Mutants: mistakes built into the engine on purpose, to test its crash suite.
//!
//! A crash-recovery suite that finds nothing may be a good sign or a blind suite. Each [`Mutant`]
//! is one plausible mistake, such as a forgotten flush or an off-by-one in a range. It stands in the
//! engine where a programmer could make it:
//!
//! ```text
//!   catalog   all mutants          switch   the mutant that is active in this thread
//!      \                            /
//!       `---- mutant!(FlushSkipped => return Ok(()));    in src/engine/log/flush.rs
//! ```
//!
//! The suite runs once per mutant and must fail each time. A mutant that survives shows what the
//! suite does not check, or that the line it breaks is not needed.
//!
//! Mistakes exist only with the feature `mutants`. There, `with(mutant, work)` activates a mutant in
//! the calling thread while `work` runs. Without the feature, `mutant!` expands to the sound code
//! alone; helpers that only a mistake calls carry `#[cfg(feature = "mutants")]`.
//!
//! A server starts threads of its own. The environment variable [`VARIABLE`] therefore activates a
//! mutant in a whole process. The suite hunts the mutants of class `server` this way: it kills
//! servers and lets their clients judge.
//!
//! To add a mutant: a line in `catalog`, under its class, and one `mutant!` in the engine. The
//! sound code must read as if the mutant were not there: no `let mut` and no variable for its sake.
//! A mutant must
//!
//! - be one mistake, of the kind that passes a review;
//! - be able to do harm in a store that runs in one thread, except a server's: mistakes that only
//!   racing threads reveal belong to the interleaving tests;
//! - get past the engine's own assertions if there is any way that it can;
//! - never hang and never break what `unsafe` code relies on;
//! - be more than `cargo mutants` makes by itself, unless an exhibit of the museum needs it.
//!
//! A mistake that a second line of defence makes harmless cannot be caught. These are left out:
//!
//! - a page's stored checksum not compared: its address has 26 bits of the computed one;
//! - the page id not compared: the checksum covers it;
//! - the superblock always in one slot: its fields lie in one sector, which a crash does not tear;
//! - the log flushed after the checkpoint's superblock, not before: the pages have all of it.
//!
//! Left out because `cargo mutants` makes it: the older of two superblocks chosen (a swapped comparison
//! in `space/slots.rs`).

mod catalog;
#[cfg(feature = "mutants")]
mod switch;

/// The environment variable that activates a mutant in `syncline serve`, in a build with the
/// feature `mutants`.
pub const VARIABLE: &str = "SYNCLINE_MUTANT";

pub use catalog::{Class, Mutant};
#[cfg(feature = "mutants")]
pub use switch::*;

/// Builds a mistake in, which happens while one of the named mutants is active:
///
/// ```text
///   mutant!(FlushSkipped => return Ok(()));                  in addition to the sound code
///   mutant!(PageUnverified: checksum(page) => stored)        instead of the sound expression
///   mutant!(SegmentNotedEarly | SegmentUnnoted: note()? => ());   leaves it out, for two mutants
/// ```
///
/// A match arm that is a mistake has the guard `if mutant!(Name: false => true)`, and a `cfg`.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($($name:ident)|+: $sound:expr => $mistake:expr) => {
        if $($crate::engine::mutants::is_active($crate::engine::mutants::Mutant::$name))||+ {
            $mistake
        } else {
            $sound
        }
    };
    ($($name:ident)|+ => $mistake:expr) => {
        mutant!($($name)|+: () => { $mistake; })
    };
}

/// Nothing but the sound code: this build has no mistakes.
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($($name:ident)|+: $sound:expr => $mistake:expr) => {
        $sound
    };
    ($($name:ident)|+ => $mistake:expr) => {};
}

pub(crate) use mutant;
