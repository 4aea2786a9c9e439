//! Every single bit of five golden stores, flipped.
//!
//! The stores are made from fixed seeds: one that was closed; one that was killed with log to
//! replay; one with many keyspaces and long values; one after many checkpoints, with free space
//! and recycled segments; one whose recovery was killed. Each takes 64 KiB or more. For each bit
//! of each file: open, read everything, verify, within a second, without a panic. Nothing is
//! skipped, space that was never used included: there the outcome must be the same, and it is
//! looked at all the same.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::case::{Case, Setup};
use super::contents::Stamp;
use super::judge::Violation;
use super::panics;
use super::specimen::{Seen, Specimen};
use super::step::{Change, Kept, Mode, Step};
use super::tally::Tally;
use super::trouble::{Damage, End, Rot, Trouble, Troubled};
use crate::disk::Keep;
use crate::disk::sim::rng::SplitMix64;

/// The least that a golden store takes, in bytes.
const LEAST: u64 = 64 << 10;

/// A golden store, and how it is made.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) case: Case,
    pub(crate) end: End,
    specimen: Specimen,
    /// The files with their lengths.
    files: Vec<(String, u64)>,
}

/// Makes the golden stores.
pub(crate) fn golden() -> Result<Vec<Golden>, Box<(Case, Troubled)>> {
    let kill = Kept::Everything;
    let recovery = End::RecoveryCrash { kept: Kept::Seeded(5), operation: 9 };
    [
        ("closed", case(Kind::Plain, 1), End::Closed),
        ("killed", case(Kind::Plain, 2), End::Crash(kill.clone())),
        ("many keyspaces", case(Kind::Keyspaces, 3), End::Crash(kill)),
        ("many checkpoints", case(Kind::Checkpoints, 4), End::Closed),
        ("killed in recovery", case(Kind::Plain, 5), recovery),
    ]
    .into_iter()
    .map(|(name, case, end)| {
        let specimen = Specimen::of(&case, case.steps.len(), &end).map_err(|violation| {
            let damage = Damage::Remove { file: String::new() };
            let rot = Rot { steps: case.steps.len(), end: end.clone(), damage };
            Box::new((case.clone(), Troubled { violation, trouble: Trouble::Rot(rot) }))
        })?;
        let len = |name: &String| specimen.disk.read_file(name).len() as u64;
        let files = specimen.files().into_iter().map(|name| (name.clone(), len(&name))).collect();
        Ok(Golden { name, case, end, specimen, files })
    })
    .collect()
}

impl Golden {
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// The place of a bit, by its number.
    fn place(&self, bit: u64) -> Option<(&str, u64, u8)> {
        let (mut byte, bit) = (bit / 8, (bit % 8) as u8);
        for (name, bytes) in &self.files {
            if byte < *bytes {
                return Some((name, byte, bit));
            }
            byte -= bytes;
        }
        None
    }

    fn flip(&self, file: &str, offset: u64, bit: u8) -> Result<Seen, Violation> {
        let disk = self.specimen.disk.fork(Keep::Everything);
        disk.flip(file, offset, bit);
        let examined = catch_unwind(AssertUnwindSafe(|| self.specimen.examine(&disk)));
        examined.unwrap_or_else(|_| Err(Violation::safety(panics::take())))
    }
}

/// Flips each `stride`-th bit of all golden stores, from the one of number `offset` on, and returns
/// how many. Workers that share the work take different offsets. `over` is asked before each
/// whether it is time to stop.
pub(crate) fn run(
    stride: u64,
    offset: u64,
    tally: &mut Tally,
    over: &mut dyn FnMut() -> bool,
) -> Result<u64, Box<(Case, Troubled)>> {
    let (mut flipped, mut at) = (0, offset);
    let stores = golden()?;
    tally.bits = stores.iter().map(|golden| 8 * golden.bytes()).sum();
    for golden in stores {
        assert!(golden.bytes() >= LEAST, "{} has only {} bytes", golden.name, golden.bytes());
        while let Some((file, byte, bit)) = golden.place(at) {
            if over() {
                return Ok(flipped);
            }
            let damage = Damage::Flip { file: file.to_owned(), offset: byte, bit };
            let seen = golden.flip(file, byte, bit).map_err(|violation| {
                let (end, damage) = (golden.end.clone(), damage.clone());
                let rot = Rot { steps: golden.case.steps.len(), end, damage };
                Box::new((golden.case.clone(), Troubled { violation, trouble: Trouble::Rot(rot) }))
            })?;
            flipped += 1;
            at += stride;
            tally.bits_flipped += 1;
            tally.states += 1;
            tally.rot.add(damage.name(), seen);
            tally.fault(5, &golden.specimen.history, &golden.specimen.mark);
        }
        at -= 8 * golden.bytes();
    }
    Ok(flipped)
}

/// What a golden store has much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Keyspaces,
    Checkpoints,
}

fn case(kind: Kind, seed: u64) -> Case {
    let mut rng = SplitMix64::new(seed);
    let setup = Setup {
        page_bytes: 4096,
        cache_bytes: 256 << 10,
        segment_bytes: 16 << 10,
        checkpoint_log_bytes: 1 << 20,
        max_unsynced_bytes: 1 << 20,
    };
    let keyspaces = if kind == Kind::Keyspaces { 9 } else { 2 };
    let mut steps: Vec<Step> = (0..keyspaces).map(|keyspace| Step::Create { keyspace }).collect();
    let commits = if kind == Kind::Checkpoints { 60 } else { 40 };
    for n in 0..commits {
        let changes = (0..1 + rng.below(4)).map(|_| {
            let keyspace = rng.below(u64::from(keyspaces)) as u8;
            let key = rng.below(60) as u16;
            if n > 20 && rng.below(3) == 0 {
                return Change::Delete { keyspace, key };
            }
            let bytes = match rng.below(8) {
                0 if kind == Kind::Keyspaces => 3000 + rng.below(3000),
                1 => 1300,
                _ => rng.below(200),
            };
            let id = rng.next() as u32 >> 8;
            Change::Put { keyspace, key, value: Stamp { id, bytes: bytes as u32 } }
        });
        let mode = if n % 5 == 4 { Mode::Sync } else { Mode::Async };
        steps.push(Step::Commit { mode, changes: changes.collect() });
        let often = if kind == Kind::Checkpoints { 4 } else { 18 };
        if n % often == often - 1 {
            steps.push(Step::Checkpoint);
        }
    }
    Case { setup, steps }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_stores_are_what_they_are_called() {
        let golden = golden().unwrap();
        assert_eq!(golden.len(), 5);
        for golden in &golden {
            assert!(golden.bytes() >= LEAST, "{}: {}", golden.name, golden.bytes());
            assert_eq!(golden.specimen.examine(&golden.specimen.disk), Ok(Seen::Right));
        }
    }

    #[test]
    fn flipped_bits_are_told_or_do_no_harm() {
        let worker = std::thread::spawn(|| {
            panics::catch();
            let mut tally = Tally::default();
            let flipped = run(49_999, 7, &mut tally, &mut || false);
            (flipped.map_err(|found| found.1), tally)
        });
        let (flipped, tally) = worker.join().expect("no panic escapes");
        assert!(matches!(flipped, Ok(200..)), "{flipped:?}");
        assert_eq!(tally.bits_flipped, flipped.unwrap());
    }
}
