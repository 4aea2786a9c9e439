//! The preallocator: makes segments and prefaults memory ahead of the appender.
//!
//! It makes more as soon as less than half of what exists of the last segment is left. The first segment
//! of a log begins small and doubles, or becomes four times as long where a committer had to wait
//! ([`super::steps`]). Later segments are whole, unless the disk is full. So a store that writes little
//! takes little space, and one that writes much soon uses whole segments.
//!
//! Every part of appending that can fail or be slow happens here, not under the commit lock: new files,
//! renames, headers, page faults. A round of it is [`Log::preallocate`]. A background thread runs a round
//! when the appender has come some way. A committer whose space is not ready runs the same steps itself,
//! so nothing depends on the thread.
//!
//! A recycled segment goes through these states:
//!
//! ```text
//!   mapped, written --(wholly durable)--> unmapped --(recycle_below)--> spare
//!      ^                                                                  |
//!      '------------------ renamed, new header, mapped <------------------'
//! ```
//!
//! The limit is the end of what exists of the prepared segments (LOG-8), or the place where prefaulting
//! failed, if that is lower: a mapped segment must never raise a bus error.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use super::appender::Log;
use super::format::{SEGMENT_HEADER, SegmentHeader, segment_name};
use super::ownership::Segments;
use super::segment::{Segment, SegmentError};
use super::steps::step_within;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Lsn, StoreId};
use crate::engine::base::sync::atomic::{AtomicBool, Ordering};
use crate::engine::base::sync::thread::Thread;
use crate::engine::disk::Disk;
use crate::engine::mutants::mutant;

/// How many files are kept for recycling at most.
const MAX_SPARES: usize = 4;
/// The factor by which the first segment grows ahead of its use, and where a committer had to wait: a
/// committer that outruns the preallocator would soon wait again.
const AHEAD: u64 = 2;
const BEHIND: u64 = 4;

/// The files of the log, and how far they are prepared.
#[derive(Debug)]
pub(super) struct Preallocator {
    /// The first segment of this log. Files before it are of earlier logs.
    pub(super) first: u64,
    /// The segment to prepare next.
    next: u64,
    /// The end of what exists of the segment before `next`.
    exists: Lsn,
    /// Files that may be recycled.
    spares: Vec<String>,
    /// Numbers of the segments that may still be needed.
    live: BTreeSet<u64>,
    /// The log below this is no longer needed.
    pub(super) needed_from: Lsn,
    /// The end of the last hole (LOG-13).
    pub(super) hole_end: Lsn,
    /// The bytes of all holes in that segment.
    pub(super) hole_bytes: u64,
    /// The log is retired: no more segments are made.
    pub(super) is_retired: bool,
    /// Memory is prefaulted up to here.
    prefaulted: Lsn,
    /// Where prefaulting failed.
    prefault_failed_at: Option<Lsn>,
}

impl Preallocator {
    /// Lists the segments in the directory before segment `first` is made. Removes those of `store` that
    /// are in `done`, or are `first` or later (LOG-6).
    pub(super) fn new(disk: &dyn Disk, store: StoreId, first: u64, done: &[u64]) -> Result<Self> {
        let mut live = BTreeSet::new();
        let found = Segments::find(disk, store)?;
        for number in found.foreign {
            let file = disk.path(&segment_name(number));
            crate::engine::base::foreign::warning!(
                "{file}: not a segment of this store, left alone"
            );
        }
        for number in found.own {
            if number >= first || done.contains(&number) {
                disk.remove(&segment_name(number))?;
            } else {
                live.insert(number);
            }
        }
        let (spares, prefaulted, exists) = (Vec::new(), Lsn::ZERO, Lsn::ZERO);
        Ok(Preallocator {
            first,
            next: first,
            exists,
            spares,
            live,
            needed_from: Lsn::ZERO,
            hole_end: Lsn::ZERO,
            hole_bytes: 0,
            is_retired: false,
            prefaulted,
            prefault_failed_at: None,
        })
    }

    /// Removes spares until no more than `most` are left.
    pub(super) fn trim_spares(&mut self, disk: &dyn Disk, most: usize) -> Result<()> {
        while self.spares.len() > most {
            let name = self.spares.last().expect("there is a spare");
            disk.remove(name)?;
            self.spares.pop();
        }
        Ok(())
    }

    /// Retires the log: no more segments are made. Returns the number after the last segment, and the
    /// names of all files.
    pub(super) fn take_last(&mut self) -> (u64, Vec<String>) {
        self.is_retired = true;
        let mut files = std::mem::take(&mut self.spares);
        files.extend(std::mem::take(&mut self.live).into_iter().map(segment_name));
        self.next += 1;
        (self.next - 1, files)
    }

