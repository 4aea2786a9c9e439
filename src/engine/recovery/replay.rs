//! Step 5 of recovery: reading and applying the log since the checkpoint.
//!
//! ```text
//!   reader    log --> batches of whole transactions, sorted --> |one ahead| --> the trees
//!   memory    frames, cleared by the system ahead of their use
//! ```
//!
//! Reader, memory and trees have a thread each. A store without threads replays on one thread, so that
//! the result depends only on the disk.

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

/// Transactions are replayed in batches of about this share of the cache, and at most `BATCH_BYTES`: a
/// batch sorts its changes, and copies each page once.
const BATCH_SHARE: u64 = 64;
const BATCH_BYTES: u64 = 4 << 20;
/// Bytes of frames that the replay has the system clear ahead of their use.
const TOUCH_AHEAD: usize = 32 << 20;

/// Whole transactions that follow one another in the log.
struct ReplayBatch {
    /// Their operations.
    payload: Vec<u8>,
    /// How many transactions.
    records: u64,
    /// Where the last transaction ends.
    end: Lsn,
}

/// Reads the log, one batch at a time.
struct Reader {
    scan: Scan,
    batch_bytes: usize,
    /// Records read so far.
    records: u64,
    /// The end of the log was reached.
    is_over: bool,
}

/// Applies the log since the checkpoint. Returns where the incarnation ended.
pub(super) fn replay(engine: &Engine, head: Head, summary: &mut RecoverySummary) -> Result<Lsn> {
    let mut state = engine.lock_commits();
    let CommitState { writer, trees, .. } = &mut *state;
    if head.checkpoint < head.log_start {
        // The incarnation had not made a checkpoint yet: its prologue comes first.
        let mut group = WriteGroup::begin(engine.cache(), writer, head.log_start);
        trees.note_end(&mut group, head.former, head.former_mark, head.former_end)?;
        trees.publish(group);
    }
    let superblock = engine.space().superblock();
    let from = mutant!(ReplayFromSegmentStart: head.checkpoint.max(head.log_start) => {
        let from = head.checkpoint.max(head.log_start).get();
        Lsn::new(from - from % superblock.segment_bytes)
    });
    summary.recovered_to = from;
    let (life, newest) = (superblock.life(), head.newest_segment);
    check_presence(engine.disk(), life, superblock.segment_bytes, from, newest)?;
    let scan = Scan::open(
        Arc::clone(engine.disk()),
        superblock.life(),
        superblock.segment_bytes,
        from,
        head.durable.max(from),
    )?;
    let batch_bytes = BATCH_BYTES.min(engine.options().cache_bytes / BATCH_SHARE) as usize;
    let mut reader = Reader { scan, batch_bytes, records: 0, is_over: false };
    let total_bytes = log_bytes(engine, from)?;
    let mut apply = |batch: &ReplayBatch| {
        summary.records_replayed += batch.records;
        summary.recovered_to = batch.end;
        let lsn = batch.end;
        if !batch.payload.is_empty() {
            let operations = apply_entries(engine.cache(), writer, trees, &batch.payload, lsn)?;
            summary.operations_replayed += operations as u64;
            let done_bytes = lsn.get() - from.get();
            report(engine, RecoveryProgress { phase: "replay", done_bytes, total_bytes });
        }
        Ok(())
    };
    if engine.options().background {
        replay_in_parallel(engine, &mut reader, apply)?;
    } else {
        let mut payload = Vec::new();
        while let Some(batch) = reader.next(payload)? {
            apply(&batch)?;
            payload = batch.payload;
        }
    }
    let end = summary.recovered_to;
    summary.bytes_replayed = end.get() - from.get();
    summary.bytes_cut = reader.scan.tail().cut_bytes;
    if end == head.log_start {
        // It committed nothing: it may have crashed during its own recovery.
        (summary.former, summary.recovered_to) = (head.former, head.former_end);
    }
    Ok(end)
}

impl Reader {
    /// The next batch, in the memory of `payload`; `None` at the end of the log.
    fn next(&mut self, mut payload: Vec<u8>) -> Result<Option<ReplayBatch>> {
        if self.is_over {
            return Ok(None);
        }
        payload.clear();
        payload.shrink_to(2 * self.batch_bytes);
        let (before, mut end) = (self.records, None);
        while payload.len() < self.batch_bytes {
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
        Ok(end.map(|end| ReplayBatch { payload, records: self.records - before, end }))
    }
}

/// Reads and sorts on one thread and applies on this one, while a third touches frames: the system's
/// clearing of fresh memory takes a large part of a replay's time.
fn replay_in_parallel(
    engine: &Engine,
    reader: &mut Reader,
    mut apply: impl FnMut(&ReplayBatch) -> Result<()>,
) -> Result<()> {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut touched = 0;
            while !is_done.load(Ordering::Relaxed) {
                if engine.cache().touch_ahead(TOUCH_AHEAD, &mut touched) == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let _on_drop = RaiseOnDrop(&is_done); // also if this thread panics
        let (full_sender, full_batches) = mpsc::sync_channel(1);
        let (used_sender, used_payloads) = mpsc::channel::<Vec<u8>>();
        scope.spawn(move || {
            let mut payload = Vec::new();
            while let Some(batch) = reader.next(payload).transpose() {
                let is_last = batch.is_err();
                payload = used_payloads.try_recv().unwrap_or_default();
                let sorted = batch.map(|mut batch| {
                    sort_entries(&batch.payload, &mut payload);
                    std::mem::swap(&mut batch.payload, &mut payload);
                    batch
                });
                // A send fails if the applying thread has failed.
                if full_sender.send(sorted).is_err() || is_last {
                    break;
                }
            }
        });
        for batch in full_batches {
            let batch: ReplayBatch = batch?;
            apply(&batch)?;
            let _ = used_sender.send(batch.payload); // the reader may have ended
        }
        Ok(())
    })
}

struct RaiseOnDrop<'a>(&'a AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The most bytes that the log from `from` on can have.
fn log_bytes(engine: &Engine, from: Lsn) -> Result<u64> {
    let segment_bytes = engine.space().superblock().segment_bytes;
    let names = engine.disk().list()?;
    let numbers = names.iter().filter_map(|name| segment_number(name));
    let after = numbers.filter(|number| *number >= from.get() / segment_bytes).count() as u64;
    Ok((after * segment_bytes).saturating_sub(from.get() % segment_bytes))
}
