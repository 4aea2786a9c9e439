//! Oracle P: judges every recovery.
//!
//! [`Clause`] numbers the clauses. A crash is judged by the promises made before it ([`Mark`]). The
//! judge glances at most states and reads some thoroughly; some it asks about every receipt ever given.

use super::history::{History, Mark};
use super::look::{Effort, LookError, look};
use crate::tools::torture::{Clause, FailureKind};
use crate::{Error, Lsn, Status, Store};

/// The kind of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process ends; the operating system keeps all that was written.
    Kill,
    /// Unsynced data may be gone.
    PowerLoss,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) kind: FailureKind,
    pub(crate) clause: Clause,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn of(clause: Clause, what: impl Into<String>) -> Violation {
        Violation { kind: FailureKind::Safety, clause, what: what.into() }
    }

    /// A wrong answer of a running store.
    pub(crate) fn safety(what: impl Into<String>) -> Violation {
        Violation::of(Clause::Answers, what)
    }

    /// A step that failed while no fault was in force.
    pub(crate) fn refused(error: &Error) -> Violation {
        Violation::safety(format!("refused although nothing fails: {error}"))
    }

    /// A store that could go on and does not.
    pub(crate) fn liveness(what: impl Into<String>) -> Violation {
        Violation { kind: FailureKind::Liveness, clause: Clause::Answers, what: what.into() }
    }
}

/// The result of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The number of commits that are there.
    pub(crate) k: usize,
    /// The LSN that the store reports as recovered to.
    pub(crate) to: Lsn,
}

/// One of this many looks is thorough.
const THOROUGH: u64 = 32;
/// One of this many recoveries is asked about all receipts.
const ALL_RECEIPTS: u64 = 50;

/// Judges, and counts how often each clause was checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judge {
    pub(crate) checked: [u64; Clause::ALL.len()],
    looks: u64,
    /// Every look is thorough: for replays.
    is_strict: bool,
}

impl Judge {
    /// One that looks thoroughly each time.
    pub(crate) fn strict() -> Judge {
        Judge { is_strict: true, ..Judge::default() }
    }

    /// Starts the turns of looks anew, so that a run does not depend on the one before it.
    pub(crate) fn begin(&mut self) {
        self.looks = 0;
    }

    /// The hash of the contents of a store, and the number of its keys.
    pub(crate) fn look(&mut self, store: &Store, without: Option<&str>) -> Looked {
        self.looks += 1;
        let is_thorough = self.is_strict || self.looks.is_multiple_of(THOROUGH);
        let effort = if is_thorough { Effort::Thorough(self.looks) } else { Effort::Glance };
        match look(store, effort, without) {
            Ok(found) => Ok(Ok(found)),
            Err(LookError::Refused(error)) => Ok(Err(error)),
            Err(LookError::Disagrees(what)) => Err(Violation::safety(what)),
        }
    }

    /// Judges a store that has just recovered. `mark` holds the promises made before the crash.
    pub(crate) fn recovered(
        &mut self,
        store: &Store,
        history: &History,
        mark: &Mark,
        crash: Crash,
    ) -> Result<Verdict, Violation> {
        let to = store.stats().recovery.recovered_to;
        let reported = history.count_to(to);
        let (hash, keys) = self.look(store, None)?.map_err(unreadable)?;
        // P1, P3
        let k = self.find_k(history, reported, hash, keys)?;
        // P2
        self.check(Clause::Bounds);
        let certain = history.count_to(mark.durable);
        if k < certain {
            return Err(Violation::of(
                Clause::Bounds,
                format!("{k} commits are left, but {certain} had been reported durable"),
            ));
        }
        let written = history.count_to(mark.written);
        if crash == Crash::Kill && k < written {
            return Err(Violation::of(
                Clause::Bounds,
                format!("a kill left {k} commits of {written} that were acknowledged"),
            ));
        }
        if k > mark.submitted {
            let submitted = mark.submitted;
            return Err(Violation::of(
                Clause::Bounds,
                format!("{k} commits are there, but only {submitted} had been submitted"),
            ));
        }
        // P4
        self.sound(store)?;
        // P7
        self.receipts(store, history, k, history.count_to(mark.acknowledged))?;
        Ok(Verdict { k, to })
    }

    /// Judges a store that is open and in use.
    pub(crate) fn running(&mut self, store: &Store, history: &History) -> Result<(), Violation> {
        self.sound(store)?;
        self.check(Clause::Receipts);
        let durable = store.watermarks().durable;
        for commit in history.commits().iter().rev().take(4) {
            let Some(token) = &commit.token else { continue };
            let expected = match commit.lsn <= durable.max(history.mark.durable) {
                true => Status::Durable,
                false => Status::Pending,
            };
            receipt(store, token, expected)?;
        }
        Ok(())
    }

