//! The keeper: has segments and memory ready ahead of the appender.
//!
//! As soon as less than half of what exists of the last segment is left, the keeper makes more:
//! the first segment of a log begins small and doubles, or becomes four times as long where a committer had
//! to wait for it ([`super::steps`]); those after it are whole, unless the disk is full.
//! So a store that writes little takes little, and one that writes much is at whole segments soon.
//!
//! Whatever can fail or be slow about appending happens here and not under the commit lock: new
//! files, renames, headers, page faults. The keeper's round is [`Log::keep`]: a background thread
//! runs it when the appender has come some way, and a committer whose space is not yet ready runs
//! the same steps itself, so nothing depends on the thread.
//!
//! A recycled segment goes through these states:
//!
//! ```text
//!   mapped, written --(wholly durable)--> unmapped --(recycle_below)--> spare
//!      ^                                                                  |
//!      '------------------ renamed, new header, mapped <------------------'
//! ```
//!
//! The limit is the end of what exists of the prepared segments (LOG-8), or the place where memory
//! could not be made ready, if that is before: a mapped segment must never raise a bus error.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use super::appender::Log;
use super::format::{SEGMENT_HEADER, SegmentHeader, segment_name};
use super::own::Segments;
use super::segment::{Segment, Trouble};
use super::steps::step_within;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Lsn, StoreId};
use crate::engine::base::sync::atomic::{AtomicBool, Ordering};
use crate::engine::base::sync::thread::Thread;
use crate::engine::disk::Disk;
use crate::engine::mutants::mutant;

/// As many files are kept for recycling at most.
const MAX_SPARES: usize = 4;
/// So many times as long the first segment becomes ahead of its use, and where a committer had to wait for
/// it: whoever outruns the keeper would wait for it again at once.
const AHEAD: u64 = 2;
const BEHIND: u64 = 4;

/// What the keeper knows of the files.
#[derive(Debug)]
pub(super) struct Keeper {
    /// The first segment of this log. What is in files before it was there when it began.
    pub(super) first: u64,
    /// The segment to prepare next.
    next: u64,
    /// The end of what exists of the one before.
    exists: Lsn,
    /// Files that may be recycled.
    spares: Vec<String>,
    /// Numbers of the segments whose files hold log that may still be needed.
    live: BTreeSet<u64>,
    /// Nobody needs the log below any more.
    pub(super) unneeded: Lsn,
    /// The end of the hole that was made last (LOG-13).
    pub(super) given_back: Lsn,
    /// The bytes of all holes in its segment.
    pub(super) holes: u64,
    /// The log has been given back: nothing more is made.
    pub(super) is_retired: bool,
    /// Memory is ready up to here.
    prefaulted: Lsn,
    /// Memory from here on could not be made ready.
    obstacle: Option<Lsn>,
}

