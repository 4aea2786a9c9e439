//! The promises of the simulator to the tests that rest on it.

mod failed_sync;

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::pages::{PAGE_BYTES, SECTOR_BYTES};
use super::*;
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::tests::map_all;

const SECTOR: usize = SECTOR_BYTES as usize;
const PAGE: usize = PAGE_BYTES as usize;

/// A disk with a durable file of zeros.
pub(super) fn disk_with(name: &str, bytes: u64) -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new();
    let file = disk.create(name, bytes).unwrap();
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(disk.dirty(), 0);
    (disk, file)
}

/// The first byte of each sector of a file.
fn sectors(disk: &SimDisk, name: &str) -> Vec<u8> {
    disk.read_file(name).chunks(SECTOR).map(|sector| sector[0]).collect()
}

/// The outcomes of crashes, over many seeds.
fn seen_by_seeds<T: Ord>(disk: &SimDisk, look: impl Fn(&SimDisk) -> T) -> BTreeSet<T> {
    (0..2000).map(|seed| look(&disk.fork(Keep::Seeded(seed)))).collect()
}

// --- bytes ---

#[test]
fn a_watcher_sees_each_part_of_an_operation_before_it_happens() {
    let disk = SimDisk::new();
    let file = disk.create("log", 8192).unwrap();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    disk.watch(move |disk, call| {
        let dirty = disk.dirty(); // no lock is held
        told.lock().unwrap().push((call.op, call.path.to_owned(), call.part, dirty));
    });
    file.write_at(4000, &[1; 200]).unwrap();
    file.map(8192).unwrap().write(8000, &[1; 192]);
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    let path = || "sim:/log".to_owned();
    let before = 3; // the name, the length, and the bytes of the new space
    let expected = [
        (Op::Write, path(), 0, before),
        (Op::Write, path(), 1, before + 1),
        (Op::Map, path(), 0, before + 2),
        (Op::MapWrite, path(), 0, before + 2),
        (Op::Sync, path(), 0, before + 3),
        (Op::SyncDir, "sim:".to_owned(), 0, 1),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn every_subset_of_unsynced_sectors_can_survive() {
    let (disk, file) = disk_with("a", 4 * SECTOR_BYTES);
    file.write_at(0, &[1; 4 * SECTOR]).unwrap();
    assert_eq!(disk.dirty(), 4);
    let by_mask: BTreeSet<_> =
        (0..16).map(|mask| sectors(&disk.fork(Keep::bits(mask)), "a")).collect();
    assert_eq!(by_mask.len(), 16);
    assert_eq!(seen_by_seeds(&disk, |disk| sectors(disk, "a")), by_mask);
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [0; 4]);
    assert_eq!(sectors(&disk.fork(Keep::Mask(vec![false, true])), "a"), [0, 1, 0, 0]);
}

#[test]
fn every_version_of_a_sector_can_survive() {
    let (disk, file) = disk_with("a", SECTOR_BYTES);
    for version in 1..=5 {
        file.write_at(0, &[version; 10]).unwrap();
        file.write_at(100, &[version; 10]).unwrap();
    }
    assert_eq!(disk.dirty(), 1);
    let pairs = seen_by_seeds(&disk, |disk| {
        let bytes = disk.read_file("a");
        (bytes[0], bytes[100])
    });
    let mut expected = BTreeSet::from([(0, 0)]);
    for version in 1..=5 {
        expected.extend([(version, version - 1), (version, version)]);
    }
    assert_eq!(pairs, expected);
}

#[test]
fn writing_the_same_bytes_again_is_no_version() {
    let (disk, file) = disk_with("a", SECTOR_BYTES);
    file.write_at(0, &[0; 512]).unwrap();
    assert_eq!(disk.dirty(), 0);
}

#[test]
fn a_mapped_sync_makes_its_pages_durable_and_no_others() {
    let (disk, file) = disk_with("a", 4 * PAGE_BYTES);
    let mapping = map_all(&*file).unwrap();
    mapping.write(0, &[1; 4 * PAGE]);
    assert_eq!(disk.dirty(), 32);
    mapping.sync(PAGE + 100, PAGE).unwrap(); // parts of the second and the third page
    assert_eq!(disk.dirty(), 16);
    let expected = [[0; 8], [1; 8], [1; 8], [0; 8]].concat();
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), expected);
    file.sync().unwrap();
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [1; 32]);
}

