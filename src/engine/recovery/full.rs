//! Recovery on a full disk: finishing without a new segment, and removing one after a failure.

use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::{Readers, WriteGroup};
use crate::engine::commit::{CommitState, Engine};
use crate::engine::log::Segments;
use crate::engine::log::format::segment_name;
use crate::engine::space::Head;

/// Steps 6 and 7 without a log: records the incarnation in `head`, which ended at `end`, as cleanly
/// closed. Its log is no longer needed; the first write removes it, which makes space for a new one.
pub(super) fn end_as_closed(engine: &Engine, head: Head, end: Lsn) -> Result<()> {
    crate::engine::base::foreign::warning!(
        "{}: the disk is full: the store is open for reads; its first write needs space for a log",
        engine.disk().path("")
    );
    if end > head.checkpoint {
        let mut state = engine.lock_commits();
        let CommitState { writer, trees, .. } = &mut *state;
        let mut group = WriteGroup::begin_with(engine.cache(), writer, end, Readers::None);
        trees.note_counts(&mut group)?;
        trees.publish(group);
    }
    engine.checkpoint_without_log(head)
}

/// Removes the log that a recovery had begun before it failed with `error`, unless a superblock may name
/// its segments.
pub(super) fn forget_log(engine: &Engine, error: &Error) {
    if matches!(error, Error::Poisoned { .. }) {
        return;
    }
    let Some(log) = engine.log() else { return };
    engine.end_log_threads(); // they may be making the next segment
    let first = log.start().get() / engine.space().superblock().segment_bytes;
    let found = Segments::find(&**engine.disk(), engine.store_id()).unwrap_or_default();
    for name in found.own.into_iter().filter(|number| *number >= first).map(segment_name) {
        if let Err(error) = engine.disk().remove(&name) {
            crate::engine::base::foreign::warning!(
                "{}: not removed: {error}",
                engine.disk().path(&name)
            );
        }
    }
}
