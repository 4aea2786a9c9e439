//! The common base of the engine, which imports no other part of it.

pub(crate) mod codec;
pub(crate) mod durations;
pub(crate) mod error;
pub(crate) mod foreign;
pub(crate) mod lsn;
pub(crate) mod problems;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod random;
pub(crate) mod sync;
