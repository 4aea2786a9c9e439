//! The log that is being written, and its appender.
//!
//! Appending has three parts: `reserve` makes sure of the space, outside any lock; `append` copies,
//! under the commit lock; `publish` moves the watermark, after one or more appends. The commit lock
//! guards the one [`Appender`]: appending needs it by `&mut`.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::flush::GroupCommit;
use super::format::{Geometry, Kind, MIN_ROOM, RECORD_HEADER, RecordHeader, Salt, record_bytes};
use super::preallocate::{Preallocator, WakeFlag};
use super::presence::LogRegistry;
use super::segment::Segment;
use super::threads::FlusherState;
use crate::engine::base::durations::{DurationCounter, Durations};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::{Life, Lsn, Watermark};
use crate::engine::base::process::Process;
use crate::engine::base::sync::atomic::{AtomicU64, Ordering};
use crate::engine::base::sync::{Mutex, Stopwatch};
use crate::engine::disk::Disk;
use crate::engine::mutants::mutant;

/// A record up to this size is built on the stack and copied at once.
const SMALL_RECORD: usize = 256;

/// A payload from this size on is large: it is appended only where memory is prefaulted (LOG-7).
const LARGE_PAYLOAD: usize = 64 << 10;

/// How the log is laid out, and its limits.
#[derive(Clone, Debug)]
pub(crate) struct LogOptions {
    /// Size of a segment file, a multiple of 4096.
    pub(crate) segment_bytes: u64,
    /// The first segment's file begins with this many bytes at most, at least 8192.
    pub(crate) first_bytes: u64,
    /// Appending waits while more than this is not durable.
    pub(crate) max_unsynced_bytes: u64,
    /// Records that no committer waits for are flushed after this time.
    pub(crate) flush_interval: Duration,
    /// How far ahead of the end of the log memory is prefaulted.
    pub(crate) prefault_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            segment_bytes: 64 << 20,
            first_bytes: 256 << 10,
            max_unsynced_bytes: 16 << 20,
            flush_interval: Duration::from_millis(10),
            prefault_bytes: 4 << 20,
        }
    }
}

/// Statistics of the log since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogStats {
    /// How long flushes took at the device.
    pub(crate) flush_durations: Durations,
    /// How long committers waited to append.
    pub(crate) stalls: Durations,
    /// Flushes of the device that succeeded.
    pub(crate) flushes: u64,
    /// Bytes appended, headers included.
    pub(crate) bytes_appended: u64,
    /// Bytes that flushes made durable.
    pub(crate) bytes_flushed: u64,
    /// New segment files.
    pub(crate) segments_created: u64,
    /// Recycled segment files.
    pub(crate) segments_recycled: u64,
}

/// The counters behind [`LogStats`], except those that follow from watermarks.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) flush_durations: DurationCounter,
    pub(super) stalls: DurationCounter,
    pub(super) flushes: AtomicU64,
    pub(super) bytes_flushed: AtomicU64,
    pub(super) segments_created: AtomicU64,
    pub(super) segments_recycled: AtomicU64,
}

/// The log of one incarnation.
#[derive(Debug)]
pub(crate) struct Log {
    // Constant after construction.
    pub(super) disk: Arc<dyn Disk>,
    pub(super) process: Process,
    pub(super) options: LogOptions,
    pub(super) geometry: Geometry,
    pub(super) life: Life,
    pub(super) salt: Salt,
    start: Lsn,
    /// Set once the superblock names this log.
    pub(super) registry: OnceLock<Arc<dyn LogRegistry>>,

    /// Moved by the holder of the appender.
    pub(super) appended: Watermark,
    /// Moved by the leader of a flush, under the group's lock.
    pub(super) durable: Watermark,
    /// No record may end above this. 0 once the log is poisoned. Set under the lock of `mapped`.
    pub(super) limit: AtomicU64,
    /// See [`Log::delete_reserve`]. Set with the limit.
    pub(super) delete_reserve: AtomicU64,
    /// Memory is prefaulted up to here: a write raises no page fault that reads the device.
    /// Moved by the preallocator, under its lock.
    pub(super) ready: AtomicU64,
    /// The segment being appended to, those before it that are not yet durable, and those
    /// prepared after it, in order. Locked for moments only, never during I/O.
    pub(super) mapped: Mutex<VecDeque<Arc<Segment>>>,
    /// The waiters for a flush, and its leadership.
    pub(super) group: GroupCommit,
    /// Locked while segments are prepared, I/O included. Taken before the lock of `mapped`.
    pub(super) preallocator: Mutex<Preallocator>,
    pub(super) preallocator_wake: WakeFlag,
    pub(super) flusher: FlusherState,
    pub(super) counters: Counters,
}