#[test]
fn a_process_kill_keeps_what_is_seen_and_leaves_it_unsynced() {
    let (disk, file) = disk_with("a", SECTOR_BYTES);
    file.write_at(0, &[1]).unwrap();
    disk.create("b", 10).unwrap();
    let killed = disk.crash(Keep::Everything);
    assert_eq!(killed.list().unwrap(), ["a", "b"]);
    assert_eq!(sectors(&killed, "a"), [1]);
    let lost = killed.crash(Keep::Nothing);
    assert_eq!(lost.list().unwrap(), ["a"]);
    assert_eq!(sectors(&lost, "a"), [0]);
}

// --- lengths ---

#[test]
fn a_length_survives_apart_from_the_bytes() {
    let (disk, file) = disk_with("a", SECTOR_BYTES);
    file.write_at(SECTOR_BYTES, &[1; 2 * SECTOR]).unwrap();
    let lengths = seen_by_seeds(&disk, |disk| disk.read_file("a").len());
    assert!(lengths.len() > 100, "any length between");
    assert_eq!((lengths.first(), lengths.last()), (Some(&SECTOR), Some(&(3 * SECTOR))));
    // Length, no bytes: choices are the length and two sectors, all in one page.
    assert_eq!(disk.choices()[0], Choice::Length { file: "a".to_owned() });
    assert_eq!(sectors(&disk.fork(Keep::bits(0b001)), "a"), [0, 0, 0]);
    assert_eq!(sectors(&disk.fork(Keep::bits(0b101)), "a"), [0, 0, 1]);
    assert_eq!(sectors(&disk.fork(Keep::bits(0b110)), "a"), [0]);
    file.sync().unwrap();
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [0, 1, 1]);
}

#[test]
fn a_length_in_doubt_stays_so_until_bytes_beyond_it_are_synced() {
    let (disk, file) = disk_with("a", SECTOR_BYTES);
    file.allocate(4 * SECTOR_BYTES).unwrap();
    disk.fail_sync(0);
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [0]);
    assert_eq!(sectors(&disk.fork(Keep::bits(1)), "a"), [0; 4]);
    file.write_at(2 * SECTOR_BYTES, &[1; SECTOR]).unwrap();
    file.sync().unwrap();
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [0, 0, 1]);
}

#[test]
fn bytes_beyond_a_lost_length_do_not_come_back() {
    let (disk, file) = disk_with("a", 100);
    file.write_at(0, &[1; PAGE]).unwrap();
    let left = disk.crash(Keep::Mask(vec![false, true, true, true])); // sectors, no length
    assert_eq!(left.read_file("a"), [1; 100]);
    left.open("a").unwrap().allocate(2 * PAGE_BYTES).unwrap();
    assert_eq!(left.read_file("a"), [vec![1; 100], vec![0; 2 * PAGE - 100]].concat());
}

#[test]
fn a_created_file_may_be_missing_shorter_or_full_of_stale_bytes() {
    let disk = SimDisk::new();
    disk.write_file("removed", &[7; 3 * PAGE]);
    disk.remove_file("removed");
    disk.create("a", 3 * PAGE_BYTES).unwrap();
    let (mut kinds, mut missing, mut lengths) = (BTreeSet::new(), false, BTreeSet::new());
    for seed in 0..1000 {
        let disk = disk.fork(Keep::Seeded(seed));
        if disk.list().unwrap().is_empty() {
            missing = true;
            continue;
        }
        let bytes = disk.read_file("a");
        lengths.insert(bytes.len());
        kinds.extend(bytes.chunks_exact(PAGE).map(|page| match page {
            _ if page.iter().all(|&byte| byte == 0) => "zeros",
            _ if page.iter().all(|&byte| byte == 7) => "of a removed file",
            _ => "noise",
        }));
    }
    assert!(missing && lengths.contains(&0) && lengths.contains(&(3 * PAGE)) && lengths.len() > 9);
    assert_eq!(kinds, BTreeSet::from(["noise", "of a removed file", "zeros"]));
    let stale = disk.fork(Keep::bits(0b111)).read_file("a");
    assert!(stale.chunks(SECTOR).all(|sector| sector.iter().any(|&byte| byte != 0)));
}

