//! Tests that need a whole store to look at: recovery, openings, checkpoints, and who waits for whom.

mod checkpoints;
mod openings;
mod recovery;
mod waits;