/// The right to append. Each log has one; the commit lock guards it.
#[derive(Debug)]
pub(crate) struct Appender {
    /// The end of the last record.
    position: Lsn,
    /// The segment that `position` lies in, or the one before if it is at a boundary.
    segment: Arc<Segment>,
    /// The preallocator is woken when `position` reaches this.
    next_wake: u64,
}

#[cfg(test)]
impl Appender {
    /// The end of the last record, published or not.
    pub(crate) fn position(&self) -> Lsn {
        self.position
    }
}

impl Log {
    /// Starts the log of an incarnation in the fresh segment `first`.
    ///
    /// Removes the segments in `done`, and all from `first` on (LOG-6); others stay until
    /// [`Log::recycle_below`]. No record may be appended before the beginning of this incarnation is
    /// durably recorded elsewhere: a second beginning of the same one must not meet records of the first.
    pub(crate) fn begin(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        life: Life,
        first: u64,
        done: &[u64],
    ) -> Result<(Log, Appender)> {
        let geometry = Geometry::new(options.segment_bytes);
        assert!(geometry.can_hold(first + 1), "segment {first} is beyond every LSN");
        let start = geometry.record_after(geometry.segment_start(first));
        let log = Log {
            preallocator: Mutex::new(Preallocator::new(&*disk, life.store, first, done)?),
            disk,
            process: Process::current(),
            options,
            geometry,
            life,
            salt: Salt::of(&life),
            start,
            registry: OnceLock::new(),
            appended: Watermark::new(start),
            durable: Watermark::new(start),
            limit: AtomicU64::new(start.get()),
            delete_reserve: AtomicU64::new(0),
            ready: AtomicU64::new(start.get()),
            mapped: Mutex::new(VecDeque::new()),
            group: GroupCommit::default(),
            preallocator_wake: WakeFlag::default(),
            flusher: FlusherState::default(),
            counters: Counters::default(),
        };
        let segment = log.prepare_first()?;
        let appender = Appender { position: start, segment, next_wake: 0 };
        Ok((log, appender))
    }

    /// The life that the log belongs to.
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// The number of the log's first segment.
    pub(crate) fn first_segment(&self) -> u64 {
        self.geometry.segment_of(self.start)
    }

    /// From now on the log's segments and sync line are noted in `registry` (LOG-11).
    pub(crate) fn set_registry(&self, registry: Arc<dyn LogRegistry>) {
        self.registry.set(registry).expect("the registry is set once");
    }

    /// Where this incarnation's first record begins.
    pub(crate) fn start(&self) -> Lsn {
        self.start
    }

    /// The end of the last published record.
    pub(crate) fn appended(&self) -> Lsn {
        self.appended.load()
    }

    /// The sync line.
    pub(crate) fn durable(&self) -> Lsn {
        self.durable.load()
    }

    /// Statistics of the log since it began.
    pub(crate) fn stats(&self) -> LogStats {
        let counters = &self.counters;
        LogStats {
            flush_durations: counters.flush_durations.read(),
            stalls: counters.stalls.read(),
            flushes: counters.flushes.load(Ordering::Relaxed),
            bytes_appended: self.appended.load().get() - self.start.get(),
            bytes_flushed: counters.bytes_flushed.load(Ordering::Relaxed),
            segments_created: counters.segments_created.load(Ordering::Relaxed),
            segments_recycled: counters.segments_recycled.load(Ordering::Relaxed),
        }
    }

    /// Makes space for a payload of `payload_bytes`, and waits while too much is unsynced. To be
    /// called outside any lock: it may prepare segments and wait for flushes.
    ///
    /// The space is not set aside: if other commits take it first, `append` returns `None` and the
    /// caller reserves again.
    ///
    /// # Errors
    /// [`DiskFull`](crate::Error::DiskFull) if there is no space for a segment; nothing has changed,
    /// and a later call may succeed. [`Poisoned`](crate::Error::Poisoned) after a failed flush.
    #[inline]
    pub(crate) fn reserve(&self, payload_bytes: usize) -> Result<()> {
        if self.has_room(payload_bytes) {
            return Ok(());
        }
        self.reserve_slowly(payload_bytes)
    }