impl Keeper {
    /// Takes stock of the directory before segment `first` is made, and removes what nobody needs
    /// (LOG-6): of the segments of `store` those in `done`, and those from `first` on.
    pub(super) fn new(disk: &dyn Disk, store: StoreId, first: u64, done: &[u64]) -> Result<Keeper> {
        let mut live = BTreeSet::new();
        let found = Segments::find(disk, store)?;
        for number in found.foreign {
            let file = disk.path(&segment_name(number));
            crate::engine::base::foreign::warning!(
                "{file}: no segment of this store, and left alone"
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
        Ok(Keeper {
            first,
            next: first,
            exists,
            spares,
            live,
            unneeded: Lsn::ZERO,
            given_back: Lsn::ZERO,
            holes: 0,
            is_retired: false,
            prefaulted,
            obstacle: None,
        })
    }

    /// Removes files that may be recycled until no more than `most` are left.
    pub(super) fn keep_spares(&mut self, disk: &dyn Disk, most: usize) -> Result<()> {
        while self.spares.len() > most {
            let name = self.spares.last().expect("more than none");
            disk.remove(name)?;
            self.spares.pop();
        }
        Ok(())
    }

    /// The number of the segment after all there are, and the files of those. No other is made from
    /// now on.
    pub(super) fn take_last(&mut self) -> (u64, Vec<String>) {
        self.is_retired = true;
        let mut files = std::mem::take(&mut self.spares);
        files.extend(std::mem::take(&mut self.live).into_iter().map(segment_name));
        self.next += 1;
        (self.next - 1, files)
    }

    /// A file to recycle for segment `number`: one that has its name already, if there is one.
    fn take_spare(&mut self, number: u64) -> Option<String> {
        let name = segment_name(number);
        match self.spares.iter().position(|spare| *spare == name) {
            Some(at) => Some(self.spares.swap_remove(at)),
            None => self.spares.pop(),
        }
    }
}

impl Log {
    /// One round of the keeper: half as much exists as the last segment has, and memory is ready
    /// for what comes next.
    ///
    /// # Errors
    /// What stood in the way; the next round tries again.
    pub(crate) fn keep(&self) -> Result<()> {
        self.check_poison()?;
        let mut keeper = self.keeper.lock();
        if keeper.is_retired {
            return Ok(());
        }
        let appended = self.appended.load();
        while self.last_segment().bytes() / 2 > keeper.exists.get() - appended.get() {
            self.extend(&mut keeper, appended, AHEAD)?;
        }
        self.prefault(&mut keeper, appended, 0)?;
        drop(keeper);
        self.unmap_finished();
        Ok(())
    }

    /// Recycles or removes the segments wholly below `lsn`, those of earlier incarnations too, except
    /// one that ends there.
    /// `lsn` must be durable, and nobody may need the log below it any more.
    ///
    /// # Errors
    /// A file could not be removed; the next call tries again.
    pub(crate) fn recycle_below(&self, lsn: Lsn) -> Result<()> {
        assert!(lsn <= self.durable.load(), "LSN-1: the log below {lsn} is not all durable");
        self.unmap_finished();
        let mut keeper = self.keeper.lock();
        // The one with the byte before stays, even if nothing in it is needed any more (LOG-11).
        let first_needed = self.geometry.segment_of(Lsn::new(lsn.get().saturating_sub(1)));
        keeper.unneeded = lsn;
        let holed = self.geometry.segment_of(keeper.given_back);
        let mut regained = 0;
        let needed = keeper
            .live
            .split_off(&mutant!(CurrentSegmentRecycled: first_needed => first_needed + 1));
        let done = std::mem::replace(&mut keeper.live, needed);
        // As many are likely to be used until the next call; a load that ends is forgotten. One is kept:
        // on a disk that has become full it is where the log goes on.
        let likely = done.len().max(keeper.spares.len().saturating_sub(1)).clamp(1, MAX_SPARES);
        let first = keeper.first; // those before are not used again (LOG-6)
        let mut former = Vec::new();
        for number in done {
            if number == holed {
                regained = self.geometry.segment_bytes() - std::mem::take(&mut keeper.holes);
            }
            // What has a hole is not used again (LOG-13).
            let is_fit = number >= first && mutant!(HoleUsedAgain: number > holed => true);
            if mutant!(FormerSegmentRecycled: is_fit => true) {
                keeper.spares.push(segment_name(number));
            } else {
                former.push(number);
            }
        }
        let few = likely.min(keeper.spares.len());
        let excess = keeper.spares.split_off(few);
        drop(keeper);
        self.remove_files(former, excess)?;
        self.regain(regained)
    }

    /// Removes segments of former logs and spares that are too many, with no lock held: to remove a
    /// large file takes a while. What could not be removed is left to the next call.
    fn remove_files(&self, former: Vec<u64>, excess: Vec<String>) -> Result<()> {
        let mut result = Ok(());
        for number in former {
            if let Err(error) = self.disk.remove(&segment_name(number)) {
                self.keeper.lock().live.insert(number);
                result = Err(error);
            }
        }
        for spare in excess {
            if let Err(error) = self.disk.remove(&spare) {
                self.keeper.lock().spares.push(spare);
                result = Err(error);
            }
        }
        result
    }

    /// Makes the first segment. Nothing can be poisoned yet. If there is no space for it no file is
    /// left behind.
    pub(super) fn prepare_first(&self) -> Result<Arc<Segment>> {
        let mut keeper = self.keeper.lock();
        let bytes = step_within(self.geometry.segment_bytes(), self.options.first_bytes);
        let prepared = self.prepare(&mut keeper, bytes).map_err(|trouble| {
            if let Trouble::Passing { leftover: Some(name), .. } = &trouble
                && let Err(error) = self.disk.remove(name)
            {
                crate::engine::base::foreign::warning!(
                    "{}: not removed: {error}",
                    self.disk.path(name)
                );
            }
            trouble.into_cause()
        });
        prepared.inspect(|_| self.set_extent(&mut keeper))
    }

    /// The slow side of `reserve`: prepares segments until a payload fits.
    pub(super) fn prepare_for(&self, payload_bytes: usize) -> Result<()> {
        let mut keeper = self.keeper.lock();
        loop {
            self.check_poison()?;
            if keeper.is_retired {
                return Err(Error::Closed); // somebody who was about to commit meanwhile
            }
            let appended = self.appended.load();
            let fits = self.fits(appended.get(), payload_bytes);
            if fits && self.is_ready(appended.get(), payload_bytes) {
                return Ok(());
            }
            if fits || keeper.obstacle.is_some() {
                self.prefault(&mut keeper, appended, self.geometry.demand(payload_bytes))?;
            } else {
                let demand = self.geometry.demand(payload_bytes);
                let want = Lsn::new(appended.get().saturating_add(demand));
                self.extend(&mut keeper, want, BEHIND)?;
            }
        }
    }

    /// The segment that was prepared last.
    pub(super) fn last_segment(&self) -> Arc<Segment> {
        Arc::clone(self.mapped.lock().back().expect("one is always mapped"))
    }

    /// Makes more exist: of the last segment `times` as much, and up to `want`; or one more.
    fn extend(&self, keeper: &mut Keeper, want: Lsn, times: u64) -> Result<()> {
        let last = self.last_segment();
        let extended = match last.is_whole() {
            true => self.prepare_what_fits(keeper),
            false => last.grow(want, times),
        };
        self.extended(keeper, extended)
    }

    /// As [`Log::extend`], to `bytes` bytes of the last segment or, if that is whole, of the next one.
    pub(super) fn lengthen(&self, keeper: &mut Keeper, bytes: u64) -> Result<()> {
        let last = self.last_segment();
        let extended = match last.is_whole() {
            true => self.prepare(keeper, bytes).map(drop),
            false => last.grow_to(bytes),
        };
        self.extended(keeper, extended)
    }

    pub(super) fn extended(
        &self,
        keeper: &mut Keeper,
        extended: Result<(), Trouble>,
    ) -> Result<()> {
        match extended {
            Ok(()) => {
                self.set_extent(keeper);
                Ok(())
            }
            #[cfg(feature = "mutants")]
            Err(Trouble::Passing { cause, .. }) if mutant!(FullDiskPoisons: false => true) => {
                self.poison(cause);
                self.check_poison()
            }
            Err(Trouble::Passing { cause, leftover }) => {
                keeper.spares.extend(leftover);
                Err(cause)
            }
            Err(Trouble::Final(cause)) => {
                self.poison(cause);
                self.check_poison()
            }
        }
    }

    /// Makes the next segment, whole, or as short as a first one if the disk is full.
    fn prepare_what_fits(&self, keeper: &mut Keeper) -> Result<(), Trouble> {
        let whole = self.geometry.segment_bytes();
        let prepared = match self.prepare(keeper, whole) {
            Err(Trouble::Passing { cause: Error::DiskFull { .. }, leftover: None }) => {
                self.prepare(keeper, step_within(whole, self.options.first_bytes))
            }
            prepared => prepared,
        };
        prepared.map(drop)
    }

    /// Makes the next segment in a file that may be used again, which is whole, or in a new one of
    /// `bytes` bytes.
    fn prepare(&self, keeper: &mut Keeper, bytes: u64) -> Result<Arc<Segment>, Trouble> {
        let number = keeper.next;
        assert!(self.geometry.can_hold(number), "the log is at its end");
        mutant!(SegmentNotedEarly => self.note_segment(number)?);
        let header = SegmentHeader {
            life: self.life,
            number,
            segment_bytes: self.geometry.segment_bytes(),
            sync_line: self.durable.load(),
            made_bytes: self.geometry.segment_bytes(),
        };
        let (segment, counter) = match keeper.take_spare(number) {
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
        keeper.live.insert(number);
        keeper.next = number + 1;
        Ok(segment)
    }

    /// Whether somebody prepares a segment now.
    pub(crate) fn is_being_kept(&self) -> bool {
        self.keeper.try_lock().is_none()
    }

    /// Has it written down that the segment exists (LOG-11), and where the sync line is by now.
    fn note_segment(&self, number: u64) -> Result<(), Trouble> {
        let Some(witness) = self.witness.get() else { return Ok(()) };
        let line = mutant!(LineNotedAhead: self.durable.load() => self.appended.load());
        witness.note_log(&self.life, number, line).map_err(|error| match error {
            full @ Error::DiskFull { .. } => {
                Trouble::Passing { cause: full, leftover: Some(segment_name(number)) }
            }
            error => Trouble::Final(error),
        })
    }

    /// Has it written down where the sync line is, without a new segment.
    ///
    /// # Errors
    /// What stood in the way. After [`Poisoned`](crate::Error::Poisoned) the log is poisoned too.
    pub(crate) fn note_sync_line(&self) -> Result<()> {
        self.check_poison()?;
        let Some(witness) = self.witness.get() else { return Ok(()) };
        match witness.note_log(&self.life, 0, self.durable.load()) {
            Err(Error::DiskFull { .. }) => Ok(()), // the next note has it
            noted => noted.inspect_err(|error| self.poison(error.clone())),
        }
    }

    /// Makes memory ready for what is appended next: for a payload that needs `demand` bytes, and
    /// as much more as ever, so that what others append first does not keep it out.
    fn prefault(&self, keeper: &mut Keeper, appended: Lsn, demand: u64) -> Result<()> {
        let from = keeper.prefaulted.max(appended);
        let ahead = appended.get() + demand + self.options.prefault_bytes;
        let to = Lsn::new(ahead).min(keeper.exists);
        if from >= to && keeper.obstacle.is_none() {
            return Ok(());
        }
        let segments: Vec<_> = self.mapped.lock().iter().cloned().collect();
        let result = segments.iter().try_for_each(|segment| segment.prefault(from, to));
        keeper.obstacle = result.is_err().then_some(from);
        self.set_limit(keeper);
        result?;
        keeper.prefaulted = to;
        self.ready.store(to.get(), Ordering::Release);
        Ok(())
    }

    /// More exists of the log.
    fn set_extent(&self, keeper: &mut Keeper) {
        keeper.exists = self.last_segment().exists();
        self.set_limit(keeper);
    }

    fn set_limit(&self, keeper: &Keeper) {
        let exists = mutant!(LimitBeyondFile: keeper.exists =>
            self.geometry.segment_start(keeper.next));
        let limit = keeper.obstacle.unwrap_or(exists).min(exists);
        let last = self.geometry.segment_start(keeper.next - 1);
        let holed = self.geometry.segment_of(keeper.given_back);
        let from = if keeper.live.contains(&holed) { keeper.given_back } else { last };
        let kept = (keeper.exists.get() - from.get()) / 4;
        // A log that slides does so by a step at least.
        let least = 2 * SEGMENT_HEADER;
        self.kept.store(kept.max(least), Ordering::Relaxed);
        let _mapped = self.mapped.lock();
        if !self.is_poisoned() {
            self.limit.store(limit.get(), Ordering::Release);
        }
    }

    /// Lets nothing more be appended. The log is poisoned.
    pub(super) fn withdraw_limit(&self) {
        assert!(self.is_poisoned());
        let _mapped = self.mapped.lock();
        self.limit.store(0, Ordering::Release);
    }

    /// Unmaps the segments that nobody writes or flushes any more.
    fn unmap_finished(&self) {
        let durable = self.durable.load();
        let mut finished = Vec::new();
        let mut mapped = self.mapped.lock();
        while mapped.len() > 1 && mapped[0].end() <= durable {
            finished.extend(mapped.pop_front());
        }
        // Unmapping takes a while, and nobody should wait for it.
        drop(mapped);
        drop(finished);
    }
}

/// Wakes a thread, at most once for each time that it looks.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    /// Names the thread to wake.
    pub(super) fn hang(&self, thread: Thread) {
        self.thread.set(thread.clone()).expect("one thread for each bell");
        // Whoever rang before found nobody.
        thread.unpark();
    }

    #[inline]
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether it has rung since it was last answered.
    pub(super) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    /// Lets the next ring wake the thread again.
    pub(super) fn answer(&self) {
        self.rung.swap(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::base::sync::thread;

    #[test]
    fn a_bell_wakes_once_until_it_is_answered() {
        let bell = Bell::default();
        assert!(!bell.is_rung());
        bell.ring();
        assert!(bell.is_rung(), "also while nobody is there");
        bell.answer();
        assert!(!bell.is_rung());
        bell.hang(thread::current());
        let before = Instant::now();
        thread::park_timeout(Duration::from_secs(9)); // told of what rang before
        bell.ring();
        thread::park_timeout(Duration::from_secs(9));
        bell.answer();
        bell.ring();
        bell.ring();
        assert!(bell.is_rung());
        thread::park_timeout(Duration::from_secs(9));
        assert!(before.elapsed() < Duration::from_secs(8), "woken each time");
    }
}
