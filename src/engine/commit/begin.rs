//! The beginning of an incarnation: the first write after the store was opened.

use std::sync::Arc;

use parking_lot::Mutex;

use super::engine::{CommitState, Engine, LiveLog};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Incarnation, Life, LifeMark, Lsn, Secret};
use crate::engine::cache::WriteGroup;
use crate::engine::log::format::Geometry;
use crate::engine::log::{LEAST_SEGMENT, Log, LogOptions, Segments};
use crate::engine::mutants::mutant;
use crate::engine::space::{Claim, Head};

/// The most pages that the prologue of an incarnation changes.
const PROLOGUE_PAGES: u64 = 16;

/// What becomes of the segments of earlier incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OlderSegments {
    /// They are needed until the next checkpoint.
    Keep,
    /// They are needed no more, and are removed: the last one by the next checkpoint.
    Remove,
}

impl Engine {
    /// The log, begun by the first call: a store that is only read is never written to, not even its
    /// superblock.
    pub(crate) fn live(&self) -> Result<&LiveLog> {
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
        // An earlier attempt may have failed to write the head: it may name that attempt's segment,
        // which must stay.
        self.space.check_poison()?;
        // 1. A fresh segment. The store was closed, so every older segment can go, but not before the
        //    superblock that says so is known to be durable: an older superblock may need them.
        mutant!(BeginningUnconfirmed: self.space.confirm()? => ());
        // What the prologue needs: nothing after this fails for want of blocks. It reads the free
        // map, which confirms the superblock as well.
        mutant!(BeginningUnconfirmed:
            self.cache.provide_blocks(PROLOGUE_PAGES, Claim::Less)? => ());
        let head = self.space.superblock().head;
        // The life that ended last. An attempt that failed after 2 has committed nothing, and the life
        // before it is not in the catalog yet.
        let (former, former_mark, former_end) = match head.clean {
            true => (head.incarnation, head.mark, head.checkpoint),
            false => (head.former, head.former_mark, head.former_end),
        };
        let life = self.draw_life(head.incarnation.next())?;
        let log = self.begin_log(&mut state, life, head.checkpoint, OlderSegments::Remove)?;
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
        // 3. The prologue notes the end of the last life in the catalog. It is not logged: the
        //    superblock just written has it.
        let CommitState { writer, trees, .. } = &mut *state;
        let mut group = WriteGroup::begin(&self.cache, writer, log.start());
        trees.note_end(&mut group, former, former_mark, former_end)?;
        trees.publish(group);
        let has_dropped = !trees.catalog.doomed.is_empty();
        self.go_live(log, has_dropped)
    }

    /// Draws the mark and the secret of a new life.
    pub(crate) fn draw_life(&self, incarnation: Incarnation) -> Result<Life> {
        let (mut mark, mut secret) = ([0; 8], [0; 16]);
        self.disk.random(&mut mark)?;
        self.disk.random(&mut secret)?;
        mutant!(SaltPredictable => {
            secret[..8].copy_from_slice(&mark);
            secret[8..].copy_from_slice(&mark);
        });
        // 0 stands for a life without a mark.
        let mark = LifeMark(u64::from_le_bytes(mark).max(1));
        Ok(Life { store: self.store_id(), incarnation, mark, secret: Secret(secret) })
    }

    /// Starts the log of a life in a segment of its own, behind every existing segment.
    pub(crate) fn begin_log(
        &self,
        state: &mut CommitState,
        life: Life,
        end: Lsn,
        older: OlderSegments,
    ) -> Result<Arc<Log>> {
        let segment_bytes = self.space.superblock().segment_bytes;
        let geometry = Geometry::new(segment_bytes);
        let found = Segments::find(&*self.disk, self.store_id())?;
        let first = found.next_after(geometry.segment_of(end), geometry);
        let numbers = found.own;
        let last = numbers.iter().copied().filter(|number| *number < first).max().unwrap_or(0);
        // The last one stays until the first checkpoint: should this attempt fail, it keeps the next
        // one from taking the same segment number.
        let mut done = numbers.clone();
        done.retain(|number| older == OlderSegments::Remove && *number < last);
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
        // On a full disk: the smallest segment takes as much as the mark of a closed store.
        let mut begun = begin(&done, options.first_bytes);
        if matches!(begun, Err(Error::DiskFull { .. })) {
            begun = begin(&done, LEAST_SEGMENT);
        }
        // Still full: the last old segment goes too. Its number may then be taken again, which is safe,
        // because no earlier attempt has committed anything.
        let has_last = older == OlderSegments::Remove && done.len() < numbers.len();
        for bytes in [LEAST_SEGMENT, LEAST_SEGMENT / 2] {
            if matches!(begun, Err(Error::DiskFull { .. })) && has_last {
                begun = begin(&numbers, bytes); // the mark of an earlier version was shorter
            }
        }
        let (log, appender) = begun?;
        state.appender = Some(appender);
        Ok(Arc::new(log))
    }

    /// Begins to take commits, and to take apart the dropped keyspaces of earlier lives.
    pub(crate) fn go_live(&self, log: Arc<Log>, has_dropped: bool) -> Result<&LiveLog> {
        log.set_registry(Arc::clone(&self.space) as _);
        let threads = self.options.background.then(|| log.spawn()).transpose()?;
        let live = LiveLog { log, threads: Mutex::new(threads) };
        assert!(self.live.set(live).is_ok(), "an incarnation begins once");
        if has_dropped {
            self.background.wake_checkpointer();
        }
        Ok(self.live.get().expect("just set"))
    }
}