    /// Whether [`Log::reserve`] would return at once. Never in a poisoned log.
    #[inline]
    pub(crate) fn has_room(&self, payload_bytes: usize) -> bool {
        let appended = self.appended.load().get();
        self.fits(appended, payload_bytes)
            && self.is_ready(appended, payload_bytes)
            && appended - self.durable.load().get().min(appended)
                <= self.most_unsynced(payload_bytes)
    }

    /// How much may be unsynced when a payload is appended. Large payloads leave a quarter to small
    /// ones, which then need not wait for the flush of large ones.
    #[inline]
    fn most_unsynced(&self, payload_bytes: usize) -> u64 {
        let most = self.options.max_unsynced_bytes;
        if payload_bytes < LARGE_PAYLOAD { most } else { most - most / 4 }
    }

    /// Whether memory is prefaulted for a payload at `appended`, or the payload is small (LOG-7).
    #[inline]
    pub(super) fn is_ready(&self, appended: u64, payload_bytes: usize) -> bool {
        payload_bytes < LARGE_PAYLOAD
            || self.ends_by(self.ready.load(Ordering::Acquire), appended, payload_bytes)
    }

    /// Whether a payload fits after the published records, without more space.
    #[inline]
    pub(crate) fn has_space(&self, payload_bytes: usize) -> bool {
        self.fits(self.appended.load().get(), payload_bytes)
    }

    /// The end of the log that is reserved for deletes: a quarter of what exists of the last segment, or
    /// from the last hole on (LOG-13). The preallocator normally makes more exist before this is reached.
    #[inline]
    pub(crate) fn delete_reserve(&self) -> usize {
        self.delete_reserve.load(Ordering::Relaxed) as usize
    }

    /// Whether a payload fits between `appended` and the limit.
    #[inline]
    pub(super) fn fits(&self, appended: u64, payload_bytes: usize) -> bool {
        self.ends_by(self.limit.load(Ordering::Acquire), appended, payload_bytes)
    }

    /// Whether a payload that is appended at `appended` ends at or before `line`.
    #[inline]
    fn ends_by(&self, line: u64, appended: u64, payload_bytes: usize) -> bool {
        appended.saturating_add(self.geometry.demand(payload_bytes)) <= line
            || self.ends_just_by(line, appended, payload_bytes)
    }

    /// The exact answer, where the bound on it does not fit.
    #[cold]
    fn ends_just_by(&self, line: u64, appended: u64, payload_bytes: usize) -> bool {
        appended.saturating_add(payload_bytes as u64) < line
            && self.geometry.end_of_append(Lsn::new(appended), payload_bytes).get() <= line
    }

    #[cold]
    fn reserve_slowly(&self, payload_bytes: usize) -> Result<()> {
        let begun = Stopwatch::start();
        let made = self.wait_and_prepare(payload_bytes);
        self.counters.stalls.add(begun.elapsed());
        made
    }

    fn wait_and_prepare(&self, payload_bytes: usize) -> Result<()> {
        let appended = self.appended.load();
        let unsynced = appended.get() - self.durable.load().get().min(appended.get());
        let most = self.most_unsynced(payload_bytes);
        if unsynced > most {
            self.wait_quietly(Lsn::new(appended.get() - most), None)?;
        }
        self.prepare_for(payload_bytes)
    }

    /// Copies a transaction into the mapped log, in several records if it does not fit into the rest
    /// of the segment. To be called under the commit lock. `payload_crc` is the CRC-32
    /// of `payload`. Returns the end of its last record, which names the commit.
    ///
    /// Returns `None`, with nothing changed, if there is not enough prepared space, memory is not
    /// prefaulted for a large payload, or the log is poisoned: leave the lock, reserve again, retry.
    #[inline]
    pub(crate) fn append(
        &self,
        appender: &mut Appender,
        class: u8,
        payload: &[u8],
        payload_crc: u32,
    ) -> Option<Lsn> {
        debug_assert_eq!(payload_crc, crc32fast::hash(payload));
        let limit = self.limit.load(Ordering::Acquire);
        let at = appender.position;
        if !self.is_ready(at.get(), payload.len()) {
            return None;
        }
        let bytes = record_bytes(payload.len() as u64);
        let room = appender.segment.end().get() - at.get();
        let end = if bytes <= room && room >= MIN_ROOM {
            let end = Lsn::new(at.get() + bytes);
            if end.get() > limit {
                return None;
            }
            let part = Part { kind: Kind::Full, class, payload, payload_crc };
            self.write_record(&appender.segment, at, part);
            end
        } else {
            let end = self.geometry.end_of_append(at, payload.len());
            if end.get() > limit {
                return None;
            }
            self.append_across(appender, class, payload, payload_crc);
            assert_eq!(appender.position, end, "the append ends where the geometry says");
            end
        };
        appender.position = end;
        // Prefetch for the next record of this size, while its commit is prepared.
        if bytes <= SMALL_RECORD as u64 {
            appender.segment.will_write(end, bytes as usize);
        }
        if end.get() >= appender.next_wake {
            // In a small segment, before half of it is used.
            let ahead = (limit.saturating_sub(end.get()) / 2).min(self.options.prefault_bytes / 4);
            appender.next_wake = end.get() + ahead;
            self.preallocator_wake.wake();
        }
        Some(end)
    }

