//! A case: the options and steps that determine one simulated run. It can be written to a file.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::engine::disk::SimDisk;
use crate::{Options, Result, Store};

/// The options of the store: small, so that checkpoints and evictions happen often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) page_bytes: u32,
    pub(crate) cache_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) checkpoint_log_bytes: u64,
    pub(crate) max_unsynced_bytes: u64,
}

impl Setup {
    /// Opens the store on `disk`, without threads. The lower limits of [`Options::open`] do not hold
    /// here: smaller caches and segments reach rare states more often.
    pub(crate) fn open(&self, disk: &SimDisk) -> Result<Opened> {
        let options = Options::new()
            .page_bytes(self.page_bytes)
            .cache_bytes(self.cache_bytes)
            .segment_bytes(self.segment_bytes)
            .checkpoint_log_bytes(self.checkpoint_log_bytes)
            .max_unsynced_bytes(self.max_unsynced_bytes)
            .store_id(*b"syncline torture")
            .without_threads();
        let store = Store::open_on(Arc::new(disk.clone()), options)?;
        Ok(Opened { store: Some(store), disk: disk.clone() })
    }

    /// Whether a step commits more rows than a quarter of the frames, so that it reads pages while it
    /// is applied.
    pub(crate) fn evicts_its_own(&self, step: &Step) -> bool {
        let frames = self.cache_bytes / u64::from(self.page_bytes);
        matches!(step, Step::Commit { changes, .. } if changes.len() as u64 > frames / 4)
    }
}

/// An open store that ends as in a crash: dropping it writes nothing.
#[derive(Debug)]
pub(crate) struct Opened {
    /// None only after `into_store`.
    store: Option<Store>,
    disk: SimDisk,
}

impl Opened {
    /// The store, which from now on closes as usual.
    pub(crate) fn into_store(mut self) -> Store {
        self.store.take().expect("an open store")
    }
}

impl Deref for Opened {
    type Target = Store;

    fn deref(&self) -> &Store {
        self.store.as_ref().expect("an open store")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Some(store) = self.store.take() else { return };
        self.disk.crash_after(0);
        // After a panic the store may panic again when it is closed.
        if std::thread::panicking() {
            std::mem::forget(store);
        }
    }
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) setup: Setup,
    pub(crate) steps: Vec<Step>,
}
