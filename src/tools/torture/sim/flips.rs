//! Flips every single bit of five golden stores.
//!
//! Fixed seeds make the stores: one that was closed; one that was killed with log to replay; one with
//! many keyspaces and long values; one after many checkpoints, with free space and recycled segments;
//! one whose recovery was killed. Each takes 64 KiB or more.
//!
//! A flipped store is opened, read and verified, within a second and without a panic. Each bit of each
//! page that this reads is flipped alone. A simulated store that reads the same does the same, so a
//! page that it does not read makes no difference. Such a page has all its bits flipped at once, and
//! the result must be that of the sound store.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::case::{Case, Setup};
use super::contents::Stamp;
use super::injected::{Damage, End, FaultViolation, InjectedFault, Rot};
use super::judge::Violation;
use super::panics;
use super::rot::damaged;
use super::specimen::{Seen, Specimen};
use super::step::{Change, Kept, Mode, Step};
use super::tally::Tally;
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::Keep;

/// The unit in which the disk notes reads, in bytes and in bits.
const PAGE: u64 = 4096;
const PAGE_BITS: u64 = 8 * PAGE;
/// The least size of a golden store, in bytes.
const LEAST: u64 = 64 << 10;

/// The name of a file, and the number of a page in it.
type Page = (String, u64);

/// A golden store, and how it is made.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) case: Case,
    pub(crate) end: End,
    specimen: Specimen,
    /// The pages that an examination reads.
    read: Vec<Page>,
    /// The other pages.
    unread: Vec<Page>,
}

/// Makes the golden stores.
pub(crate) fn golden() -> Result<Vec<Golden>, Box<(Case, FaultViolation)>> {
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
        let mut specimen = Specimen::of(&case, case.steps.len(), &end).map_err(|violation| {
            Box::new((case.clone(), fault_violation(&case, &end, Damage::Nothing, violation)))
        })?;
        // No writes here: a page that only they read counts as unread. `rot` damages such pages.
        specimen.close_one_in = u64::MAX;
        let (read, unread) = pages(&specimen);
        Ok(Golden { name, case, end, specimen, read, unread })
    })
    .collect()
}

/// The pages that an examination of a store reads, and the others.
fn pages(specimen: &Specimen) -> (Vec<Page>, Vec<Page>) {
    let image = specimen.disk.fork(Keep::Everything);
    image.note_reads();
    let seen = specimen.examine_on(&image);
    assert_eq!(seen, Ok(Seen::Right), "nothing is damaged yet");
    let pages_of = |name: String| {
        let bytes = specimen.disk.read_file(&name).len() as u64;
        (0..bytes.div_ceil(PAGE)).map(move |page| (name.clone(), page))
    };
    let is_read = |(name, page): &Page| image.has_read(&specimen.disk, name, *page);
    specimen.files().into_iter().flat_map(pages_of).partition(is_read)
}

/// Damage to all bits of a page.
fn invert((file, page): &Page) -> Damage {
    Damage::Invert { file: file.clone(), offset: page * PAGE, bytes: PAGE }
}

fn fault_violation(case: &Case, end: &End, damage: Damage, violation: Violation) -> FaultViolation {
    let rot = Rot { steps: case.steps.len(), end: end.clone(), damage };
    FaultViolation { violation, injected: InjectedFault::Rot(rot) }
}

impl Golden {
    pub(crate) fn bytes(&self) -> u64 {
        PAGE * (self.read.len() + self.unread.len()) as u64
    }

    /// The file, offset and bit of the bit with this number, within the pages that are read.
    fn locate(&self, bit: u64) -> Option<(&str, u64, u8)> {
        let (name, page) = self.read.get((bit / PAGE_BITS) as usize)?;
        Some((name, page * PAGE + bit % PAGE_BITS / 8, (bit % 8) as u8))
    }

    /// Flips all bits of each unread page, a page at a time.
    fn flip_unread(&self) -> Result<(), (Damage, Violation)> {
        for page in &self.unread {
            let damage = invert(page);
            damaged(&self.case, &self.specimen, &damage)
                .map_err(|violation| (damage, violation))?;
        }
        Ok(())
    }

    fn flip(&self, file: &str, offset: u64, bit: u8) -> Result<Seen, Violation> {
        let disk = self.specimen.disk.fork(Keep::Everything);
        disk.flip(file, offset, bit);
        let examined = catch_unwind(AssertUnwindSafe(|| self.specimen.examine(&disk)));
        examined.unwrap_or_else(|_| Err(Violation::safety(panics::take())))
    }
}

