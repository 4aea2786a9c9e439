//! Mutants: mistakes made on purpose, so that the tests can be tested.
//!
//! A crash-recovery suite that finds nothing may be a good sign or a blind suite. Each [`Mutant`]
//! is one plausible mistake, such as a flush forgotten or an off-by-one in a range, built into the
//! place in the engine where somebody could make it:
//!
//! ```text
//!   catalog   what mutants there are          switch   which one this thread lives with
//!      \                                       /
//!       `---- if broken(Mutant::FlushSkipped) { return Ok(()); }    in src/engine/log/flush.rs
//! ```
//!
//! The suite runs once for each and must fail each time. A mutant that lives shows what the suite
//! does not look at, or that the line it breaks is not needed.
//!
//! Only with the feature `mutants` can anything be broken: `with(mutant, work)` breaks the engine
//! for the calling thread while `work` runs. Without it [`broken`] is `false` at compile time, and
//! the compiler leaves out what it guards.
//!
//! A server has threads of its own. A whole process lives with a mistake if the variable
//! [`VARIABLE`] of its environment names it: the mutants of class `server` are hunted so, by
//! killed servers and their clients.
//!
//! To add one: a line in `catalog`, under its class, and one or two lines in the engine, where
//! the mistake would be made. It must
//!
//! - be one mistake, of the kind that passes a review;
//! - be able to do harm on a store that runs in one thread, unless it is the server's: what only
//!   threads that race could show is for the interleaving tests;
//! - get past the engine's own assertions if there is any way that it can;
//! - never hang and never break what `unsafe` code relies on.
//!
//! Mistakes that a second line of defence makes harmless are left out: they could not be caught.
//! Each is said to be so where it was looked at, so that nobody adds it again:
//!
//! - a page's stored checksum not compared: its address has 26 bits of what is computed;
//! - the page id not compared: it is under that checksum;
//! - the superblock always in one slot: its fields lie in one sector, which is not torn;
//! - the log flushed after the checkpoint's superblock, not before: all of it is in the pages.

mod catalog;

#[cfg(feature = "mutants")]
mod switch;

#[cfg(not(feature = "mutants"))]
#[path = "off.rs"]
mod switch;

/// The environment variable that makes `syncline serve` live with a mistake, in a build with the
/// feature `mutants`.
pub const VARIABLE: &str = "SYNCLINE_MUTANT";

pub use catalog::{Class, Mutant};
pub use switch::*;
