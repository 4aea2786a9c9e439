//! A case: everything that one simulated run follows from. It can be written to a file.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::engine::disk::SimDisk;
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
}

impl Setup {
    /// Whether a step commits more than the cache keeps together, so that pages are read amid it.
    pub(crate) fn evicts_its_own(&self, step: &Step) -> bool {
        let frames = self.cache_bytes / u64::from(self.page_bytes);
        matches!(step, Step::Commit { changes, .. } if changes.len() as u64 > frames / 4)
    }
}

/// A store that ends as in a crash: when this is dropped, nothing more is written.
#[derive(Debug)]
pub(crate) struct Opened {
    /// There until this is dropped or taken apart.
    store: Option<Store>,
    disk: SimDisk,
}

impl Opened {
    /// The store, which now ends as any other.
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
        // A store that has panicked may panic again when it is closed.
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
