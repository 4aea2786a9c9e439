//! Takes a store through a scenario step by step. Between the steps its disk can be damaged, and
//! calls can be made to fail.

use super::script::Script;
use super::visit::{Broken, Visit};
use crate::engine::disk::{Choice, Disk, Keep, Op, SimDisk};
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{
    Crash, History, Judge, Mark, Outcome, Point, Run, Setup, Step, Verdict, Violation, hash_of,
};
use crate::{Error, Lsn, Store};

/// The store, its disk, and the books for oracle P.
pub(super) struct Stage<'a> {
    pub(super) visit: &'a mut Visit,
    pub(super) run: Run,
    judge: Judge,
}

impl<'a> Stage<'a> {
    /// An empty store.
    pub(super) fn open(visit: &'a mut Visit, setup: &Setup) -> Result<Stage<'a>, Broken> {
        visit.notes.clear();
        Stage::open_on(visit, setup, SimDisk::new())
    }

    /// The store on `disk`, which holds no commits.
    pub(super) fn open_on(
        visit: &'a mut Visit,
        setup: &Setup,
        disk: SimDisk,
    ) -> Result<Stage<'a>, Broken> {
        let run = Run::new(setup, disk);
        let mut stage = Stage { visit, run, judge: Judge::default() };
        stage.opens(Crash::Kill)?;
        Ok(stage)
    }

    /// The disk that the store is on.
    pub(super) fn disk(&self) -> &SimDisk {
        &self.run.disk
    }

    pub(super) fn history(&self) -> &History {
        &self.run.history
    }

    pub(super) fn store(&self) -> &Store {
        self.run.store.as_ref().expect("the store is open")
    }

    /// Does each step; a refusal is a violation.
    pub(super) fn all(&mut self, script: &Script) -> Result<(), Broken> {
        for step in &script.steps {
            if let Some(error) = self.one(step)? {
                let what = format!("refused for no reason: {error}");
                return Err(Violation::safety(what).into());
            }
        }
        Ok(())
    }

    /// Does each step that the store does not refuse. Returns the errors of the others. A refusal to
    /// open ends the script.
    pub(super) fn as_far(&mut self, script: &Script) -> Result<Vec<Error>, Broken> {
        let mut refused = Vec::new();
        for step in &script.steps {
            refused.extend(self.one(step)?);
            if self.run.store.is_none() {
                break;
            }
        }
        Ok(refused)
    }

    /// Does one step. Returns the error if the store refused it.
    pub(super) fn one(&mut self, step: &Step) -> Result<Option<Error>, Broken> {
        if matches!(step, Step::Reopen | Step::Crash { .. }) {
            self.visit.states += 1;
        }
        match self.run.step(step, &mut self.judge) {
            Ok(Outcome::Done) => {
                self.visit.note(format!("{step}"));
                Ok(None)
            }
            Ok(Outcome::Refused(error)) => {
                self.visit.note(format!("{step}: refused: {error}"));
                Ok(Some(error))
            }
            Err(violation) => {
                self.visit.note(format!("{step}  <- here"));
                Err(violation.into())
            }
        }
    }

    /// Opens the store where the last step left none.
    pub(super) fn opens(&mut self, crash: Crash) -> Result<(), Broken> {
        self.visit.states += 1;
        match self.run.open(crash, &mut self.judge)? {
            Outcome::Done => Ok(()),
            Outcome::Refused(error) => {
                let what = format!("the store does not open: {error}");
                Err(Violation::of(Clause::Answers, what).into())
            }
        }
    }

    /// The disk that a crash would leave now. The store goes on.
    pub(super) fn left(&mut self, keep: Keep) -> SimDisk {
        let what = match keep {
            Keep::Everything => "a kill",
            _ => "a power loss",
        };
        self.visit.note(format!("{what} leaves a disk, and on it:"));
        self.disk().fork(keep)
    }

    /// Does a step. Returns all crash points within it.
    pub(super) fn moments(&mut self, step: &Step) -> Result<Vec<Point>, Broken> {
        self.run.watch.note_points(true);
        let done = self.one(step);
        self.run.watch.note_points(false);
        let moments = self.run.watch.take_points();
        done.map(|_| moments)
    }

    /// Checks P after a power loss at `moment` that loses all changes that `keeps` rejects.
    pub(super) fn loses(
        &mut self,
        moment: &Point,
        keeps: impl FnMut(&Choice) -> bool,
    ) -> Result<(), Broken> {
        let mask: Vec<bool> = moment.disk.choices().iter().map(keeps).collect();
        let lost = mask.iter().filter(|kept| !**kept).count();
        let (op, path, of) = (moment.op, &moment.path, mask.len());
        self.visit
            .note(format!("  before {op:?} of {path} a power loss takes {lost} of {of} changes"));
        let left = moment.disk.fork(Keep::Mask(mask));
        self.judged(&left, moment.mark, Crash::PowerLoss)?;
        self.visit.notes.pop();
        Ok(())
    }

