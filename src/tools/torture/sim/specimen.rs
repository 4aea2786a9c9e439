//! A specimen: a closed or crashed store with its history, to be damaged and examined.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::case::{Case, Setup};
use super::explore::{MORE, write_more};
use super::history::{History, Mark};
use super::injected::End;
use super::judge::{Crash, Judge, Violation};
use super::look::{Effort, LookError, look};
use super::run::{StepOutcome, WorkloadRun};
use super::step::Kept;
use crate::engine::disk::{Disk, Keep, SimDisk};
use crate::engine::log::format::{
    ALIGN, Geometry, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, Salt, SegmentHeader,
};
use crate::engine::log::segment_number;
use crate::engine::space::superblock::{SLOT_BYTES, Superblock};
use crate::tools::torture::Clause;
use crate::tools::torture::processor::waited_here;
use crate::{Error, Lsn, Status, Store};

/// The time limit to open, read and verify a store, however damaged.
const LONGEST: Duration = Duration::from_secs(1);

/// A store that is not open, with its history.
#[derive(Debug)]
pub(crate) struct Specimen {
    pub(crate) setup: Setup,
    pub(crate) disk: SimDisk,
    pub(crate) history: History,
    pub(crate) mark: Mark,
    pub(crate) crash: Crash,
    /// One of this many damaged copies is looked at thoroughly, asked about all receipts, written to
    /// and opened again.
    pub(crate) close_one_in: u64,
    pub(crate) examined: AtomicU64,
    /// The highest LSN that the files prove durable.
    pub(crate) proved: Lsn,
}

/// The result of examining a damaged store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It shows the right contents.
    Right,
    /// It shows nothing wrong, and reports the damage.
    Told,
    /// It did not open, and reported why.
    Refused,
    /// It shows the first k commits. Some after them had been reported durable, but no file proved
    /// it: they were in the last flush. This is the known limit.
    Unnoticed,
}

/// What the files prove about the past of the store.
#[derive(Clone, Copy, Debug)]
struct Proof {
    durable: Lsn,
    /// The superblock is from an earlier life, and does not know the later ones.
    forgets_a_life: bool,
}

impl Specimen {
    /// The store that `case` leaves after `steps` steps. An error is a failure without any damage.
    pub(crate) fn of(case: &Case, steps: usize, end: &End) -> Result<Specimen, Violation> {
        let mut run = run(case, steps)?;
        let (keep, crash) = match end {
            End::Closed => {
                let store = run.store.clone().expect("an open store");
                store.close().map_err(|e| Violation::safety(format!("closing: {e}")))?;
                let all = run.history.commits().last().map_or(Lsn::ZERO, |commit| commit.lsn);
                run.history.durable(all);
                (Keep::Everything, Crash::Kill)
            }
            End::Crash(Kept::Everything) => (Keep::Everything, Crash::Kill),
            End::Crash(kept) | End::RecoveryCrash { kept, .. } => (kept.keep(), Crash::PowerLoss),
        };
        let mut disk = run.disk.fork(keep);
        let history = std::mem::take(&mut run.history);
        run.abandon();
        if let End::RecoveryCrash { operation, .. } = end {
            disk.crash_after(*operation);
            drop(case.setup.open(&disk));
            disk = disk.crash(Keep::Everything);
        }
        let mark = history.mark;
        let mark = if crash == Crash::Kill { mark } else { Mark { written: Lsn::ZERO, ..mark } };
        Ok(Specimen::new(&case.setup, disk, history, mark, crash))
    }

    pub(crate) fn new(
        setup: &Setup,
        disk: SimDisk,
        history: History,
        mark: Mark,
        crash: Crash,
    ) -> Specimen {
        let proved = proved_durable(&disk);
        let (setup, examined) = (setup.clone(), AtomicU64::new(0));
        Specimen { setup, disk, history, mark, crash, close_one_in: 4, examined, proved }
    }

    fn proof(&self) -> Proof {
        Proof { durable: self.proved, forgets_a_life: false }
    }

