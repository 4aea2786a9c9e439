//! A store at rest, to be damaged and opened: what it must still show is known.

use std::time::{Duration, Instant};

use super::case::{Case, Setup};
use super::contents::hash_of;
use super::history::{History, Mark};
use super::judge::{Crash, Judge, Violation};
use super::run::{Outcome, Run};
use super::step::Kept;
use super::trouble::End;
use crate::codec::get_u64;
use crate::disk::{Disk, Keep, SimDisk};
use crate::log::format::{
    ALIGN, Geometry, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, Salt, SegmentHeader,
};
use crate::log::segment_number;
use crate::space::superblock::{SLOT_BYTES, Superblock};
use crate::torture::Clause;
use crate::{Error, Lsn};

/// The longest that it takes to open, read and verify a store, whatever was done to it.
const LONGEST: Duration = Duration::from_secs(1);

/// A store that nobody has open.
#[derive(Debug)]
pub(crate) struct Specimen {
    pub(crate) setup: Setup,
    pub(crate) disk: SimDisk,
    pub(crate) history: History,
    pub(crate) mark: Mark,
    pub(crate) crash: Crash,
}

/// What became of a damaged store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It shows what it should.
    Right,
    /// It shows nothing wrong, and tells that it is damaged.
    Told,
    /// It did not open, and told why.
    Refused,
    /// It shows the first k commits. Some after them had been reported durable, and nothing that
    /// is left proves it: the known limit.
    Unnoticed,
}

impl Specimen {
    /// What `case` leaves after so many steps. An error is a failure without any damage.
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
        Ok(Specimen { setup: case.setup.clone(), disk, history, mark, crash })
    }

    /// The names of its files.
    pub(crate) fn files(&self) -> Vec<String> {
        self.disk.list().expect("nothing fails")
    }

    /// Opens a damaged copy and looks at everything.
    pub(crate) fn examine(&self, damaged: &SimDisk) -> Result<Seen, Violation> {
        // What is slow takes long each time; a worker that had no processor does not.
        const TRIES: usize = 3;
        let mut took = Duration::ZERO;
        for _ in 0..TRIES {
            let begun = Instant::now();
            let image = damaged.fork(Keep::Everything);
            let seen = self.look(damaged, &image, true);
            took = begun.elapsed();
            if took <= LONGEST {
                return seen;
            }
        }
        Err(Violation::liveness(format!("it took {took:?}")))
    }

    /// As [`Specimen::examine`], on the very disk.
    pub(crate) fn examine_on(&self, image: &SimDisk) -> Result<Seen, Violation> {
        self.look(image, image, false)
    }

    /// As [`Specimen::examine`], where the damage is done already and cannot be undone.
    pub(crate) fn examine_as_it_is(&self) -> Result<Seen, Violation> {
        let (damaged, image) = (&self.disk, self.disk.fork(Keep::Everything));
        self.look(damaged, &image, false)
    }

    fn look(&self, damaged: &SimDisk, image: &SimDisk, can_undo: bool) -> Result<Seen, Violation> {
        let store = match self.setup.open(image) {
            Ok(store) => store,
            Err(error) => {
                tells(&error)?;
                if can_undo {
                    self.is_no_worse(damaged, image)?;
                }
                return Ok(Seen::Refused);
            }
        };
        let mut seen = Seen::Right;
        let mut k = self.history.count_to(store.stats().recovery.recovered_to);
        match hash_of(&store) {
            Ok(shown) if shown == self.history.after(k) => {}
            Ok(shown) if self.history.after_doubt() == Some(shown) => {
                k = self.history.commits().len() + 1;
            }
            Ok(_) => {
                let what = format!("after damage it says {k} commits and shows something else");
                return Err(Violation::of(Clause::Prefix, what));
            }
            Err(error) => {
                tells(&error)?;
                seen = Seen::Told;
            }
        }
        match store.verify() {
            Ok(found) if found.is_clean() => {}
            Ok(_) => seen = Seen::Told,
            Err(error) => {
                tells(&error)?;
                seen = Seen::Told;
            }
        }
        image.crash_after(0);
        drop(store);
        let bounds = self.bounds(k, damaged)?;
        Ok(if bounds == Seen::Right { seen } else { bounds })
    }

    /// Whether k lies where it must, as far as anything that is left proves where that is.
    fn bounds(&self, k: usize, damaged: &SimDisk) -> Result<Seen, Violation> {
        let limit = self.mark.submitted;
        if k > limit {
            let what = format!("{k} commits are there, but only {limit} had been submitted");
            return Err(Violation::of(Clause::Bounds, what));
        }
        let promised = self.history.count_to(self.mark.durable);
        if k >= promised {
            return Ok(Seen::Right);
        }
        let proved = proved_durable(damaged);
        let certain = self.history.count_to(self.mark.durable.min(proved));
        if k >= certain {
            return Ok(Seen::Unnoticed);
        }
        let what = format!(
            "{k} commits are left, but {promised} had been reported durable, and what is left of \
             the files proves it of {certain}"
        );
        Err(Violation::of(Clause::Bounds, what))
    }

    /// After an error the damage can be undone, and everything is there.
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
            Violation::safety(format!("the damage is undone, and it does not open: {error}"))
        })?;
        let judged = Judge::default().recovered(&store, &self.history, &self.mark, self.crash);
        image.crash_after(0);
        judged.map(|_| ())
    }
}