    /// Appends a transaction that needs more than the rest of the segment. The limit has been checked,
    /// so every segment that it needs is mapped.
    #[cold]
    fn append_across(&self, appender: &mut Appender, class: u8, payload: &[u8], payload_crc: u32) {
        let mut rest = payload;
        loop {
            let at = self.geometry.record_after(appender.position);
            self.enter_segment(appender, at);
            let room = (appender.segment.end().get() - at.get()) as usize;
            let begins = rest.len() == payload.len();
            let ends = record_bytes(rest.len() as u64) <= room as u64;
            let kind = match (begins, ends) {
                (true, true) => Kind::Full,
                (true, false) => Kind::First,
                (false, false) => Kind::Middle,
                (false, true) => Kind::Last,
            };
            let (here, later) = rest.split_at(rest.len().min(room - RECORD_HEADER));
            let crc = if kind == Kind::Full { payload_crc } else { crc32fast::hash(here) };
            let part = Part { kind, class, payload: here, payload_crc: crc };
            self.write_record(&appender.segment, at, part);
            appender.position = Lsn::new(at.get() + record_bytes(here.len() as u64));
            if ends {
                return;
            }
            rest = later;
        }
    }

    /// Moves the appender to the segment that holds `at`.
    fn enter_segment(&self, appender: &mut Appender, at: Lsn) {
        let number = self.geometry.segment_of(at);
        if appender.segment.number() == number {
            return;
        }
        let mapped = self.mapped.lock();
        let segment = mapped.iter().find(|segment| segment.number() == number);
        appender.segment = Arc::clone(segment.expect("LOG-1: below the limit segments are mapped"));
        drop(mapped);
        appender.next_wake = 0;
    }

    #[inline]
    fn write_record(&self, segment: &Segment, at: Lsn, part: Part<'_>) {
        let sync_line = mutant!(SyncLineAhead: self.durable.load() => self.appended.load());
        assert!(sync_line <= at, "LOG-5: the sync line {sync_line} is above the record at {at}");
        let header = RecordHeader {
            payload_crc: part.payload_crc,
            len: part.payload.len() as u32,
            kind: part.kind,
            class: part.class,
            lsn: at,
            sync_line,
        };
        let head = header.encode(self.salt);
        let bytes = header.record_bytes() as usize;
        let payload = header.payload();
        if bytes <= SMALL_RECORD {
            let mut record = [0; SMALL_RECORD];
            record[..RECORD_HEADER].copy_from_slice(&head);
            record[payload].copy_from_slice(part.payload);
            segment.write(at, &record[..bytes]);
            return;
        }
        segment.write(at, &head);
        segment.write(Lsn::new(at.get() + payload.start as u64), part.payload);
        mutant!(RecordPaddingUnwritten => return);
        let padding = &[0; 8][..bytes - payload.end];
        segment.write(Lsn::new(at.get() + payload.end as u64), padding);
    }

    /// Publishes the records up to `lsn`, the end of the last append. To be called under the commit
    /// lock. Only published LSNs can be waited for.
    #[inline]
    pub(crate) fn publish(&self, lsn: Lsn) {
        self.appended.advance(lsn);
        let unsynced = lsn.get() - self.durable.load().get().min(lsn.get());
        self.flusher.note_append(unsynced > self.options.max_unsynced_bytes / 2);
    }
}

/// The content of one record.
struct Part<'a> {
    kind: Kind,
    class: u8,
    payload: &'a [u8],
    payload_crc: u32,
}