    /// The names of the files.
    pub(crate) fn files(&self) -> Vec<String> {
        self.disk.list().expect("nothing fails")
    }

    /// Opens a damaged copy, reads everything and verifies it.
    pub(crate) fn examine(&self, damaged: &SimDisk) -> Result<Seen, Violation> {
        self.examine_at(damaged, self.proof())
    }

    /// As [`Specimen::examine`], where a file has lost its own proof.
    pub(crate) fn examine_without_proof(&self, damaged: &SimDisk) -> Result<Seen, Violation> {
        let durable = self.proved.min(proved_durable(damaged));
        let life = |disk| newest_superblock(disk).map(|superblock| superblock.head.incarnation);
        let forgets_a_life = life(damaged) < life(&self.disk);
        self.examine_at(damaged, Proof { durable, forgets_a_life })
    }

    fn examine_at(&self, damaged: &SimDisk, proof: Proof) -> Result<Seen, Violation> {
        let look = || self.look(damaged, &damaged.fork(Keep::Everything), true, proof);
        let begun = Instant::now();
        let seen = look();
        if begun.elapsed() <= LONGEST {
            return seen;
        }
        // Again, without the time that this thread waited for a processor.
        let (begun, waited) = (Instant::now(), waited_here());
        let seen = look();
        let took = begun.elapsed().saturating_sub(waited_here() - waited);
        if took <= LONGEST { seen } else { Err(Violation::liveness(format!("it took {took:?}"))) }
    }

    /// As [`Specimen::examine`], on `image` itself, not on a copy.
    pub(crate) fn examine_on(&self, image: &SimDisk) -> Result<Seen, Violation> {
        self.look(image, image, false, self.proof())
    }

    /// As [`Specimen::examine`], of a store that a bad write has damaged: nothing can be undone.
    pub(crate) fn examine_as_it_is(&self) -> Result<Seen, Violation> {
        let (damaged, image) = (&self.disk, self.disk.fork(Keep::Everything));
        self.look(damaged, &image, false, self.proof())
    }

    fn look(
        &self,
        damaged: &SimDisk,
        image: &SimDisk,
        can_undo: bool,
        proof: Proof,
    ) -> Result<Seen, Violation> {
        let turn = self.examined.fetch_add(1, Ordering::Relaxed) + 1;
        let is_close = turn.is_multiple_of(self.close_one_in);
        let store = match self.setup.open(image) {
            Ok(store) => store,
            Err(error) => {
                check_damage_error(&error)?;
                leaves_nothing(damaged, image, &error)?;
                if can_undo {
                    self.is_no_worse(damaged, image)?;
                }
                return Ok(Seen::Refused);
            }
        };
        let mut seen = Seen::Right;
        let mut k = self.history.count_to(store.stats().recovery.recovered_to);
        let effort = if is_close { Effort::Thorough(turn) } else { Effort::Glance };
        match look(&store, effort, None) {
            Ok(shown) if shown == self.history.after(k) => {}
            Ok(shown) if self.history.after_doubt() == Some(shown) => {
                k = self.history.commits().len() + 1;
            }
            Ok(_) => {
                let what = format!("after damage it reports {k} commits, but shows other contents");
                return Err(Violation::of(Clause::Prefix, what));
            }
            Err(LookError::Disagrees(what)) => {
                return Err(Violation::safety(format!("after damage, {what}")));
            }
            Err(LookError::Refused(error)) => {
                check_damage_error(&error)?;
                seen = Seen::Told;
            }
        }
        match store.verify() {
            Ok(found) if found.is_clean() => {}
            Ok(_) => seen = Seen::Told,
            Err(error) => {
                check_damage_error(&error)?;
                seen = Seen::Told;
            }
        }
        let bounds = self.bounds(k, proof.durable)?;
        if is_close {
            let is_right = self.takes_writes(&store, k, seen == Seen::Right, proof)?;
            let after = image.fork(Keep::Nothing);
            image.crash_after(0);
            drop(store);
            if self.recovers_again(&after, k, is_right)? == Seen::Told {
                seen = Seen::Told;
            }
        } else {
            image.crash_after(0);
        }
        Ok(if bounds == Seen::Right { seen } else { bounds })
    }

