//! What every part of the engine uses, and what uses none of them.

pub(crate) mod codec;
pub(crate) mod course;
pub(crate) mod durations;
pub(crate) mod error;
pub(crate) mod foreign;
pub(crate) mod lsn;
pub(crate) mod problems;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod sync;
