//! The beginning of an incarnation: the first write after the store was opened.

use std::sync::Arc;

use parking_lot::Mutex;

use super::engine::{CommitState, Engine, Live};
use crate::cache::WriteGroup;
use crate::error::Result;
use crate::log::{Log, LogOptions, segment_number};
use crate::lsn::{Incarnation, Lsn};
use crate::mutants::{Mutant, broken};
use crate::space::Head;

impl Engine {
    /// The log, begun by the first call.
    ///
    /// A store that is only read is not written to, not even its superblock.
    pub(crate) fn live(&self) -> Result<&Live> {
        if let Some(live) = self.live.get() {
            return Ok(live);
        }
        let mut state = self.commit.lock();
        if let Some(live) = self.live.get() {
            return Ok(live);
        }
        // If writing the head failed before, it may name the segment that was made for it, which
        // must stay.
        self.space.check_poison()?;
        // The segments that are recycled here are all that a former superblock has.
        self.space.confirm_superblock()?;
        // 1. A fresh segment. The store was closed, so those of the last incarnation can be
        //    recycled.
        let head = self.space.superblock().head;
        let log = self.begin_log(&mut state, head.incarnation.next(), head.checkpoint, true)?;
        // 2. From here on the store is not closed: recovery looks at the new segment.
        let begun = Head {
            durable: head.durable.max(head.checkpoint),
            incarnation: head.incarnation.next(),
            log_start: log.start(),
            former: head.incarnation,
            former_end: head.checkpoint,
            clean: false,
            ..head
        };
        if !broken(Mutant::BeginningUnrecorded) {
            self.space.write_head(begun)?;
        }
        // 3. The prologue: what the catalog must have before the first commit. Not logged: the
        //    superblock just written has all of it.
        let CommitState { writer, trees, .. } = &mut *state;
        let mut group = WriteGroup::begin(&self.cache, writer, log.start());
        trees.note_end(&mut group, head.incarnation, head.checkpoint)?;
        trees.publish(group);
        self.go_live(log, head.incarnation.next())
    }

    /// Starts the log of `incarnation` in a segment of its own, behind every segment there is.
    pub(crate) fn begin_log(
        &self,
        state: &mut CommitState,
        incarnation: Incarnation,
        end: Lsn,
        recycle_all: bool,
    ) -> Result<Arc<Log>> {
        let superblock = self.space.superblock();
        let segment_bytes = superblock.segment_bytes;
        let names = self.disk.list()?;
        let numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        let last = numbers.iter().copied().max().unwrap_or(0).max(end.get() / segment_bytes);
        // Only what the last incarnation used is sure to be durable at its length: other files may
        // be left of an attempt whose flush failed.
        let used = superblock.head.log_start.get() / segment_bytes..=end.get() / segment_bytes;
        let mut spare = names;
        spare.retain(|name| recycle_all && segment_number(name).is_some_and(|n| used.contains(&n)));
        let options = LogOptions {
            segment_bytes,
            max_unsynced_bytes: self.options.max_unsynced_bytes,
            flush_interval: self.options.flush_interval,
            ..LogOptions::default()
        };
        let disk = Arc::clone(&self.disk);
        let (log, appender) =
            Log::begin(disk, options, self.store_id(), incarnation, last + 1, spare)?;
        state.appender = Some(appender);
        Ok(Arc::new(log))
    }

    /// From now on commits are taken.
    pub(crate) fn go_live(&self, log: Arc<Log>, incarnation: Incarnation) -> Result<&Live> {
        let threads = self.options.background.then(|| log.spawn()).transpose()?;
        let live = Live { log, incarnation, threads: Mutex::new(threads) };
        assert!(self.live.set(live).is_ok(), "an incarnation begins once");
        Ok(self.live.get().expect("just set"))
    }
}