    /// Checks P for the store on `disk`, which a crash now would leave.
    pub(super) fn recovers(&mut self, disk: &SimDisk, crash: Crash) -> Result<Verdict, Broken> {
        self.judged(disk, self.run.history.mark, crash)
    }

    fn judged(&mut self, disk: &SimDisk, mut mark: Mark, crash: Crash) -> Result<Verdict, Broken> {
        self.visit.states += 1;
        if crash == Crash::PowerLoss {
            mark.written = mark.durable;
        }
        let store = self.run.setup.open(disk).map_err(|error| {
            Violation::of(Clause::Answers, format!("the store does not open: {error}"))
        })?;
        let verdict = self.judge.recovered(&store, &self.run.history, &mark, crash);
        disk.crash_after(0);
        Ok(verdict?)
    }

    /// Checks that opening or reading the store on `disk` fails with an error that names `file`.
    pub(super) fn refuses(&mut self, disk: &SimDisk, file: &str) -> Result<(), Broken> {
        match self.right_or_told(disk)? {
            Some(error) if named_file(&error).is_some_and(|named| named.contains(file)) => Ok(()),
            Some(error) => {
                let what = format!("{file} is damaged, and the error is: {error}");
                Err(Violation::of(Clause::Answers, what).into())
            }
            None => {
                let what = format!("{file} is damaged, and the store does not report it");
                Err(Violation::of(Clause::Answers, what).into())
            }
        }
    }

    /// Checks that the store on `disk` shows all commits or fails with an error that names a file.
    /// Returns that error.
    pub(super) fn right_or_told(&mut self, disk: &SimDisk) -> Result<Option<Error>, Broken> {
        self.visit.states += 1;
        let result = self.run.setup.open(disk).and_then(|store| {
            let found = hash_of(&store);
            disk.crash_after(0);
            found
        });
        let all = self.history().commits().len();
        match result {
            Ok((hash, keys)) if (hash, keys) == self.history().after(all) => Ok(None),
            Ok((hash, keys)) => {
                let k = (0..=all).rev().find(|&k| self.history().after(k) == (hash, keys));
                let found = k.map_or("something else".to_owned(), |k| format!("{k} commits"));
                let what = format!("{all} commits were durable; the store shows {found}");
                let clause = if k.is_some() { Clause::Bounds } else { Clause::Prefix };
                Err(Violation::of(clause, what).into())
            }
            Err(error) if named_file(&error).is_some() => Ok(Some(error)),
            Err(error) => {
                let what = format!("an error that names no file: {error}");
                Err(Violation::of(Clause::Answers, what).into())
            }
        }
    }

    /// The segment file of the byte before `lsn`, and the byte's offset in it.
    pub(super) fn place_before(&self, lsn: Lsn) -> (String, u64) {
        let (byte, segment) = (lsn.get() - 1, self.run.setup.segment_bytes);
        (crate::engine::log::format::segment_name(byte / segment), byte % segment)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.run.abandon();
    }
}

/// The segments of the log on `disk`, oldest first.
pub(super) fn segments(disk: &SimDisk) -> Vec<String> {
    let names = disk.list().unwrap_or_default();
    names.into_iter().filter(|name| name.starts_with("log-")).collect()
}

/// Whether `choice` is about a superblock.
pub(super) fn is_root(choice: &Choice) -> bool {
    matches!(choice, Choice::Sector { file, sector, .. } if file == "data" && *sector < 16)
}

/// The file that an error names.
pub(super) fn named_file(error: &Error) -> Option<&str> {
    match error {
        Error::Io { file, .. }
        | Error::DiskFull { file, .. }
        | Error::Corrupt { file, .. }
        | Error::Missing { file, .. }
        | Error::Version { file, .. }
        | Error::WrongStore { file, .. }
        | Error::ReadOnly { file, .. } => Some(file),
        Error::Poisoned { source, .. } => named_file(source),
        _ => None,
    }
}

/// Calls `damage` before the `number`-th write of the data file from now on.
pub(super) fn at_write(disk: &SimDisk, number: u64, damage: fn(&SimDisk)) {
    let seen = std::sync::atomic::AtomicU64::new(0);
    disk.watch(move |disk, call| {
        if call.op == Op::Write && call.part == 0 && call.path.ends_with("/data") {
            let before = seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if before == number {
                damage(disk);
            }
        }
    });
}
