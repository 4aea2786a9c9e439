//! A case: everything that one simulated run follows from. It can be written to a file.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::disk::SimDisk;
use crate::{Options, Result, Store};

/// How the store is opened: small, so that everything happens often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) page_bytes: u32,
    pub(crate) cache_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) checkpoint_log_bytes: u64,
    pub(crate) max_unsynced_bytes: u64,
}

impl Setup {
    /// Opens the store on `disk`, without threads. The limits of [`Options::open`] do not hold
    /// here: smaller caches and segments than anybody should have are met more often.
    pub(crate) fn open(&self, disk: &SimDisk) -> Result<Store> {
        let options = Options::new()
            .page_bytes(self.page_bytes)
            .cache_bytes(self.cache_bytes)
            .segment_bytes(self.segment_bytes)
            .checkpoint_log_bytes(self.checkpoint_log_bytes)
            .max_unsynced_bytes(self.max_unsynced_bytes)
            .store_id(*b"syncline torture")
            .without_threads();
        Store::open_on(Arc::new(disk.clone()), options)
    }
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) setup: Setup,
    pub(crate) steps: Vec<Step>,
}