#[test]
fn synced_space_that_was_never_written_is_zeros() {
    let disk = SimDisk::new();
    let file = disk.create("a", 4 * PAGE_BYTES).unwrap();
    disk.sync_dir().unwrap();
    let mapping = map_all(&*file).unwrap();
    mapping.sync(PAGE, PAGE).unwrap();
    for seed in 0..200 {
        let bytes = disk.fork(Keep::Seeded(seed)).read_file("a");
        assert_eq!(bytes[PAGE..2 * PAGE], [0; PAGE], "seed {seed}: durable with its length");
    }
    file.sync().unwrap();
    for seed in 0..200 {
        let bytes = disk.fork(Keep::Seeded(seed)).read_file("a");
        assert_eq!(bytes, [0; 4 * PAGE], "seed {seed}");
    }
}

// --- names ---

#[test]
fn a_rename_survives_whole_or_not_at_all() {
    let (disk, old) = disk_with("a", 1);
    old.write_at(0, b"o").unwrap();
    old.sync().unwrap();
    let new = disk.create("a.new", 1).unwrap();
    new.write_at(0, b"n").unwrap();
    new.sync().unwrap();
    disk.rename("a.new", "a").unwrap();
    let look = |disk: &SimDisk| (disk.list().unwrap().len(), disk.read_file("a"));
    let expected = [(1, b"o".to_vec()), (2, b"o".to_vec()), (1, b"n".to_vec())];
    assert_eq!(seen_by_seeds(&disk, look), BTreeSet::from(expected));
    disk.sync_dir().unwrap();
    assert_eq!(look(&disk.fork(Keep::Nothing)), (1, b"n".to_vec()));
}

#[test]
fn syncing_a_file_does_not_make_its_name_durable() {
    let disk = SimDisk::new();
    disk.create("a", 10).unwrap().sync().unwrap();
    assert!(disk.fork(Keep::Nothing).list().unwrap().is_empty());
    assert_eq!(disk.choices(), [Choice::Name { change: "create a".to_owned() }]);
}

#[test]
fn a_removed_file_may_come_back_with_its_bytes() {
    let (disk, file) = disk_with("a", 1);
    file.write_at(0, b"x").unwrap();
    file.sync().unwrap();
    drop(file);
    disk.remove("a").unwrap();
    assert_eq!(disk.fork(Keep::Nothing).read_file("a"), b"x");
    assert!(disk.fork(Keep::bits(1)).list().unwrap().is_empty());
    disk.sync_dir().unwrap();
    assert!(disk.fork(Keep::Nothing).list().unwrap().is_empty());
}

// --- faults ---

