//! Damage to files, at rest or by writes that go wrong.
//!
//! - At rest: a bit flips; a file is truncated, removed, or replaced by an older copy of itself or by
//!   another store's; two segments swap names.
//! - While the store runs: a write is torn, lost or misdirected, or an older one is repeated.
//!
//! Then the store is opened, read and verified:
//!
//! - it shows the first k commits, with `D <= k`, or an error names the damage;
//! - it never shows a wrong value, panics, hangs, or creates a new store beside files that are left;
//! - an error makes nothing worse: with the damage undone everything is there;
//! - a sound store goes on: receipts are true, it takes writes, and shows all of them after a crash.
//!
//! One exception is known and accepted. Later writes prove that bytes of the log were durable: the
//! next records, segment headers and superblocks carry the sync line. Damage to bytes without such a
//! proof looks like a crash before their flush, so k may lie below D. The lower bound is therefore the
//! highest LSN that the files proved durable before the damage, found in their bytes without the
//! engine. A state between this bound and D lacks only commits of the last flush; it counts as
//! unnoticed, and the summary has the number. An older copy of a file has lost its own proof: there
//! the bound is the proof that is left.
//!
//! Example: a receipt says that T9 is durable, so D covers T9. Nothing was written after that flush,
//! and the last sync line in the files covers T7. A flipped bit in T8 may give k = 7: unnoticed. A
//! flipped bit in T6 must be reported: k = 5 is a failure.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use super::case::Case;
use super::contents::hash_of;
use super::injected::{BadWrite, Damage, End, FaultViolation, InjectedFault, Rot, WriteFault};
use super::judge::{Crash, Judge, Violation};
use super::panics;
use super::run::{StepOutcome, WorkloadRun};
use super::specimen::{self, Seen, Specimen, check_damage_error};
use super::step::{Kept, Step};
use super::tally::Tally;
use super::watch::Hook;
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::{Disk, Keep, Op, SimDisk};
use crate::engine::log::segment_number;
use crate::tools::torture::{Clause, RotRow};
use crate::{CommitMode, Error, Options, Store};

/// The most steps between a bad write and the crash.
const STEPS_AFTER: usize = 4;