    /// Asks about all receipts, writes, and makes a checkpoint. A damaged store may refuse. Returns
    /// whether the store is still right: it did all of this.
    fn takes_writes(
        &self,
        store: &Store,
        k: usize,
        is_right: bool,
        proof: Proof,
    ) -> Result<bool, Violation> {
        let acknowledged = self.history.count_to(self.mark.acknowledged);
        for (at, commit) in self.history.commits()[..acknowledged].iter().enumerate() {
            let Some(token) = &commit.token else { continue };
            let expected = if at < k { Status::Durable } else { Status::Lost };
            match store.status(token) {
                Ok(found) if found == expected => {}
                Ok(found) if is_right => {
                    let what = format!(
                        "after damage, receipt {token} should be {expected:?}, and is {found:?}"
                    );
                    return Err(Violation::of(Clause::Receipts, what));
                }
                Ok(_) => {}
                // The same as after the restore of a backup.
                Err(Error::UnknownLife { .. }) if proof.forgets_a_life => {}
                Err(error) => check_damage_error(&error)?,
            }
        }
        match write_more(store, true) {
            Ok(_) => Ok(is_right),
            Err(error) => check_damage_error(&error).map(|()| false),
        }
    }

    /// Judges that the store shows the same after a crash that keeps only durable data. A damaged one may
    /// report the damage instead.
    fn recovers_again(&self, image: &SimDisk, k: usize, is_right: bool) -> Result<Seen, Violation> {
        let failed = |error: Error| match is_right {
            true => Err(Violation::of(
                Clause::Again,
                format!("right before a crash, and then: {error}"),
            )),
            false => check_damage_error(&error).map(|()| Seen::Told),
        };
        let store = match self.setup.open(image) {
            Ok(store) => store,
            Err(error) => return failed(error),
        };
        let expected = match k > self.history.commits().len() {
            true => self.history.after_doubt().expect("found before").0,
            false => self.history.after(k).0,
        };
        match look(&store, Effort::Glance, Some(MORE)) {
            Ok((hash, _)) if hash == expected => Ok(Seen::Right),
            Ok(_) => {
                let what = "after damage, writes and a crash it shows other contents";
                Err(Violation::of(Clause::Again, what))
            }
            Err(LookError::Disagrees(what)) => {
                Err(Violation::safety(format!("after damage and writes, {what}")))
            }
            Err(LookError::Refused(error)) => failed(error),
        }
    }

    /// Judges k. The lower bound is D, or `proved` if that is less; `proved` is the proof from before
    /// the damage, so damage that removes a proof excuses nothing.
    fn bounds(&self, k: usize, proved: Lsn) -> Result<Seen, Violation> {
        let limit = self.mark.submitted;
        if k > limit {
            let what = format!("{k} commits are there, but only {limit} had been submitted");
            return Err(Violation::of(Clause::Bounds, what));
        }
        let promised = self.history.count_to(self.mark.durable);
        if k >= promised {
            return Ok(Seen::Right);
        }
        let certain = self.history.count_to(self.mark.durable.min(proved));
        if k >= certain {
            return Ok(Seen::Unnoticed);
        }
        let what = format!(
            "{k} commits are left, but {promised} had been reported durable, and the files proved \
             {certain} of them durable before the damage"
        );
        Err(Violation::of(Clause::Bounds, what))
    }

    /// Judges that a refused opening made nothing worse: with the damage undone everything is there.
    fn is_no_worse(&self, damaged: &SimDisk, image: &SimDisk) -> Result<(), Violation> {
        image.crash_after(0);
        let image = image.fork(Keep::Everything);
        let (before, after) = (self.files(), damaged.list().expect("nothing fails"));
        for name in &before {
            let was = self.disk.read_file(name);
            if !after.contains(name) || damaged.read_file(name) != was {
                image.write_file(name, &was);
            }
        }
        let store = self.setup.open(&image).map_err(|error| {
            Violation::safety(format!("the damage is undone, but the store does not open: {error}"))
        })?;
        let judged = Judge::default().recovered(&store, &self.history, &self.mark, self.crash);
        image.crash_after(0);
        judged.map(|_| ())
    }
}

