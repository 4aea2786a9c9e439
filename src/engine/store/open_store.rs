//! The engine that all handles of an open store share.

use std::sync::Arc;

use super::receipt::Receipt;
use crate::engine::base::error::Result;
use crate::engine::base::foreign;
use crate::engine::base::lsn::Lsn;
use crate::engine::commit::{Background, Engine};
use crate::engine::disk::Disk;
use crate::engine::options::Options;
use crate::engine::recovery::{self, RecoverySummary};

/// An open engine. It is closed when the last handle (a store, keyspace, snapshot or range) is dropped.
#[derive(Debug)]
pub(super) struct OpenStore {
    engine: Arc<Engine>,
    recovery: RecoverySummary,
}

impl OpenStore {
    /// Recovers the store if it was not closed, creates it if there is none, and starts its threads.
    pub(super) fn open(disk: Arc<dyn Disk>, options: Options) -> Result<OpenStore> {
        // A read-only store has no work for the threads.
        let background = options.background && !options.read_only;
        let (engine, recovery) = recovery::open(disk, options)?;
        let engine = Arc::new(engine);
        if background {
            Background::start(&engine);
        }
        Ok(OpenStore { engine, recovery })
    }

    #[inline]
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn recovery(&self) -> &RecoverySummary {
        &self.recovery
    }

    /// The receipt of a commit of this incarnation.
    pub(super) fn receipt(&self, lsn: Lsn) -> Receipt {
        match self.engine.log() {
            Some(log) => Receipt::new(lsn, log),
            None => Receipt::settled(&self.engine.life(), lsn),
        }
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        if !self.engine.is_in_its_process() {
            // Its locks and threads belong to another process (FORK-1).
            std::mem::forget(Arc::clone(&self.engine));
            return;
        }
        // A thread that panics may drop the last handle; a second panic would end the process.
        foreign::call("closing the store", || {
            if let Err(error) = self.engine.close() {
                foreign::error!("{}: closing the store: {error}", self.engine.disk().path(""));
            }
        });
    }
}