    /// A spare for segment `number`: the one that has its name already, if there is one.
    fn take_spare(&mut self, number: u64) -> Option<String> {
        let name = segment_name(number);
        match self.spares.iter().position(|spare| *spare == name) {
            Some(at) => Some(self.spares.swap_remove(at)),
            None => self.spares.pop(),
        }
    }
}

impl Log {
    /// One round of the preallocator: grows the log until half of its last segment is free, and prefaults
    /// memory for the next records.
    ///
    /// # Errors
    /// A segment could not be made, or memory not prefaulted; the next round tries again.
    pub(crate) fn preallocate(&self) -> Result<()> {
        self.check_poison()?;
        let mut state = self.preallocator.lock();
        if state.is_retired {
            return Ok(());
        }
        let appended = self.appended.load();
        while self.last_segment().bytes() / 2 > state.exists.get() - appended.get() {
            self.extend(&mut state, appended, AHEAD)?;
        }
        self.prefault(&mut state, appended, 0)?;
        drop(state);
        self.unmap_finished();
        Ok(())
    }

    /// Recycles or removes the segments wholly below `lsn`, those of earlier incarnations too, except
    /// one that ends there. `lsn` must be durable, and the log below it no longer needed.
    ///
    /// # Errors
    /// A file could not be removed; the next call tries again.
    pub(crate) fn recycle_below(&self, lsn: Lsn) -> Result<()> {
        assert!(lsn <= self.durable.load(), "LSN-1: the log below {lsn} is not all durable");
        self.unmap_finished();
        let mut state = self.preallocator.lock();
        // The segment with the byte before `lsn` stays, even if nothing in it is needed (LOG-11).
        let first_needed = self.geometry.segment_of(Lsn::new(lsn.get().saturating_sub(1)));
        state.needed_from = lsn;
        let hole_segment = self.geometry.segment_of(state.hole_end);
        let mut freed_bytes = 0;
        let needed = state
            .live
            .split_off(&mutant!(CurrentSegmentRecycled: first_needed => first_needed + 1));
        let done = std::mem::replace(&mut state.live, needed);
        // About as many as this call frees are used until the next one; when the load ends, spares go one by
        // one. The last stays: the log goes on there if the disk becomes full.
        let likely = done.len().max(state.spares.len().saturating_sub(1)).clamp(1, MAX_SPARES);
        let first = state.first; // those before are not recycled (LOG-6)
        let mut former = Vec::new();
        for number in done {
            if number == hole_segment {
                freed_bytes = self.geometry.segment_bytes() - std::mem::take(&mut state.hole_bytes);
            }
            // A segment with a hole is not recycled (LOG-13).
            let is_fit = number >= first && mutant!(HoleUsedAgain: number > hole_segment => true);
            if mutant!(FormerSegmentRecycled: is_fit => true) {
                state.spares.push(segment_name(number));
            } else {
                former.push(number);
            }
        }
        let few = likely.min(state.spares.len());
        let excess = state.spares.split_off(few);
        drop(state);
        self.remove_files(former, excess)?;
        self.regrow(freed_bytes)
    }

    /// Removes segments of former logs and excess spares, with no lock held: removing a large file
    /// takes a while. The next call retries files that could not be removed.
    fn remove_files(&self, former: Vec<u64>, excess: Vec<String>) -> Result<()> {
        let mut result = Ok(());
        for number in former {
            if let Err(error) = self.disk.remove(&segment_name(number)) {
                self.preallocator.lock().live.insert(number);
                result = Err(error);
            }
        }
        for spare in excess {
            if let Err(error) = self.disk.remove(&spare) {
                self.preallocator.lock().spares.push(spare);
                result = Err(error);
            }
        }
        result
    }

    /// Makes the first segment. Nothing can be poisoned yet. If there is no space, no file is left.
    pub(super) fn prepare_first(&self) -> Result<Arc<Segment>> {
        let mut state = self.preallocator.lock();
        let bytes = step_within(self.geometry.segment_bytes(), self.options.first_bytes);
        let prepared = self.prepare(&mut state, bytes).map_err(|error| {
            if let SegmentError::Transient { leftover: Some(name), .. } = &error
                && let Err(error) = self.disk.remove(name)
            {
                crate::engine::base::foreign::warning!(
                    "{}: could not be removed: {error}",
                    self.disk.path(name)
                );
            }
            error.into_cause()
        });
        prepared.inspect(|_| self.set_extent(&mut state))
    }

