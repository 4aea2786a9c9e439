//! Power losses on the simulated disk: a long enough prefix comes back.

use super::*;
use crate::engine::base::error::Error;
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::{Fault, FaultError, Keep, Op, Persistence, SimDisk};
use crate::engine::log::{LogThreads, segment_number};

/// The history of one life of the log up to the crash.
struct Life {
    /// Payloads, with the LSN at which each ends.
    appended: Vec<(Lsn, Vec<u8>)>,
    /// The highest sync line seen.
    durable: Lsn,
    /// The log below this may be gone.
    from: Lsn,
}

/// Appends, flushes, preallocates and recycles at random until the disk freezes or the steps are done.
fn live(disk: &SimDisk, random: &mut SplitMix64, first: u64, incarnation: LogLife) -> Option<Life> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let names = disk.list().ok()?;
    let done: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    let first_bytes = [S / 8, S / 4, S][random.below(3) as usize];
    let options = LogOptions { first_bytes, ..small() };
    let (log, mut appender) = Log::begin(shared, options, incarnation, first, &done).ok()?;
    let mut life = Life { appended: Vec::new(), durable: log.start(), from: log.start() };
    for step in 0..5 + random.below(60) {
        let result = match random.below(20) {
            0..=13 => {
                let len = [50, 600, 5000, 40_000][random.below(4) as usize];
                let len = if random.below(25) == 0 { 150_000 } else { random.below(len) };
                let payload = payload(step as usize, len as usize);
                append(&log, &mut appender, &payload).map(|lsn| life.appended.push((lsn, payload)))
            }
            14..=16 => log.flush().map(drop),
            17 | 18 => log.preallocate(),
            _ => {
                // A checkpoint at the last durable commit.
                let durable = log.durable();
                let ends = life.appended.iter().map(|(end, _)| *end);
                life.from = ends.filter(|end| *end <= durable).max().unwrap_or(life.from);
                log.recycle_below(life.from)
            }
        };
        life.durable = life.durable.max(log.durable());
        if result.is_err() || disk.is_gone() {
            break;
        }
    }
    Some(life)
}

fn check(disk: &SimDisk, life: &Life, incarnation: LogLife, seed: u64) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut scan = Scan::open(Arc::clone(&disk), incarnation, S, life.from, life.durable).unwrap();
    let mut expected = life.appended.iter().filter(|(end, _)| *end > life.from);
    let mut unreported = 0;
    loop {
        let entry = scan.next().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let Some(entry) = entry else { break };
        let Some((end, payload)) = expected.next() else {
            // The freeze hides the success of at most one append.
            unreported += 1;
            assert_eq!(unreported, 1, "seed {seed}");
            continue;
        };
        assert_eq!((entry.end, entry.payload.len()), (*end, payload.len()), "seed {seed}");
        assert!(entry.payload == payload, "seed {seed}");
    }
    let end = scan.tail().end;
    assert!(end >= life.durable, "seed {seed}: {} was durable, {end} came back", life.durable);
}

#[test]
fn a_power_loss_keeps_a_prefix_with_all_that_was_durable() {
    for seed in 0..600 {
        let mut random = SplitMix64::new(seed);
        let disk = SimDisk::new();
        if random.below(3) > 0 {
            disk.crash_after(random.below(1500));
        }
        let life = live(&disk, &mut random, 2, LIFE);
        let disk = disk.crash(match random.below(4) {
            0 => Keep::Everything,
            1 => Keep::Nothing,
            _ => Keep::Seeded(seed),
        });
        let Some(life) = life else { continue };
        check(&disk, &life, LIFE, seed);

        // The next life replaces the files, noise included, and crashes too.
        let names = disk.list().unwrap();
        let last = names.iter().filter_map(|name| segment_number(name));
        let first = last.max().map_or(2, |number| number + 1);
        let second = NEXT_LIFE;
        if let Some(life) = live(&disk, &mut random, first, second) {
            let disk = disk.crash(Keep::Seeded(seed + 1));
            check(&disk, &life, second, seed);
        }
    }
}

#[test]
fn a_crash_before_any_operation_leaves_a_readable_log() {
    // One fixed story, crashed before each of its operations.
    let story = |disk: &SimDisk| {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (log, mut appender) = Log::begin(shared, small(), LIFE, 2, &[]).ok()?;
        let mut life = Life { appended: Vec::new(), durable: log.start(), from: log.start() };
        for (n, len) in [100, 3000, 58_000, 500, 66_000, 20].into_iter().enumerate() {
            let payload = payload(n, len);
            let Ok(lsn) = append(&log, &mut appender, &payload) else { break };
            if disk.is_gone() {
                break;
            }
            life.appended.push((lsn, payload));
            if n % 2 == 1 {
                let _ = log.flush();
            }
            life.durable = log.durable();
        }
        Some(life)
    };
    let whole = SimDisk::new();
    story(&whole).unwrap();
    let operations = whole.operations();
    assert!(operations > 100);
    for crash in 0..operations {
        for keep in [Keep::Everything, Keep::Nothing, Keep::Seeded(crash)] {
            let disk = SimDisk::new();
            disk.crash_after(crash);
            let life = story(&disk);
            let disk = disk.crash(keep);
            if let Some(life) = life {
                check(&disk, &life, LIFE, crash);
            }
        }
    }
}