#[test]
fn each_kind_of_operation_can_fail() {
    let ops = [
        Op::Lock,
        Op::List,
        Op::Open,
        Op::Create,
        Op::Rename,
        Op::Remove,
        Op::SyncDir,
        Op::Length,
        Op::Allocate,
        Op::Read,
        Op::Write,
        Op::Sync,
        Op::Map,
        Op::MapSync,
        Op::Prefault,
        Op::Deallocate,
    ];
    for op in ops {
        let (disk, file) = disk_with("a", PAGE_BYTES);
        let mapping = map_all(&*file).unwrap();
        let perform = || match op {
            Op::Lock => disk.lock().map(drop),
            Op::List => disk.list().map(drop),
            Op::Open => disk.open("a").map(drop),
            Op::Create | Op::Remove => disk.create("b", 1).and_then(|_| disk.remove("b")),
            Op::Rename => disk.rename("a", "a"),
            Op::SyncDir => disk.sync_dir(),
            Op::Length => file.bytes().map(drop),
            Op::Allocate => file.allocate(1),
            Op::Read => file.read_at(0, &mut [0]),
            Op::Write => file.write_at(0, &[0]),
            Op::Sync => file.sync(),
            Op::Map => map_all(&*file).map(drop),
            Op::MapWrite => unreachable!("cannot fail"),
            Op::MapSync => mapping.sync(0, 1),
            Op::Prefault => mapping.prefault(0, 1),
            Op::Deallocate => file.deallocate(0, 0).map(drop),
        };
        let tidy = || {
            if disk.state().lookup("b").is_ok() {
                disk.remove_file("b"); // not an operation
            }
        };
        let persistence = Persistence::Once;
        disk.fail(Fault { op, after: 1, error: FaultError::NoSpace, persistence });
        perform().unwrap();
        assert!(matches!(perform(), Err(Error::DiskFull { .. })), "{op:?}");
        tidy();
        perform().unwrap();
        disk.fail(Fault { op, after: 0, error: FaultError::Io, persistence: Persistence::Forever });
        for _ in 0..3 {
            assert!(matches!(perform(), Err(Error::Io { .. })), "{op:?}");
            tidy();
        }
        disk.clear_faults();
        perform().unwrap();
    }
}

#[test]
fn a_full_disk_changes_nothing_and_heals() {
    let (disk, file) = disk_with("a", 1000);
    disk.set_capacity(Some(1500));
    let full = |result: Result<()>| match result.unwrap_err() {
        Error::DiskFull { needed, .. } => needed,
        error => panic!("{error}"),
    };
    assert_eq!(full(disk.create("b", 600).map(drop)), 600);
    assert_eq!(full(file.allocate(1501)), 501);
    full(file.write_at(1400, &[1; 101]));
    assert_eq!((disk.list().unwrap().len(), file.bytes().unwrap()), (1, 1000));
    file.write_at(900, &[1; 600]).unwrap();
    assert_eq!(disk.used_bytes(), 1500);
    let copy = disk.fork(Keep::Everything);
    full(copy.create("b", 1).map(drop));
    copy.remove("a").unwrap();
    assert_eq!(copy.used_bytes(), 0, "it is not open in the copy");
    drop(file);
    disk.remove("a").unwrap();
    disk.create("b", 1500).unwrap();
}

#[test]
fn a_failed_write_may_have_written_a_part() {
    let (disk, file) = disk_with("a", 4 * SECTOR_BYTES);
    disk.fail(Fault {
        op: Op::Write,
        after: 0,
        error: FaultError::Io,
        persistence: Persistence::Once,
    });
    file.write_at(0, &[1; 4 * SECTOR]).unwrap_err();
    assert_eq!(sectors(&disk, "a"), [1, 1, 0, 0]);
}

#[test]
fn damage_is_durable_at_once() {
    let (disk, file) = disk_with("a", 10);
    file.write_at(0, b"0123456789").unwrap();
    file.sync().unwrap();
    disk.flip("a", 3, 0);
    disk.truncate("a", 5);
    assert_eq!(disk.fork(Keep::Nothing).read_file("a"), b"01224");
    disk.write_file("b", b"new");
    disk.remove_file("a");
    let left = disk.fork(Keep::Nothing);
    assert_eq!(
        (left.list().unwrap(), left.read_file("b")),
        (vec!["b".to_owned()], b"new".to_vec())
    );
}

#[test]
fn one_write_is_lost_or_misdirected() {
    let (disk, file) = disk_with("a", 4 * SECTOR_BYTES);
    disk.lose_next_write();
    file.write_at(0, &[1; SECTOR]).unwrap();
    disk.misdirect_next_write(SECTOR as i64);
    file.write_at(SECTOR_BYTES, &[2; SECTOR]).unwrap();
    file.write_at(3 * SECTOR_BYTES, &[3; SECTOR]).unwrap();
    assert_eq!(sectors(&disk, "a"), [0, 0, 2, 3]);
}

