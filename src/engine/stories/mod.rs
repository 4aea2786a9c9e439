//! Tests of the engine that need a whole store: recovery, opening, checkpoints, and which calls wait.

mod checkpoints;
mod openings;
mod recovery;
mod waits;