    /// Judges the receipts of a poisoned store: each is durable or answers with [`Error::Poisoned`].
    /// A receipt of a former life is looked up in a page: if the page cache has dropped pages
    /// (`may_lack_pages`), that may report [`Error::Corrupt`], as any read may.
    pub(crate) fn poisoned(
        &mut self,
        store: &Store,
        history: &History,
        may_lack_pages: bool,
    ) -> Result<(), Violation> {
        self.check(Clause::Receipts);
        let durable = store.watermarks().durable;
        for commit in history.commits().iter().rev().take(8) {
            let Some(token) = &commit.token else { continue };
            match store.status(token) {
                Ok(Status::Durable) if commit.lsn <= durable.max(history.mark.durable) => {}
                Err(Error::Poisoned { .. }) if commit.lsn > durable => {}
                Err(Error::Corrupt { .. }) if may_lack_pages => {}
                found => {
                    let what = format!("a receipt of a poisoned log is {found:?}");
                    return Err(Violation::of(Clause::Receipts, what));
                }
            }
        }
        Ok(())
    }

    /// Judges that a recovered store still shows the same, in all keyspaces except `without`. `clause`
    /// is the one that demands it.
    pub(crate) fn same(
        &mut self,
        store: &Store,
        history: &History,
        verdict: Verdict,
        clause: Clause,
        without: Option<&str>,
    ) -> Result<(), Violation> {
        self.check(clause);
        let (hash, _) = self.look(store, without)?.map_err(unreadable)?;
        let expected = match verdict.k > history.commits().len() {
            true => history.after_doubt().expect("found before").0,
            false => history.after(verdict.k).0,
        };
        if hash != expected {
            let found = (0..=history.commits().len()).find(|&k| history.after(k).0 == hash);
            let found = found.map_or("something else".to_owned(), |k| format!("{k}"));
            return Err(Violation::of(
                clause,
                format!("{} commits had been served, and the next open shows {found}", verdict.k),
            ));
        }
        Ok(())
    }

    /// Adds the counts of another judge.
    pub(crate) fn add(&mut self, other: &Judge) {
        self.checked.iter_mut().zip(other.checked).for_each(|(to, from)| *to += from);
    }

    pub(crate) fn check(&mut self, clause: Clause) {
        self.checked[clause as usize] += 1;
    }

    fn find_k(
        &mut self,
        history: &History,
        reported: usize,
        hash: u64,
        keys: u64,
    ) -> Result<usize, Violation> {
        self.check(Clause::Prefix);
        self.check(Clause::Reported);
        let all = history.commits().len();
        if history.after(reported) == (hash, keys) {
            return Ok(reported);
        }
        if reported == all && history.after_doubt() == Some((hash, keys)) {
            return Ok(all + 1);
        }
        match (0..=all).find(|&k| history.after(k) == (hash, keys)) {
            Some(k) => Err(Violation::of(
                Clause::Reported,
                format!("the store has {k} commits, but reports that it has {reported}"),
            )),
            None => Err(Violation::of(
                Clause::Prefix,
                format!("no first k commits give the store's contents; it reports {reported}"),
            )),
        }
    }

    fn sound(&mut self, store: &Store) -> Result<(), Violation> {
        self.check(Clause::Sound);
        match store.verify() {
            Ok(found) if found.is_clean() => Ok(()),
            Ok(found) => {
                let what = format!("verify: {}", found.problems.join("; "));
                Err(Violation::of(Clause::Sound, what))
            }
            Err(error) => Err(Violation::of(Clause::Sound, format!("verify: {error}"))),
        }
    }

    /// Judges the receipts around k, and some of commits that an earlier crash took. In one recovery
    /// of [`ALL_RECEIPTS`] it judges all.
    pub(crate) fn receipts(
        &mut self,
        store: &Store,
        history: &History,
        k: usize,
        acknowledged: usize,
    ) -> Result<(), Violation> {
        self.check(Clause::Receipts);
        let judge = |at: usize| {
            let Some(token) = &history.commits()[at].token else { return Ok(()) };
            receipt(store, token, if at < k { Status::Durable } else { Status::Lost })
        };
        if self.is_strict || self.looks.is_multiple_of(ALL_RECEIPTS) {
            (0..acknowledged).try_for_each(judge)?;
            return history.lost.iter().try_for_each(|token| receipt(store, token, Status::Lost));
        }
        let near = [k.wrapping_sub(1), k, k + 1, acknowledged.saturating_sub(1), k / 2];
        near.into_iter().filter(|&at| at < acknowledged).try_for_each(judge)?;
        for token in history.lost.iter().rev().take(2).chain(history.lost.first()) {
            receipt(store, token, Status::Lost)?;
        }
        Ok(())
    }
}

/// The hash and number of keys that a store shows, or its error; or a violation.
pub(crate) type Looked = Result<Result<(u64, u64), Error>, Violation>;

fn unreadable(error: Error) -> Violation {
    Violation::of(Clause::Answers, format!("reading: {error}"))
}

fn receipt(store: &Store, token: &str, expected: Status) -> Result<(), Violation> {
    match store.status(token) {
        Ok(found) if found == expected => Ok(()),
        found => Err(Violation::of(
            Clause::Receipts,
            format!("receipt {token} should be {expected:?}, and is {found:?}"),
        )),
    }
}