/// Runs the first steps of `case`.
pub(crate) fn run(case: &Case, steps: usize) -> Result<WorkloadRun, Violation> {
    let mut run = WorkloadRun::new(&case.setup, SimDisk::new());
    let mut judge = Judge::default();
    let mut outcome = run.open(Crash::Kill, &mut judge)?;
    for step in &case.steps[..steps] {
        if let StepOutcome::Refused(error) = outcome {
            return Err(Violation::refused(&error));
        }
        outcome = run.step(step, &mut judge)?;
    }
    Ok(run)
}

/// Judges that a failed opening left no new file behind.
pub(crate) fn leaves_nothing(
    before: &SimDisk,
    after: &SimDisk,
    error: &Error,
) -> Result<(), Violation> {
    let names = |disk: &SimDisk| disk.list().expect("nothing fails");
    let was = names(before);
    match names(after).into_iter().find(|name| !was.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let what = format!("an opening that failed left {name} behind: {error}");
            Err(Violation::liveness(what))
        }
    }
}

/// Judges that an error fits damage and names the file.
pub(crate) fn check_damage_error(error: &Error) -> Result<(), Violation> {
    let file = match error {
        Error::Corrupt { file, .. }
        | Error::Missing { file, .. }
        | Error::WrongStore { file, .. }
        | Error::Version { file, .. }
        | Error::Io { file, .. } => file,
        Error::NotAStore { directory, .. } => directory,
        Error::Poisoned { source, .. } => return check_damage_error(source),
        other => return Err(Violation::safety(format!("damage was reported as: {other}"))),
    };
    match file.starts_with("sim:") {
        true => Ok(()),
        false => Err(Violation::safety(format!("no file is named: {error}"))),
    }
}

/// The newest valid superblock.
fn newest_superblock(disk: &SimDisk) -> Option<Superblock> {
    if !disk.list().expect("nothing fails").iter().any(|name| name == "data") {
        return None;
    }
    let data = disk.read_file("data");
    let slots = data.chunks(SLOT_BYTES).take(2).filter_map(|slot| Superblock::decode(slot).ok());
    slots.max_by_key(|slot| slot.sequence)
}

/// The highest LSN that these files prove durable, found without the engine: in the newest superblock,
/// and in every segment and record header of its life.
fn proved_durable(disk: &SimDisk) -> Lsn {
    let names = disk.list().expect("nothing fails");
    let Some(newest) = newest_superblock(disk) else { return Lsn::ZERO };
    let head = newest.head;
    let (salt, geometry) = (Salt::of(&newest.life()), Geometry::new(newest.segment_bytes));
    let mut proved = head.durable;
    for name in names {
        let Some(number) = segment_number(&name).filter(|&n| geometry.can_hold(n)) else {
            continue;
        };
        let bytes = disk.read_file(&name);
        if bytes.len() as u64 <= SEGMENT_HEADER {
            continue;
        }
        let header = SegmentHeader::decode(&bytes[..SEGMENT_HEADER as usize]);
        let is_ours =
            |header: &SegmentHeader| header.life == newest.life() && header.number == number;
        proved = proved.max(header.ok().filter(is_ours).map_or(Lsn::ZERO, |h| h.sync_line));
        let start = geometry.segment_start(number).get();
        for offset in (SEGMENT_HEADER..bytes.len() as u64).step_by(ALIGN as usize) {
            let (at, record) = (start + offset, &bytes[offset as usize..]);
            if record.len() < RECORD_HEADER {
                continue;
            }
            let room = geometry.segment_bytes().saturating_sub(offset);
            if let Ok(header) = RecordHeader::decode(record, Lsn::new(at), room, salt) {
                proved = proved.max(header.sync_line);
            }
        }
    }
    proved
}