    /// The slow side of `reserve`: prepares segments until a payload fits.
    pub(super) fn prepare_for(&self, payload_bytes: usize) -> Result<()> {
        let mut state = self.preallocator.lock();
        loop {
            self.check_poison()?;
            if state.is_retired {
                return Err(Error::Closed); // the store was closed meanwhile
            }
            let appended = self.appended.load();
            let fits = self.fits(appended.get(), payload_bytes);
            if fits && self.is_ready(appended.get(), payload_bytes) {
                return Ok(());
            }
            if fits || state.prefault_failed_at.is_some() {
                self.prefault(&mut state, appended, self.geometry.demand(payload_bytes))?;
            } else {
                let demand = self.geometry.demand(payload_bytes);
                let want = Lsn::new(appended.get().saturating_add(demand));
                self.extend(&mut state, want, BEHIND)?;
            }
        }
    }

    /// The last prepared segment.
    pub(super) fn last_segment(&self) -> Arc<Segment> {
        Arc::clone(self.mapped.lock().back().expect("one is always mapped"))
    }

    /// Grows the last segment to `times` its length, and up to `want`; or makes the next one.
    fn extend(&self, state: &mut Preallocator, want: Lsn, times: u64) -> Result<()> {
        let last = self.last_segment();
        let extended = match last.is_whole() {
            true => self.prepare_what_fits(state),
            false => last.grow(want, times),
        };
        self.extended(state, extended)
    }

    /// Grows the last segment to `bytes` bytes; if it is whole, makes the next one with as many.
    pub(super) fn lengthen(&self, state: &mut Preallocator, bytes: u64) -> Result<()> {
        let last = self.last_segment();
        let extended = match last.is_whole() {
            true => self.prepare(state, bytes).map(drop),
            false => last.grow_to(bytes),
        };
        self.extended(state, extended)
    }

    /// Handles the outcome of an extension: sets the limit, keeps a leftover as a spare, or poisons the log.
    pub(super) fn extended(
        &self,
        state: &mut Preallocator,
        extended: Result<(), SegmentError>,
    ) -> Result<()> {
        match extended {
            Ok(()) => {
                self.set_extent(state);
                Ok(())
            }
            #[cfg(feature = "mutants")]
            Err(SegmentError::Transient { cause, .. }) if mutant!(FullDiskPoisons: false => true) =>
            {
                self.poison(cause);
                self.check_poison()
            }
            Err(SegmentError::Transient { cause, leftover }) => {
                state.spares.extend(leftover);
                Err(cause)
            }
            Err(SegmentError::Final(cause)) => {
                self.poison(cause);
                self.check_poison()
            }
        }
    }

    /// Makes the next segment whole, or as short as a first one if the disk is full.
    fn prepare_what_fits(&self, state: &mut Preallocator) -> Result<(), SegmentError> {
        let whole = self.geometry.segment_bytes();
        let prepared = match self.prepare(state, whole) {
            Err(SegmentError::Transient { cause: Error::DiskFull { .. }, leftover: None }) => {
                self.prepare(state, step_within(whole, self.options.first_bytes))
            }
            prepared => prepared,
        };
        prepared.map(drop)
    }

