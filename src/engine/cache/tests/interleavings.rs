//! Tests of page versions under a scheduler that explores interleavings.
//!
//! `RUSTFLAGS="--cfg syncline_shuttle" cargo test --lib shuttle`
//!
//! A writer commits groups, each of which puts one number into all pages. Readers at `visible` and
//! at registered snapshots must see one number on all pages, that of their LSN (CACHE-2). Other threads
//! evict pages, spill versions, and make checkpoints. A freed frame is filled with bytes that are no
//! valid page (CACHE-3). At the end no version and no block is left over (CACHE-5).

use ::shuttle::rand::Rng;
use ::shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use ::shuttle::{Config, Runner, rand, thread};

use super::*;

const PAGES: usize = 3;

/// Stacks of shuttle's tasks: reading and writing pages takes more than its default.
const STACK_BYTES: usize = 1 << 20;

fn explore(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    Runner::new(scheduler, config).run(scenario);
}

/// The number that the group at `at` put into all pages.
fn expected(at: Lsn) -> u64 {
    at.get() / 10
}

/// Reads all pages, unregistered. `None` if the reader must start over.
fn glance(rig: &Rig, ids: &[PageId]) -> Option<()> {
    let absent = {
        let guard = rig.cache.pin();
        let at = rig.cache.visible();
        let read = |id: &PageId| {
            let page = rig.cache.page(*id, at, &guard)?;
            crate::engine::base::sync::step();
            assert_eq!(value(page.bytes()), expected(at), "page {id} as of {at}");
            Ok(())
        };
        ids.iter().find_map(|id| read(id).err())
    };
    match absent {
        None => Some(()),
        Some(absent) => {
            rig.cache.load(absent).unwrap();
            None
        }
    }
}

fn read_newest(rig: &Rig, ids: &[PageId]) {
    while glance(rig, ids).is_none() {
        thread::yield_now();
    }
}

fn read_snapshot(rig: &Rig, ids: &[PageId]) {
    let snapshot = rig.cache.snapshot();
    for _ in 0..2 {
        for id in ids {
            let found = rig.get(*id, snapshot.lsn()).unwrap();
            assert_eq!(found, expected(snapshot.lsn()), "page {id} as of {}", snapshot.lsn());
        }
        thread::yield_now();
    }
}

fn keep_one(rig: &Rig, ids: &[PageId]) {
    let (at, pinned) = loop {
        let absent = {
            let guard = rig.cache.pin();
            let at = rig.cache.visible();
            match rig.cache.page(ids[0], at, &guard) {
                Ok(page) => break (at, rig.cache.keep(page)),
                Err(absent) => absent,
            }
        };
        rig.cache.load(absent).unwrap();
    };
    thread::yield_now();
    rig.settle();
    assert_eq!(value(pinned.bytes()), expected(at));
}

fn scenario() {
    let rig = Arc::new(Rig::new());
    let ids: Arc<Vec<PageId>> = Arc::new(rig.create(PAGES));
    rig.put(&ids, 2);
    if rand::thread_rng().gen_bool(0.5) {
        rig.checkpoint();
    }
    let spawn = |run: fn(&Rig, &[PageId])| {
        let (rig, ids) = (Arc::clone(&rig), Arc::clone(&ids));
        thread::spawn(move || run(&rig, &ids))
    };
    let others = [
        spawn(|rig, ids| (0..3).for_each(|_| read_newest(rig, ids))),
        spawn(read_snapshot),
        spawn(read_snapshot),
        spawn(keep_one),
        spawn(|rig, _| {
            for _ in 0..8 {
                rig.cache.evict(2).unwrap();
                rig.cache.spill().unwrap();
                rig.settle();
            }
        }),
        spawn(|rig, _| (0..2).for_each(|_| rig.checkpoint())),
    ];
    for round in 3..7 {
        let lsn = rig.put(&ids, round);
        assert_eq!(expected(lsn), round);
    }
    others.into_iter().for_each(|other| other.join().unwrap());
    read_newest(&rig, &ids);
    assert_eq!(rig.cache.stats().old_versions, 0, "a version that nobody needs (CACHE-3)");
    // Eviction and a checkpoint may both have written a page: the copies go with the version.
    rig.put(&ids, 7);
    rig.checkpoint();
    rig.assert_blocks(0);
}