/// Flips every `stride`-th bit of all golden stores, from bit `offset` on, until `over` is true. Returns
/// how many. Workers that share the work take different offsets.
pub(crate) fn run(
    stride: u64,
    offset: u64,
    tally: &mut Tally,
    over: &mut dyn FnMut() -> bool,
) -> Result<u64, Box<(Case, FaultViolation)>> {
    let (mut flipped, mut at) = (0, offset);
    let stores = golden()?;
    tally.bits = stores.iter().map(|golden| 8 * golden.bytes()).sum();
    for golden in stores {
        if offset == 0 {
            golden.flip_unread().map_err(|(damage, violation)| {
                let found = fault_violation(&golden.case, &golden.end, damage, violation);
                Box::new((golden.case.clone(), found))
            })?;
            tally.bits_unread += PAGE_BITS * golden.unread.len() as u64;
        }
        assert!(golden.bytes() >= LEAST, "{} has only {} bytes", golden.name, golden.bytes());
        while let Some((file, byte, bit)) = golden.locate(at) {
            if over() {
                return Ok(flipped);
            }
            let damage = Damage::Flip { file: file.to_owned(), offset: byte, bit };
            let seen = golden.flip(file, byte, bit).map_err(|violation| {
                let found = fault_violation(&golden.case, &golden.end, damage.clone(), violation);
                Box::new((golden.case.clone(), found))
            })?;
            flipped += 1;
            at += stride;
            tally.bits_flipped += 1;
            tally.states += 1;
            tally.rot.add(damage.name(), seen);
            tally.fault(5, &golden.specimen.history, &golden.specimen.mark);
        }
        at -= PAGE_BITS * golden.read.len() as u64;
    }
    Ok(flipped)
}

/// The kind of a golden store.
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
    let commits = match kind {
        Kind::Plain => 40,
        Kind::Keyspaces => 28,
        Kind::Checkpoints => 60,
    };
    for n in 0..commits {
        let changes = (0..1 + rng.below(4)).map(|_| {
            let keyspace = rng.below(u64::from(keyspaces)) as u16;
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
    use super::super::fault_jobs;
    use super::*;

    #[test]
    fn golden_stores_are_sound_and_large_enough() {
        let golden = golden().unwrap();
        assert_eq!(golden.len(), 5);
        for golden in &golden {
            assert!(golden.bytes() >= LEAST, "{}: {}", golden.name, golden.bytes());
            assert_eq!(golden.specimen.examine(&golden.specimen.disk), Ok(Seen::Right));
            assert_eq!(golden.flip_unread(), Ok(()), "{}", golden.name);
        }
    }

    /// A read page is passed off as an unread one, so that its damage shows.
    #[test]
    fn a_saved_failure_of_unread_pages_replays() {
        let mut golden = golden().unwrap().remove(0);
        let replays = |golden: &Golden, damage: &Damage| {
            let rot = Rot {
                steps: golden.case.steps.len(),
                end: golden.end.clone(),
                damage: damage.clone(),
            };
            let text = serde_json::to_string(&InjectedFault::Rot(rot)).unwrap();
            fault_jobs::replay(&golden.case, &serde_json::from_str(&text).unwrap())
        };
        let unread = invert(&golden.unread[0]);
        assert!(replays(&golden, &unread).is_none(), "sound, it does not fail");
        golden.unread = std::mem::take(&mut golden.read);
        let (damage, violation) = golden.flip_unread().unwrap_err();
        let again = replays(&golden, &damage).expect("it fails again");
        assert_eq!(again.violation, violation);
        assert!(
            matches!(again.injected.as_deref(), Some(InjectedFault::Rot(rot)) if rot.damage == damage)
        );
    }

    #[test]
    fn flipped_bits_are_reported_or_harmless() {
        let worker = std::thread::spawn(|| {
            panics::catch();
            let mut tally = Tally::default();
            let flipped = run(19_999, 7, &mut tally, &mut || false);
            (flipped.map_err(|found| found.1), tally)
        });
        let (flipped, tally) = worker.join().expect("no panic escapes");
        assert!(matches!(flipped, Ok(200..)), "{flipped:?}");
        assert_eq!(tally.bits_flipped, flipped.unwrap());
    }
}