#[test]
fn every_subset_of_the_last_sectors_gives_a_prefix() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, mut appender) = Log::begin(shared, small(), LIFE, 2, &[]).unwrap();
    let mut life = Life { appended: Vec::new(), durable: log.start(), from: log.start() };
    for (n, len) in [700, 300, 1200, 40, 900, 1500].into_iter().enumerate() {
        let payload = payload(n, len);
        let lsn = append(&log, &mut appender, &payload).unwrap();
        life.appended.push((lsn, payload));
        if n == 1 {
            life.durable = log.flush().unwrap();
        }
    }
    let dirty = disk.dirty();
    assert!((6..=12).contains(&dirty), "{dirty} sectors");
    for mask in 0..1u128 << dirty {
        check(&disk.fork(Keep::bits(mask)), &life, LIFE, mask as u64);
    }
}

#[test]
fn a_log_with_threads_comes_back_after_a_crash() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, mut appender) = Log::begin(shared, small(), LIFE, 2, &[]).unwrap();
    let log = Arc::new(log);
    let threads: LogThreads = log.spawn().unwrap();
    let mut life = Life { appended: Vec::new(), durable: log.start(), from: log.start() };
    for n in 0..300 {
        let payload = payload(n, 700);
        let lsn = append(&log, &mut appender, &payload).unwrap();
        life.appended.push((lsn, payload));
    }
    life.durable = log.durable();
    check(&disk.fork(Keep::Nothing), &life, LIFE, 0);
    drop(threads);
    life.durable = log.durable();
    assert_eq!(life.durable, log.appended());
    check(&disk.crash(Keep::Nothing), &life, LIFE, 0);
}

/// A fixed story that goes on after every error that does not poison the log.
fn stubborn(disk: &SimDisk) -> Option<(Log, Life)> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, mut appender) = Log::begin(shared, small(), LIFE, 2, &[]).ok()?;
    let mut life = Life { appended: Vec::new(), durable: log.start(), from: log.start() };
    for n in 0..200 {
        let payload = payload(n, 3000);
        for attempt in 0.. {
            match append(&log, &mut appender, &payload) {
                Ok(lsn) => {
                    life.appended.push((lsn, payload));
                    break;
                }
                Err(Error::Poisoned { .. }) => return Some((log, life)),
                Err(error) => assert!(attempt < 2, "{error} again and again"),
            }
        }
        if n % 7 == 0 {
            let _ = log.preallocate();
        }
        if n % 11 == 0 {
            let _ = log.flush();
        }
        if n == 150 || n == 190 {
            let ends = life.appended.iter().map(|(end, _)| *end);
            life.from = ends.filter(|end| *end <= log.durable()).max().unwrap();
            let _ = log.recycle_below(life.from);
        }
        life.durable = log.durable();
    }
    Some((log, life))
}

#[test]
fn every_failing_call_leaves_a_readable_log() {
    let poisoning = [Op::Sync, Op::SyncDir, Op::MapSync];
    let passing =
        [Op::List, Op::Open, Op::Create, Op::Rename, Op::Remove, Op::Length, Op::Write, Op::Map];
    for op in poisoning.into_iter().chain(passing).chain([Op::Prefault]) {
        let mut happened = 0;
        for (after, error) in (0..12).flat_map(|n| [(n, FaultError::Io), (n, FaultError::NoSpace)])
        {
            let disk = SimDisk::new();
            disk.fail(Fault { op, after, error, persistence: Persistence::Once });
            let Some((log, life)) = stubborn(&disk) else { continue };
            happened += disk.faults_happened();
            let failed = disk.faults_happened() > 0;
            assert_eq!(log.poisoned().is_some(), failed && poisoning.contains(&op), "{op:?}");
            if log.poisoned().is_none() {
                assert_eq!(life.appended.len(), 200);
            }
            disk.clear_faults();
            for keep in [Keep::Everything, Keep::Nothing, Keep::Seeded(after)] {
                check(&disk.fork(keep), &life, LIFE, after);
            }
        }
        assert!(happened > 0, "{op:?} never failed");
    }
}

/// Making the first segment fails at its flush, and the same or the next process retries. The leftover
/// looks like a whole segment, but the device may not have it.
#[test]
fn the_file_of_a_failed_beginning_is_not_recycled() {
    let disk = SimDisk::new();
    let begin =
        |first, done: &[u64]| Log::begin(Arc::new(disk.clone()), small(), LIFE, first, done);
    disk.fail_sync(0);
    assert!(begin(2, &[]).is_err());
    let (log, mut appender) = begin(3, &[2]).unwrap();
    let end = append(&log, &mut appender, &payload(1, 3000)).unwrap();
    assert_eq!(log.flush().unwrap(), end);
    for keep in [Keep::Nothing, Keep::Seeded(1), Keep::Seeded(2)] {
        let left = disk.fork(keep);
        assert_eq!(left.read_file(&segment_name(3)).len() as u64, S);
        let mut scan = Scan::open(Arc::new(left), LIFE, S, log.start(), end).unwrap();
        assert_eq!(scan.next().unwrap().unwrap().end, end);
        assert!(scan.next().unwrap().is_none());
    }
}