/// One page, changed in place whenever nobody reads it (CACHE-7).
fn scenario_in_place() {
    let count = changes_in_place(1, |rig, ids, round| rig.put_alone(ids[0], round));
    IN_PLACE.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
}

/// Several pages, changed together, in place if nobody needs the old version (CACHE-7).
fn scenario_all_in_place() {
    let count = changes_in_place(PAGES, Rig::put_all_alone);
    ALL_IN_PLACE.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
}

/// Returns how often `put` changed something in place.
fn changes_in_place(pages: usize, put: fn(&Rig, &[PageId], u64) -> (Lsn, bool)) -> usize {
    let mut rig = Rig::new();
    rig.cache.back_off = [0, 0, 0, 2][rand::thread_rng().gen_range(0..4)];
    let rig = Arc::new(rig);
    let ids: Arc<Vec<PageId>> = Arc::new(rig.create(pages));
    rig.put(&ids, 2);
    if rand::thread_rng().gen_bool(0.5) {
        rig.checkpoint();
    }
    let spawn = |run: fn(&Rig, &[PageId])| {
        let (rig, ids) = (Arc::clone(&rig), Arc::clone(&ids));
        thread::spawn(move || run(&rig, &ids))
    };
    let mut others = vec![
        spawn(|rig, ids| (0..3).for_each(|_| read_newest(rig, ids))),
        spawn(read_snapshot),
        spawn(keep_one),
    ];
    if rand::thread_rng().gen_bool(0.5) {
        others.push(spawn(|rig, _| {
            for _ in 0..4 {
                rig.cache.evict(2).unwrap();
                rig.settle();
            }
        }));
        others.push(spawn(|rig, _| rig.checkpoint()));
    }
    let mut count = 0;
    for round in 3..9 {
        let (lsn, in_place) = put(&rig, &ids, round);
        assert_eq!(expected(lsn), round);
        count += usize::from(in_place);
    }
    others.into_iter().for_each(|other| other.join().unwrap());
    read_newest(&rig, &ids);
    assert_eq!(rig.cache.stats().old_versions, 0, "a version that nobody needs (CACHE-3)");
    rig.put(&ids, 9);
    rig.checkpoint();
    rig.assert_blocks(0);
    count
}

static IN_PLACE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

#[test]
fn shuttle_changes_in_place() {
    explore(RandomScheduler::new(1500), scenario_in_place);
    explore(PctScheduler::new(3, 3000), scenario_in_place);
    let in_place = IN_PLACE.load(std::sync::atomic::Ordering::Relaxed);
    assert!((1000..6 * 4400).contains(&in_place), "{in_place} of them: some, but not all");
}

static ALL_IN_PLACE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

#[test]
fn shuttle_changes_many_in_place() {
    explore(RandomScheduler::new(1000), scenario_all_in_place);
    explore(PctScheduler::new(3, 2000), scenario_all_in_place);
    let in_place = ALL_IN_PLACE.load(std::sync::atomic::Ordering::Relaxed);
    assert!((700..6 * 2900).contains(&in_place), "{in_place} of them: some, but not all");
}

#[test]
fn shuttle_page_versions() {
    explore(RandomScheduler::new(600), scenario);
    explore(PctScheduler::new(3, 3000), scenario);
}

/// Several threads load the same pages at once.
#[test]
fn shuttle_loads_of_one_page() {
    let scenario = || {
        let rig = Arc::new(Rig::new());
        let ids: Arc<Vec<PageId>> = Arc::new(rig.create(PAGES));
        rig.put(&ids, 2);
        rig.checkpoint();
        for _ in 0..4 {
            rig.cache.evict(8).unwrap();
            rig.settle();
        }
        let free = rig.cache.arena.available();
        let spawn = || {
            let (rig, ids) = (Arc::clone(&rig), Arc::clone(&ids));
            thread::spawn(move || read_newest(&rig, &ids))
        };
        let readers = [spawn(), spawn(), spawn()];
        readers.map(|reader| reader.join().unwrap());
        assert_eq!(rig.cache.arena.available(), free - PAGES as u32, "one frame per page");
    };
    explore(RandomScheduler::new(1000), scenario);
}