    /// Makes the next segment from a spare, which is whole, or in a new file of `bytes` bytes.
    fn prepare(&self, state: &mut Preallocator, bytes: u64) -> Result<Arc<Segment>, SegmentError> {
        let number = state.next;
        assert!(self.geometry.can_hold(number), "the log is at its end");
        mutant!(SegmentNotedEarly => self.note_segment(number)?);
        let header = SegmentHeader {
            life: self.life,
            number,
            segment_bytes: self.geometry.segment_bytes(),
            sync_line: self.durable.load(),
            made_bytes: self.geometry.segment_bytes(),
        };
        let (segment, counter) = match state.take_spare(number) {
            Some(spare) => {
                (Segment::recycle(&*self.disk, spare, &header)?, &self.counters.segments_recycled)
            }
            None => {
                let header = SegmentHeader { made_bytes: bytes, ..header };
                (Segment::create(&*self.disk, &header, bytes)?, &self.counters.segments_created)
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        mutant!(SegmentNotedEarly | SegmentUnnoted: self.note_segment(number)? => ());
        let segment = Arc::new(segment);
        self.mapped.lock().push_back(Arc::clone(&segment));
        state.live.insert(number);
        state.next = number + 1;
        Ok(segment)
    }

    /// Whether a segment is being prepared now.
    #[cfg(feature = "cli")]
    pub(crate) fn is_preallocating(&self) -> bool {
        self.preallocator.try_lock().is_none()
    }

    /// Notes in the registry that the segment exists (LOG-11), and the sync line.
    fn note_segment(&self, number: u64) -> Result<(), SegmentError> {
        let Some(registry) = self.registry.get() else { return Ok(()) };
        let line = mutant!(LineNotedAhead: self.durable.load() => self.appended.load());
        registry.note_log(&self.life, number, line).map_err(|error| match error {
            full @ Error::DiskFull { .. } => {
                SegmentError::Transient { cause: full, leftover: Some(segment_name(number)) }
            }
            error => SegmentError::Final(error),
        })
    }

    /// Notes the sync line in the registry, without a new segment.
    ///
    /// # Errors
    /// The log is poisoned, now or before. A full disk is no error: the next note catches up.
    pub(crate) fn note_sync_line(&self) -> Result<()> {
        self.check_poison()?;
        let Some(registry) = self.registry.get() else { return Ok(()) };
        match registry.note_log(&self.life, 0, self.durable.load()) {
            Err(Error::DiskFull { .. }) => Ok(()),
            noted => noted.inspect_err(|error| self.poison(error.clone())),
        }
    }

    /// Prefaults memory for a payload that needs `demand` bytes, and the usual amount beyond it, so that
    /// records of other commits that come first do not use it up.
    fn prefault(&self, state: &mut Preallocator, appended: Lsn, demand: u64) -> Result<()> {
        let from = state.prefaulted.max(appended);
        let ahead = appended.get() + demand + self.options.prefault_bytes;
        let to = Lsn::new(ahead).min(state.exists);
        if from >= to && state.prefault_failed_at.is_none() {
            return Ok(());
        }
        let segments: Vec<_> = self.mapped.lock().iter().cloned().collect();
        let result = segments.iter().try_for_each(|segment| segment.prefault(from, to));
        state.prefault_failed_at = result.is_err().then_some(from);
        self.set_limit(state);
        result?;
        state.prefaulted = to;
        self.ready.store(to.get(), Ordering::Release);
        Ok(())
    }

    /// Moves the limit after the log has grown.
    fn set_extent(&self, state: &mut Preallocator) {
        state.exists = self.last_segment().exists();
        self.set_limit(state);
    }

    fn set_limit(&self, state: &Preallocator) {
        let exists = mutant!(LimitBeyondFile: state.exists =>
            self.geometry.segment_start(state.next));
        let limit = state.prefault_failed_at.unwrap_or(exists).min(exists);
        let last = self.geometry.segment_start(state.next - 1);
        let hole_segment = self.geometry.segment_of(state.hole_end);
        let from = if state.live.contains(&hole_segment) { state.hole_end } else { last };
        let kept = (state.exists.get() - from.get()) / 4;
        // Punching a hole gains at least a step.
        let least = 2 * SEGMENT_HEADER;
        self.delete_reserve.store(kept.max(least), Ordering::Relaxed);
        let _mapped = self.mapped.lock();
        if !self.is_poisoned() {
            self.limit.store(limit.get(), Ordering::Release);
        }
    }

    /// Stops all appends: the log is poisoned.
    pub(super) fn withdraw_limit(&self) {
        assert!(self.is_poisoned());
        let _mapped = self.mapped.lock();
        self.limit.store(0, Ordering::Release);
    }

    /// Unmaps the segments that are wholly durable.
    fn unmap_finished(&self) {
        let durable = self.durable.load();
        let mut finished = Vec::new();
        let mut mapped = self.mapped.lock();
        while mapped.len() > 1 && mapped[0].end() <= durable {
            finished.extend(mapped.pop_front());
        }
        // Unmapping takes a while: not under the lock.
        drop(mapped);
        drop(finished);
    }
}

/// Wakes a thread, at most once until the thread clears the flag.
#[derive(Debug, Default)]
pub(super) struct WakeFlag {
    set: AtomicBool,
    thread: OnceLock<Thread>,
}

impl WakeFlag {
    /// Sets the thread to wake.
    pub(super) fn set_thread(&self, thread: Thread) {
        self.thread.set(thread.clone()).expect("one thread per flag");
        // The flag may have been set before.
        thread.unpark();
    }

    #[inline]
    pub(super) fn wake(&self) {
        if !self.set.swap(true, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether it was set since it was last cleared.
    pub(super) fn is_set(&self) -> bool {
        self.set.load(Ordering::SeqCst)
    }

    /// Lets the next [`WakeFlag::wake`] wake the thread again.
    pub(super) fn clear(&self) {
        self.set.swap(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::base::sync::thread;

    #[test]
    fn a_wake_flag_wakes_once_until_it_is_cleared() {
        let flag = WakeFlag::default();
        assert!(!flag.is_set());
        flag.wake();
        assert!(flag.is_set(), "also without a thread");
        flag.clear();
        assert!(!flag.is_set());
        flag.set_thread(thread::current());
        let before = Instant::now();
        thread::park_timeout(Duration::from_secs(9)); // the flag was set before
        flag.wake();
        thread::park_timeout(Duration::from_secs(9));
        flag.clear();
        flag.wake();
        flag.wake();
        assert!(flag.is_set());
        thread::park_timeout(Duration::from_secs(9));
        assert!(before.elapsed() < Duration::from_secs(8), "woken each time");
    }
}