/// A run of the first steps of `case`.
pub(crate) fn run(case: &Case, steps: usize) -> Result<Run, Violation> {
    let mut run = Run::new(&case.setup, SimDisk::new());
    let mut judge = Judge::default();
    let mut outcome = run.open(Crash::Kill, &mut judge)?;
    for step in &case.steps[..steps] {
        if let Outcome::Refused(error) = outcome {
            return Err(Violation::safety(format!("refused for no reason: {error}")));
        }
        outcome = run.step(step, &mut judge)?;
    }
    Ok(run)
}

/// An error must say what is wrong with which file.
pub(crate) fn tells(error: &Error) -> Result<(), Violation> {
    let file = match error {
        Error::Corrupt { file, .. }
        | Error::Missing { file, .. }
        | Error::WrongStore { file, .. }
        | Error::Version { file, .. }
        | Error::Io { file, .. } => file,
        Error::NotAStore { directory, .. } => directory,
        Error::Poisoned { source } => return tells(source),
        other => return Err(Violation::safety(format!("damage was told as: {other}"))),
    };
    match file.starts_with("sim:") {
        true => Ok(()),
        false => Err(Violation::safety(format!("no file is named: {error}"))),
    }
}

/// The highest LSN that anything in these files says was durable, found without the engine's
/// help: in the newest superblock, and in every header of its incarnation.
fn proved_durable(disk: &SimDisk) -> Lsn {
    let names = disk.list().expect("nothing fails");
    if !names.iter().any(|name| name == "data") {
        return Lsn::ZERO;
    }
    let data = disk.read_file("data");
    let slots = data.chunks(SLOT_BYTES).take(2).filter_map(|slot| Superblock::decode(slot).ok());
    let Some(newest) = slots.max_by_key(|slot| slot.sequence) else { return Lsn::ZERO };
    let head = newest.head;
    let (salt, geometry) =
        (Salt::new(newest.store, head.incarnation), Geometry::new(newest.segment_bytes));
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
        let is_ours = |header: &SegmentHeader| {
            header.store == newest.store
                && header.incarnation == head.incarnation
                && header.number == number
        };
        proved = proved.max(header.ok().filter(is_ours).map_or(Lsn::ZERO, |h| h.sync_line));
        let start = geometry.segment_start(number).get();
        for offset in (SEGMENT_HEADER..bytes.len() as u64).step_by(ALIGN as usize) {
            let (at, record) = (start + offset, &bytes[offset as usize..]);
            if record.len() < RECORD_HEADER || get_u64(record, 16) != at {
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