#[test]
fn writes_are_torn_and_repeated() {
    let (disk, file) = disk_with("a", 8 * SECTOR_BYTES);
    disk.tear_next_write(0b0101);
    file.write_at(SECTOR_BYTES, &[1; 4 * SECTOR]).unwrap();
    assert_eq!(sectors(&disk, "a"), [0, 1, 0, 1, 0, 0, 0, 0]);
    disk.remember_next_write();
    file.write_at(SECTOR_BYTES, &[2; 2 * SECTOR]).unwrap();
    file.sync().unwrap();
    assert_eq!(sectors(&disk, "a"), [0, 2, 2, 1, 0, 0, 0, 0]);
    let disk = disk.crash(Keep::Nothing);
    assert!(disk.repeat_older_write());
    assert_eq!(sectors(&disk, "a"), [0, 1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [0, 1, 0, 1, 0, 0, 0, 0]);
    assert!(!disk.repeat_older_write(), "only once");
}

// --- freezing ---

#[test]
fn a_crash_may_come_inside_a_mapped_write() {
    for point in 0..=4 {
        let (disk, file) = disk_with("a", PAGE_BYTES);
        let mapping = map_all(&*file).unwrap();
        disk.crash_after(point);
        mapping.write(SECTOR / 2, &[1; 3 * SECTOR]); // parts of four sectors
        mapping.write(6 * SECTOR, &[2; 1]);
        assert_eq!(disk.is_gone(), point <= 4);
        file.read_at(0, &mut [0]).unwrap_err();
        let left = disk.crash(Keep::Everything).read_file("a");
        let written = left.iter().filter(|&&byte| byte == 1).count();
        assert_eq!(written, [0, 256, 768, 1280, 1536][point as usize], "crash point {point}");
        assert_eq!(left[6 * SECTOR], 0);
    }
}

#[test]
fn a_crash_may_come_inside_a_long_write() {
    let (disk, file) = disk_with("a", 0);
    let before = disk.operations();
    file.write_at(100, &[1; 3 * PAGE]).unwrap(); // parts of four pages
    assert_eq!(disk.operations() - before, 4);
    let (disk, file) = disk_with("a", 0);
    disk.crash_after(2);
    file.write_at(100, &[1; 3 * PAGE]).unwrap_err();
    assert_eq!(disk.crash(Keep::Everything).read_file("a").len(), 2 * PAGE);
}

#[test]
fn after_a_crash_nothing_works_and_the_new_disk_is_unlocked() {
    let (disk, file) = disk_with("a", PAGE_BYTES);
    let mapping = map_all(&*file).unwrap();
    let lock = disk.lock().unwrap();
    let left = disk.crash(Keep::Nothing);
    let gone = |result: Result<()>| assert!(matches!(result, Err(Error::Io { .. })));
    gone(disk.list().map(drop));
    gone(disk.sync_dir());
    gone(disk.open("a").map(drop));
    gone(file.write_at(0, &[1]));
    gone(file.bytes().map(drop));
    gone(mapping.sync(0, 1));
    mapping.write(0, &[1]);
    assert_eq!(sectors(&left, "a"), [0; 8]);
    let _new = left.lock().unwrap();
    drop((lock, mapping, file, disk));
    assert!(matches!(left.lock(), Err(Error::Locked { .. })), "the old lock is not the new one");
}

// --- anything at all ---

/// Runs a random program and returns the disk.
fn run(seed: u64, steps: usize) -> SimDisk {
    let disk = SimDisk::new();
    let mut rng = SplitMix64::new(seed);
    let mut files: Vec<Arc<dyn DiskFile>> = Vec::new();
    for step in 0..steps {
        let name = format!("f{}", rng.below(4));
        match rng.below(10) {
            0 => files.extend(disk.create(&name, rng.below(20_000))),
            1 => files.extend(disk.open(&name)),
            2 => disk.rename(&name, &format!("f{}", rng.below(4))).unwrap_or(()),
            3 if rng.below(4) == 0 => disk.remove(&name).unwrap_or(()),
            4 => disk.sync_dir().unwrap_or(()),
            _ if files.is_empty() => {}
            _ => {
                let file = &files[rng.below(files.len() as u64) as usize];
                let bytes = vec![step as u8; rng.below(3000) as usize];
                match rng.below(4) {
                    0 => file.sync().unwrap_or(()),
                    1 if rng.below(20) == 0 => {
                        disk.fail_sync(0);
                        file.sync().unwrap_err();
                    }
                    _ => file.write_at(rng.below(20_000), &bytes).unwrap(),
                }
            }
        }
    }
    disk
}

fn content(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.list().unwrap().into_iter().map(|name| (name.clone(), disk.read_file(&name))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_same_seeds_give_the_same_disk(seed: u64, steps in 0..200_usize, keep: u64) {
        let (one, two) = (run(seed, steps), run(seed, steps));
        prop_assert_eq!(one.trace_hash(), two.trace_hash());
        prop_assert_eq!(one.operations(), two.operations());
        prop_assert_eq!(one.choices(), two.choices());
        let keep = Keep::Seeded(keep);
        prop_assert_eq!(content(&one.fork(keep.clone())), content(&two.fork(keep)));
    }

    #[test]
    fn forks_are_independent_and_complete(seed: u64, steps in 0..200_usize, keep: u64) {
        let disk = run(seed, steps);
        let before = (content(&disk), disk.dirty());
        let copy = disk.fork(Keep::Everything);
        prop_assert_eq!(&before, &(content(&copy), copy.dirty()));
        for name in copy.list().unwrap() {
            copy.open(&name).unwrap().write_at(0, b"changed").unwrap();
        }
        let left = disk.fork(Keep::Seeded(keep));
        prop_assert_eq!(left.dirty(), 0);
        prop_assert_eq!(content(&left), content(&left.fork(Keep::Nothing)));
        prop_assert_eq!(disk.dirty(), disk.choices().len());
        prop_assert_eq!(before, (content(&disk), disk.dirty()));
    }

    /// If every sync succeeded, no crash takes anything.
    #[test]
    fn synced_bytes_always_survive(seed: u64, steps in 0..200_usize, keep: u64) {
        let disk = run(seed, steps).fork(Keep::Seeded(!keep));
        for name in disk.list().unwrap() {
            let file = disk.open(&name).unwrap();
            file.write_at(keep % 9000, &[0xAB; 1000]).unwrap();
            file.sync().unwrap();
            file.write_at(keep % 9000, &[0xCD; 10]).unwrap();
            file.sync().unwrap();
        }
        disk.create("last", 5000).unwrap().sync().unwrap();
        disk.sync_dir().unwrap();
        let expected = content(&disk);
        for keep in [Keep::Nothing, Keep::Seeded(keep), Keep::bits(keep.into()), Keep::Everything] {
            prop_assert_eq!(&content(&disk.fork(keep)), &expected);
        }
    }

    /// After a crash each sector shows bytes of one version.
    #[test]
    fn sectors_are_never_torn(seed: u64, keep: u64) {
        let (disk, file) = disk_with("a", 8 * PAGE_BYTES);
        let mut rng = SplitMix64::new(seed);
        for version in 1..50 {
            let first = rng.below(60);
            let count = 1 + rng.below(4) as usize;
            file.write_at(first * SECTOR_BYTES, &vec![version; count * SECTOR]).unwrap();
            if rng.below(10) == 0 {
                file.sync().unwrap();
            }
        }
        for sector in disk.crash(Keep::Seeded(keep)).read_file("a").chunks(SECTOR) {
            prop_assert!(sector.iter().all(|byte| byte == &sector[0]));
        }
    }
}
