//! Step 5: the log since the checkpoint is read and applied.
//!
//! ```text
//!   reader    log --> groups of whole transactions, sorted --> |one ahead| --> the trees
//!   memory    frames, cleared by the system ahead of their use
//! ```
//!
//! The three go on side by side, but on a disk that is simulated: there what happens depends on
//! nothing but the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::{RecoverySummary, report};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::WriteGroup;
use crate::engine::commit::{CommitState, Engine, apply_entries, sort_entries};
use crate::engine::log::{Scan, check_presence, segment_number};
use crate::engine::mutants::mutant;
use crate::engine::options::RecoveryProgress;
use crate::engine::space::Head;

/// Transactions are replayed in groups of about this share of the cache, and at most so many
/// bytes: a group sorts its changes, and copies each page once.
const GROUP_SHARE: u64 = 64;
const GROUP_BYTES: u64 = 4 << 20;
/// While the log is replayed, so much memory is made ready ahead of its use.
const TOUCH_AHEAD: usize = 32 << 20;

/// Whole transactions, one after the other in the log.
struct Group {
    /// Their operations.
    payload: Vec<u8>,
    /// How many they are.
    records: u64,
    /// Where the last of them ends.
    end: Lsn,
}

/// Reads the log, a group at a time.
struct Reader {
    scan: Scan,
    group_bytes: usize,
    /// Records read so far.
    records: u64,
    /// The end of the log was reached.
    is_over: bool,
}

/// Applies what the log has since the checkpoint. Returns where the incarnation ended.
pub(super) fn replay(engine: &Engine, head: Head, summary: &mut RecoverySummary) -> Result<Lsn> {
    let mut state = engine.commit.lock();
    let CommitState { writer, trees, .. } = &mut *state;
    if head.checkpoint < head.log_start {
        // The incarnation had begun and made no checkpoint: its prologue comes first.
        let mut group = WriteGroup::begin(&engine.cache, writer, head.log_start);
        trees.note_end(&mut group, head.former, head.former_mark, head.former_end)?;
        trees.publish(group);
    }
    let superblock = engine.space.superblock();
    let from = mutant!(ReplayFromSegmentStart: head.checkpoint.max(head.log_start) => {
        let from = head.checkpoint.max(head.log_start).get();
        Lsn::new(from - from % superblock.segment_bytes)
    });
    summary.recovered_to = from;
    let (life, newest) = (superblock.life(), head.newest_segment);
    check_presence(&engine.disk, life, superblock.segment_bytes, from, newest)?;
    let scan = Scan::open(
        Arc::clone(&engine.disk),
        superblock.life(),
        superblock.segment_bytes,
        from,
        head.durable.max(from),
    )?;
    let group_bytes = GROUP_BYTES.min(engine.options.cache_bytes / GROUP_SHARE) as usize;
    let mut reader = Reader { scan, group_bytes, records: 0, is_over: false };
    let total_bytes = log_bytes(engine, from)?;
    let mut apply = |group: &Group| {
        summary.records_replayed += group.records;
        summary.recovered_to = group.end;
        let lsn = group.end;
        if !group.payload.is_empty() {
            let operations = apply_entries(&engine.cache, writer, trees, &group.payload, lsn)?;
            summary.operations_replayed += operations as u64;
            let done_bytes = lsn.get() - from.get();
            report(engine, RecoveryProgress { phase: "replay", done_bytes, total_bytes });
        }
        Ok(())
    };
    if engine.options.background {
        beside(engine, &mut reader, apply)?;
    } else {
        let mut payload = Vec::new();
        while let Some(group) = reader.next(payload)? {
            apply(&group)?;
            payload = group.payload;
        }
    }
    let end = summary.recovered_to;
    summary.bytes_replayed = end.get() - from.get();
    summary.bytes_cut = reader.scan.tail().cut_bytes;
    if end == head.log_start {
        // It had not committed anything: it may only have recovered, and crashed at that.
        (summary.former, summary.recovered_to) = (head.former, head.former_end);
    }
    Ok(end)
}

impl Reader {
    /// The next group, in the memory of `payload`; `None` at the end of the log.
    fn next(&mut self, mut payload: Vec<u8>) -> Result<Option<Group>> {
        if self.is_over {
            return Ok(None);
        }
        payload.clear();
        payload.shrink_to(2 * self.group_bytes);
        let (before, mut end) = (self.records, None);
        while payload.len() < self.group_bytes {
            let Some(entry) = self.scan.next()? else {
                self.is_over = true;
                mutant!(ReplayTailDropped => payload.clear());
                break;
            };
            self.records += 1;
            end = Some(entry.end);
            mutant!(ReplaySkipsFirst => if self.records == 1 { continue; });
            payload.extend_from_slice(entry.payload);
        }
        Ok(end.map(|end| Group { payload, records: self.records - before, end }))
    }
}

/// Reads and sorts on one thread and applies on this one, while a third brings frames into memory: the
/// system's clearing of fresh memory is a good part of the time that a replay takes.
fn beside(
    engine: &Engine,
    reader: &mut Reader,
    mut apply: impl FnMut(&Group) -> Result<()>,
) -> Result<()> {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut touched = 0;
            while !is_done.load(Ordering::Relaxed) {
                if engine.cache.touch_ahead(TOUCH_AHEAD, &mut touched) == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let _over = Over(&is_done); // also if the work panics
        let (groups, read) = mpsc::sync_channel(1);
        let (empty, used) = mpsc::channel::<Vec<u8>>();
        scope.spawn(move || {
            let mut payload = Vec::new();
            while let Some(group) = reader.next(payload).transpose() {
                let is_last = group.is_err();
                payload = used.try_recv().unwrap_or_default();
                let sorted = group.map(|mut group| {
                    sort_entries(&group.payload, &mut payload);
                    std::mem::swap(&mut group.payload, &mut payload);
                    group
                });
                // Whoever applies has failed if it takes no more.
                if groups.send(sorted).is_err() || is_last {
                    break;
                }
            }
        });
        for group in read {
            let group: Group = group?;
            apply(&group)?;
            let _ = empty.send(group.payload); // the reader may have come to the end
        }
        Ok(())
    })
}

/// Raises its flag when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The most that the log from `from` on can have.
fn log_bytes(engine: &Engine, from: Lsn) -> Result<u64> {
    let segment_bytes = engine.space.superblock().segment_bytes;
    let names = engine.disk.list()?;
    let numbers = names.iter().filter_map(|name| segment_number(name));
    let after = numbers.filter(|number| *number >= from.get() / segment_bytes).count() as u64;
    Ok((after * segment_bytes).saturating_sub(from.get() % segment_bytes))
}
