//! Syncline.
#![allow(dead_code, unused_imports)] // skeleton

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod bench;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod codec;
pub mod disk;
mod error;
mod log;
mod lsn;
mod space;
mod sync;
mod tree;

pub use error::{Error, Result};
pub use lsn::{Incarnation, Lsn, StoreId};