/// How often each kind of damage had each result, by the order of [`Seen`].
#[derive(Clone, Debug, Default)]
pub(crate) struct RotCount(pub(crate) BTreeMap<&'static str, [u64; 4]>);

impl RotCount {
    pub(crate) fn add(&mut self, what: &'static str, seen: Seen) {
        self.0.entry(what).or_default()[seen as usize] += 1;
    }

    /// One row per kind of damage.
    pub(crate) fn rows(&self) -> Vec<RotRow> {
        let rows = self.0.iter().map(|(what, &[right, told, refused, unnoticed])| RotRow {
            what: (*what).to_owned(),
            right,
            told,
            refused,
            unnoticed,
        });
        rows.collect()
    }

    /// Adds the counts of another worker.
    pub(crate) fn merge(&mut self, other: RotCount) {
        for (what, counts) in other.0 {
            let to = self.0.entry(what).or_default();
            to.iter_mut().zip(counts).for_each(|(to, from)| *to += from);
        }
    }
}

/// Damages the store that `case` leaves; `each` scales the number of ways per kind of damage.
pub(crate) fn play(
    case: &Case,
    seed: u64,
    each: usize,
    tally: &mut Tally,
    over: &mut dyn FnMut() -> bool,
) -> Result<(), FaultViolation> {
    let mut rng = SplitMix64::new(seed ^ 0x807);
    let steps = case.steps.len() - rng.below(case.steps.len() as u64 / 2 + 1) as usize;
    let ends = [End::Closed, End::Crash(Kept::Everything), End::Crash(Kept::Seeded(rng.next()))];
    for end in ends {
        let none = Damage::Nothing;
        let specimen = Specimen::of(case, steps, &end).map_err(|violation| {
            let end = end.clone();
            FaultViolation {
                violation,
                injected: InjectedFault::Rot(Rot { steps, end, damage: none }),
            }
        })?;
        for damage in damages(&specimen, steps, each, &mut rng) {
            if over() {
                return Ok(());
            }
            let rot = Rot { steps, end: end.clone(), damage };
            let seen = damaged(case, &specimen, &rot.damage).map_err(|violation| {
                FaultViolation { violation, injected: InjectedFault::Rot(rot.clone()) }
            })?;
            let Some(seen) = seen else { continue };
            tally.states += 1;
            tally.rot.add(rot.damage.name(), seen);
            let fault = if matches!(rot.damage, Damage::Flip { .. }) { 5 } else { 9 };
            tally.fault(fault, &specimen.history, &specimen.mark);
        }
    }
    bad_writes(case, seed, each, tally, over)
}

/// Replays the damage.
pub(crate) fn replay(case: &Case, rot: &Rot) -> Result<(), Violation> {
    let mut specimen = Specimen::of(case, rot.steps.min(case.steps.len()), &rot.end)?;
    specimen.close_one_in = 1;
    damaged(case, &specimen, &rot.damage).map(|_| ())
}

/// Examines a damaged copy. None if the damage does not apply or changes nothing.
pub(super) fn damaged(
    case: &Case,
    specimen: &Specimen,
    damage: &Damage,
) -> Result<Option<Seen>, Violation> {
    let disk = specimen.disk.fork(Keep::Everything);
    let files = specimen.files();
    let has = |name: &String| files.contains(name);
    let applies = match damage {
        Damage::Nothing => false,
        Damage::Invert { file, offset, bytes } => {
            has(file) && offset + bytes <= disk.read_file(file).len() as u64
        }
        Damage::Flip { file, offset, .. } => {
            has(file) && *offset < disk.read_file(file).len() as u64
        }
        Damage::Truncate { file, bytes } => has(file) && *bytes < disk.read_file(file).len() as u64,
        Damage::Remove { file } => has(file) && files.len() > 1,
        Damage::Older { file, .. } | Damage::Foreign { file } => has(file),
        Damage::Exchange { one, other } => has(one) && has(other),
    };
    if !applies {
        return Ok(None);
    }
    if !damage_files(case, &disk, damage)? {
        return Ok(None);
    }
    let seen = guarded(|| match damage {
        Damage::Older { .. } => specimen.examine_without_proof(&disk),
        _ => specimen.examine(&disk),
    })?;
    if matches!(damage, Damage::Invert { .. }) && seen != Seen::Right {
        return Err(Violation::safety(format!("{damage}, which are never read, but: {seen:?}")));
    }
    Ok(Some(seen))
}

/// Does the damage, which applies. False if it changes nothing.
fn damage_files(case: &Case, disk: &SimDisk, damage: &Damage) -> Result<bool, Violation> {
    match damage {
        Damage::Flip { file, offset, bit } => disk.flip(file, *offset, *bit),
        Damage::Nothing => {}
        Damage::Invert { file, offset, bytes } => {
            let mut content = disk.read_file(file);
            let range = *offset as usize..(offset + bytes) as usize;
            content[range].iter_mut().for_each(|byte| *byte = !*byte);
            disk.write_file(file, &content);
        }
        Damage::Truncate { file, bytes } => disk.truncate(file, *bytes),
        Damage::Remove { file } => disk.remove_file(file),
        Damage::Older { file, steps } => {
            let mut run = specimen::run(case, (*steps).min(case.steps.len()))?;
            let older = run.disk.fork(Keep::Everything);
            run.abandon();
            if !older.list().expect("nothing fails").contains(file)
                || older.read_file(file) == disk.read_file(file)
            {
                return Ok(false);
            }
            disk.write_file(file, &older.read_file(file));
        }
        Damage::Foreign { file } => {
            let foreign = foreign(case);
            let names = foreign.list().expect("nothing fails");
            let same = match segment_number(file) {
                None => names.iter().find(|name| *name == file),
                Some(_) => names.iter().find(|name| segment_number(name).is_some()),
            };
            let Some(same) = same else { return Ok(false) };
            disk.write_file(file, &foreign.read_file(same));
        }
        Damage::Exchange { one, other } => {
            let (first, second) = (disk.read_file(one), disk.read_file(other));
            disk.write_file(one, &second);
            disk.write_file(other, &first);
        }
    }
    Ok(true)
}

/// Another store, with the same options.
fn foreign(case: &Case) -> SimDisk {
    let disk = SimDisk::new();
    let options = Options::new()
        .page_bytes(case.setup.page_bytes)
        .cache_bytes(1 << 20)
        .segment_bytes(case.setup.segment_bytes)
        .store_id(*b"another store id")
        .without_threads();
    let store = Store::open_on(Arc::new(disk.clone()), options).expect("nothing fails");
    let keyspace = store.keyspace("k0").expect("nothing fails");
    for n in 0..30u8 {
        let written = keyspace.put_with([n], vec![n; 200], CommitMode::Async);
        written.expect("nothing fails");
    }
    store.flush().expect("nothing fails");
    let left = disk.fork(Keep::Everything);
    disk.crash_after(0);
    left
}

/// Some damages of each kind.
fn damages(specimen: &Specimen, steps: usize, each: usize, rng: &mut SplitMix64) -> Vec<Damage> {
    let files = specimen.files();
    let mut list = Vec::new();
    for name in &files {
        let file = || name.clone();
        let bytes = specimen.disk.read_file(name);
        let len = bytes.len() as u64;
        let used: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
        for n in 0..4 * each {
            let offset = match (n % 4, used.is_empty()) {
                (0, _) | (_, true) => rng.below(len.max(1)),
                _ => used[rng.below(used.len() as u64) as usize] as u64,
            };
            list.push(Damage::Flip { file: file(), offset, bit: rng.below(8) as u8 });
        }
        let ends = [0, 1, 511, 4095, 4096, 4097, 8191, 8192, len / 2, len - 4096, len - 1];
        let some = (0..each).map(|_| rng.below(len.max(1)));
        let last = used.last().map_or(0, |&last| last as u64);
        list.extend(
            ends.into_iter()
                .chain([last, last + 1])
                .chain(some)
                .map(|bytes| Damage::Truncate { file: file(), bytes }),
        );
        list.push(Damage::Remove { file: file() });
        list.push(Damage::Foreign { file: file() });
        for _ in 0..each {
            let steps = rng.below(steps as u64 + 1) as usize;
            list.push(Damage::Older { file: file(), steps });
        }
        for other in files.iter().filter(|other| *other > name && name != "data") {
            list.push(Damage::Exchange { one: file(), other: other.clone() });
        }
    }
    list
}

/// Runs `case` with bad writes, one per run.
fn bad_writes(
    case: &Case,
    seed: u64,
    each: usize,
    tally: &mut Tally,
    over: &mut dyn FnMut() -> bool,
) -> Result<(), FaultViolation> {
    let mut rng = SplitMix64::new(seed ^ 0xBAD);
    let writes = count_writes(case);
    let count = writes.min(each as u64 * 8);
    for n in 0..count {
        let write = if count == writes { n } else { rng.below(writes) };
        let page = i64::from(case.setup.page_bytes);
        let astray = [page, -page, 2 * page, -3 * page, 512, 1 << 15][rng.below(6) as usize];
        let torn = [1, !1, 0xFF00_FF00_FF00_FF0F, rng.next()][rng.below(4) as usize];
        let ways = [
            WriteFault::Lost,
            WriteFault::Torn(torn),
            WriteFault::Misdirected(astray),
            WriteFault::Repeated,
        ];
        for how in ways {
            if over() {
                return Ok(());
            }
            let kept = match rng.below(3) {
                0 => Kept::Everything,
                1 => Kept::Nothing,
                _ => Kept::Seeded(rng.next()),
            };
            let bad = BadWrite { write, how, kept };
            let played = guarded(|| replay_write(case, &bad)).map_err(|violation| {
                FaultViolation { violation, injected: InjectedFault::Write(bad.clone()) }
            })?;
            tally.states += 1;
            let Some((seen, specimen)) = played else { continue };
            tally.rot.add(how.name(), seen);
            tally.fault(6, &specimen.history, &specimen.mark);
        }
    }
    Ok(())
}

/// Counts writes, and makes one of them bad.
#[derive(Debug, Default)]
struct Writes {
    count: u64,
    bad: Option<BadWrite>,
    has_happened: bool,
}

impl Writes {
    fn over(run: &WorkloadRun, bad: Option<BadWrite>) -> Arc<Mutex<Writes>> {
        let writes = Arc::new(Mutex::new(Writes { bad, ..Writes::default() }));
        let shared = Arc::clone(&writes);
        run.watch.set_hook(Hook::new(move |disk, call, _| {
            if call.op != Op::Write || call.part > 0 || disk.is_gone() {
                return;
            }
            let mut writes = shared.lock();
            let number = writes.count;
            writes.count += 1;
            let Some(how) = writes.bad.as_ref().filter(|bad| bad.write == number).map(|b| b.how)
            else {
                return;
            };
            writes.has_happened = true;
            match how {
                WriteFault::Lost => disk.lose_next_write(),
                WriteFault::Torn(sectors) => disk.tear_next_write(sectors),
                WriteFault::Misdirected(by) => disk.misdirect_next_write(by),
                WriteFault::Repeated => disk.remember_next_write(),
            }
        }));
        writes
    }
}

pub(crate) fn count_writes(case: &Case) -> u64 {
    let mut run = WorkloadRun::new(&case.setup, SimDisk::new());
    let writes = Writes::over(&run, None);
    let mut judge = Judge::default();
    let _ = run.open(Crash::Kill, &mut judge);
    for step in &case.steps {
        if run.store.is_some() {
            let _ = run.step(step, &mut judge);
        }
    }
    run.abandon();
    writes.lock().count
}

/// Runs `case` with one bad write. None if the result cannot be judged.
pub(crate) fn replay_write(
    case: &Case,
    bad: &BadWrite,
) -> Result<Option<(Seen, Specimen)>, Violation> {
    let mut run = WorkloadRun::new(&case.setup, SimDisk::new());
    let writes = Writes::over(&run, Some(bad.clone()));
    let mut judge = Judge::default();
    let opened = run.open(Crash::Kill, &mut judge);
    let mut since = writes.lock().has_happened.then_some(0);
    match opened {
        Ok(StepOutcome::Done) => {}
        Ok(StepOutcome::Refused(error)) if since.is_some() => {
            return check_damage_error(&error).map(|()| None);
        }
        Ok(StepOutcome::Refused(error)) => return Err(Violation::safety(error.to_string())),
        Err(violation) => return inconclusive(violation).map(|()| None),
    }
    for step in &case.steps {
        if since.is_some_and(|since| since >= STEPS_AFTER || stops(step)) {
            break;
        }
        let result = run.step(step, &mut judge);
        if writes.lock().has_happened {
            since = since.map(|since| since + 1).or(Some(0));
        }
        match result {
            Ok(StepOutcome::Done) => {}
            Ok(StepOutcome::Refused(error)) => check_running_error(&error)?,
            Err(violation) if since.is_some() => {
                run.abandon();
                return inconclusive(violation).map(|()| None);
            }
            Err(violation) => return Err(violation),
        }
        if run.store.is_none() {
            return Ok(None);
        }
    }
    if since.is_none() {
        return Ok(None);
    }
    let store = run.store.clone().expect("an open store");
    match hash_of(&store) {
        Ok((hash, _)) if run.history.may_show(hash) => {}
        Ok(_) => return Err(Violation::safety("after a bad write, reads show wrong contents")),
        Err(error) => check_damage_error(&error)?,
    }
    drop(store);
    let disk = run.disk.fork(bad.kept.keep());
    let crash = if bad.kept == Kept::Everything { Crash::Kill } else { Crash::PowerLoss };
    disk.repeat_older_write();
    let history = std::mem::take(&mut run.history);
    let mark = history.mark;
    run.abandon();
    let specimen = Specimen::new(&case.setup, disk, history, mark, crash);
    let seen = specimen.examine_as_it_is()?;
    Ok(Some((seen, specimen)))
}

/// Whether a step judges strictly, although a bad write may have damaged the files.
fn stops(step: &Step) -> bool {
    matches!(
        step,
        Step::Reopen | Step::Crash { .. } | Step::Read | Step::EndSnapshot | Step::Beside { .. }
    )
}

/// Judges an error of a running store after a bad write, which may have lost or revived a keyspace.
fn check_running_error(error: &Error) -> Result<(), Violation> {
    match error {
        Error::NoSuchKeyspace { .. } | Error::KeyspaceExists { .. } => Ok(()),
        error => check_damage_error(error),
    }
}

/// A violation by the judge of sound stores, after a bad write: only wrong contents count.
fn inconclusive(violation: Violation) -> Result<(), Violation> {
    match violation.clause {
        Clause::Prefix => Err(violation),
        _ => Ok(()),
    }
}

fn guarded<T>(work: impl FnOnce() -> Result<T, Violation>) -> Result<T, Violation> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Violation::safety(panics::take())))
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::*;

    #[test]
    fn damage_is_reported_or_harmless() {
        let worker = std::thread::spawn(|| {
            panics::catch();
            let mut tally = Tally::default();
            let mut failures = Vec::new();
            for seed in 0..3 {
                let played = play(&generate::case(seed), seed, 1, &mut tally, &mut || false);
                failures.extend(played.err().map(|found| format!("seed {seed}: {found:?}")));
            }
            (tally, failures)
        });
        let (tally, failures) = worker.join().expect("no panic escapes");
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        assert!(tally.states > 200, "{:?}", tally.rot);
        let told: u64 = tally.rot.0.values().map(|[_, told, refused, _]| told + refused).sum();
        assert!(told > 20, "{:?}", tally.rot);
    }

    #[test]
    fn contents_of_another_store_are_noticed() {
        let of = |seed| {
            let case = generate::case(seed);
            Specimen::of(&case, case.steps.len(), &End::Closed).expect("nothing fails")
        };
        let (one, other) = (of(1), of(2));
        assert_eq!(one.examine(&one.disk), Ok(Seen::Right));
        let wrong = one.examine(&other.disk).expect_err("another store's contents");
        assert!(matches!(wrong.clause, Clause::Prefix | Clause::Bounds), "{wrong:?}");
    }
}
