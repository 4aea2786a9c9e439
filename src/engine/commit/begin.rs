//! The beginning of an incarnation: the first write after the store was opened.

use std::sync::Arc;

use parking_lot::Mutex;

use super::engine::{CommitState, Engine, Live};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Incarnation, Life, LifeMark, Lsn, Secret};
use crate::engine::cache::WriteGroup;
use crate::engine::log::format::Geometry;
use crate::engine::log::{LEAST_SEGMENT, Log, LogOptions, Segments};
use crate::engine::mutants::mutant;
use crate::engine::space::{Claim, Head};

/// Pages that the prologue of an incarnation changes at most.
const PROLOGUE_PAGES: u64 = 16;

/// What becomes of the log before an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Older {
    /// It is needed until the next checkpoint.
    Keep,
    /// Nobody needs it: its files are removed, the last by the next checkpoint.
    Remove,
}

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
        if state.sealed {
            return Err(Error::Closed);
        }
        // If writing the head failed before, it may name the segment that was made for it, which
        // must stay.
        self.space.check_poison()?;
        // 1. A fresh segment. The store was closed, so every older one can go, but not before the
        //    superblock that says so is known to be durable: an older one may need them.
        mutant!(BeginningUnconfirmed: self.space.confirm()? => ());
        // What the prologue needs: nothing after this fails for want of blocks. It reads the free
        // map, which confirms the superblock as well.
        mutant!(BeginningUnconfirmed:
            self.cache.provide_blocks(PROLOGUE_PAGES, Claim::Less)? => ());
        let head = self.space.superblock().head;
        // The life that ended last. An attempt that failed after 2 has committed nothing, and the one
        // before it is not in the catalog yet.
        let (former, former_mark, former_end) = match head.clean {
            true => (head.incarnation, head.mark, head.checkpoint),
            false => (head.former, head.former_mark, head.former_end),
        };
        let life = self.draw_life(head.incarnation.next())?;
        let log = self.begin_log(&mut state, life, head.checkpoint, Older::Remove)?;
        // 2. From here on the store is not closed: recovery looks at the new segment.
        let begun = Head {
            durable: head.durable.max(head.checkpoint),
            incarnation: life.incarnation,
            mark: life.mark,
            secret: life.secret,
            log_start: log.start(),
            former,
            former_mark,
            former_end,
            newest_segment: log.first_segment(),
            clean: false,
            ..head
        };
        mutant!(BeginningUnrecorded: self.space.write_head(begun)? => ());
        // 3. The prologue: what the catalog must have before the first commit. Not logged: the
        //    superblock just written has all of it.
        let CommitState { writer, trees, .. } = &mut *state;
        let mut group = WriteGroup::begin(&self.cache, writer, log.start());
        trees.note_end(&mut group, former, former_mark, former_end)?;
        trees.publish(group);
        let has_dropped = !trees.catalog.doomed.is_empty();
        self.go_live(log, has_dropped)
    }

    /// A life of the store with a mark and a secret of its own.
    pub(crate) fn draw_life(&self, incarnation: Incarnation) -> Result<Life> {
        let (mut mark, mut secret) = ([0; 8], [0; 16]);
        self.disk.random(&mut mark)?;
        self.disk.random(&mut secret)?;
        mutant!(SaltPredictable => {
            secret[..8].copy_from_slice(&mark);
            secret[8..].copy_from_slice(&mark);
        });
        // 0 is for a life without one.
        let mark = LifeMark(u64::from_le_bytes(mark).max(1));
        Ok(Life { store: self.store_id(), incarnation, mark, secret: Secret(secret) })
    }

    /// Starts the log of a life in a segment of its own, behind every segment there is.
    pub(crate) fn begin_log(
        &self,
        state: &mut CommitState,
        life: Life,
        end: Lsn,
        older: Older,
    ) -> Result<Arc<Log>> {
        let segment_bytes = self.space.superblock().segment_bytes;
        let geometry = Geometry::new(segment_bytes);
        let found = Segments::find(&*self.disk, self.store_id())?;
        let first = found.next_after(geometry.segment_of(end), geometry);
        let numbers = found.own;
        let last = numbers.iter().copied().filter(|number| *number < first).max().unwrap_or(0);
        // The last stays until the first checkpoint: it keeps a later attempt, should this one
        // fail, from taking a number that was taken before.
        let mut done = numbers.clone();
        done.retain(|number| older == Older::Remove && *number < last);
        let options = LogOptions {
            segment_bytes,
            first_bytes: LogOptions::default()
                .first_bytes
                .min(segment_bytes / 4)
                .max(LEAST_SEGMENT),
            max_unsynced_bytes: self.options.max_unsynced_bytes,
            flush_interval: self.options.flush_interval,
            ..LogOptions::default()
        };
        let disk = Arc::clone(&self.disk);
        let begin = |done: &[u64], first_bytes: u64| {
            let options = LogOptions { first_bytes, ..options.clone() };
            Log::begin(Arc::clone(&disk), options, life, first, done)
        };
        // On a full disk the least is as much as the mark of a closed store takes, and enough to begin.
        let mut begun = begin(&done, options.first_bytes);
        if matches!(begun, Err(Error::DiskFull { .. })) {
            begun = begin(&done, LEAST_SEGMENT);
        }
        // The last one has to make room: what it is kept for matters less than that a store on a full
        // disk goes on. No attempt before this one has committed anything.
        let has_last = older == Older::Remove && done.len() < numbers.len();
        for bytes in [LEAST_SEGMENT, LEAST_SEGMENT / 2] {
            if matches!(begun, Err(Error::DiskFull { .. })) && has_last {
                begun = begin(&numbers, bytes); // an earlier version's mark was shorter
            }
        }
        let (log, appender) = begun?;
        state.appender = Some(appender);
        Ok(Arc::new(log))
    }

    /// From now on commits are taken. If an earlier life has left dropped keyspaces, they are taken apart.
    pub(crate) fn go_live(&self, log: Arc<Log>, has_dropped: bool) -> Result<&Live> {
        log.set_registry(Arc::clone(&self.space) as _);
        let threads = self.options.background.then(|| log.spawn()).transpose()?;
        let live = Live { log, threads: Mutex::new(threads) };
        assert!(self.live.set(live).is_ok(), "an incarnation begins once");
        if has_dropped {
            self.background.ring_checkpointer();
        }
        Ok(self.live.get().expect("just set"))
    }
}
