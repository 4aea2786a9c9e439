//! What the harness takes for granted.

use std::path::Path;
use std::thread;

use syncline::bench::engine::{Database, Engine, Guarantee, Mode, Session};

use crate::{SIZES, for_each_mode, key, value};

fn open(engine: &dyn Engine, mode: &Mode, dir: &Path) -> Box<dyn Database> {
    engine.open(dir, mode, &SIZES).expect("opens")
}

fn get(session: &mut dyn Session, key: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    let is_there = session.get(key, &mut |value| found = Some(value.to_vec())).expect("reads");
    assert_eq!(is_there, found.is_some());
    found
}

fn scan(session: &mut dyn Session, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let mut seen = |key: &[u8], value: &[u8]| rows.push((key.to_vec(), value.to_vec()));
    let count = session.scan(from, limit, &mut seen).expect("scans");
    assert_eq!(count, rows.len());
    rows
}

/// `numbers` with their rows, as a scan should find them.
fn rows(numbers: impl Iterator<Item = u64>) -> Vec<(Vec<u8>, Vec<u8>)> {
    numbers.map(|number| (key(number).to_vec(), value(number))).collect()
}

#[test]
fn names_and_modes_are_apart() {
    let engines = syncline_peers::engines();
    assert!(engines.is_sorted_by_key(|engine| engine.name()), "in the order of the alphabet");
    for engine in engines {
        assert!(engine.version().starts_with(|first: char| first.is_ascii_digit()));
        let mut guarantees: Vec<Guarantee> =
            engine.modes().iter().map(|mode| mode.guarantee).collect();
        guarantees.sort_unstable();
        guarantees.dedup();
        assert_eq!(guarantees.len(), engine.modes().len(), "{}", engine.name());
        for mode in engine.modes() {
            let survives_kill = mode.guarantee != Guarantee::Nothing;
            assert_eq!(mode.lost_on_kill == "nothing", survives_kill, "{}", mode.name);
            let survives_power_loss = mode.guarantee == Guarantee::PowerLoss;
            assert_eq!(mode.lost_on_power_loss == "nothing", survives_power_loss, "{}", mode.name);
        }
    }
}

#[test]
fn puts_are_read_and_found_again() {
    for_each_mode(|engine, mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let database = open(engine, mode, dir.path());
        let mut session = database.session();
        assert_eq!(get(&mut *session, &key(1)), None);
        assert_eq!(scan(&mut *session, &[], 10), []);

        session.put(&key(1), b"first").expect("puts");
        assert_eq!(get(&mut *session, &key(1)).as_deref(), Some(&b"first"[..]));
        session.put(&key(1), &value(1)).expect("overwrites");
        assert_eq!(get(&mut *session, &key(1)), Some(value(1)));
        assert_eq!(get(&mut *session, &key(2)), None);

        // In no order, with an overwrite.
        let batch = rows([5, 3, 9, 7, 1].into_iter());
        let batch: Vec<(&[u8], &[u8])> = batch.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        session.put_batch(&batch).expect("puts a batch");
        assert_eq!(scan(&mut *session, &[], 100), rows([1, 3, 5, 7, 9].into_iter()));
        assert_eq!(scan(&mut *session, &key(3), 2), rows([3, 5].into_iter()));
        assert_eq!(scan(&mut *session, &key(4), 2), rows([5, 7].into_iter()));
        assert_eq!(scan(&mut *session, &key(10), 2), []);

        let big = vec![b'b'; 1 << 20];
        session.put(&key(100), &big).expect("puts a MiB");
        drop(session);
        database.settle().expect("settles");
        drop(database);

        let database = open(engine, mode, dir.path());
        let mut session = database.session();
        assert_eq!(get(&mut *session, &key(100)).as_deref(), Some(&big[..]));
        assert_eq!(scan(&mut *session, &[], 5), rows([1, 3, 5, 7, 9].into_iter()));
    });
}

/// What is committed and not settled is there after a close, too.
#[test]
fn a_close_loses_nothing() {
    for_each_mode(|engine, mode| {
        let dir = tempfile::tempdir().expect("a directory");
        for number in 0..3 {
            let database = open(engine, mode, dir.path());
            database.session().put(&key(number), &value(number)).expect("puts");
        }
        let database = open(engine, mode, dir.path());
        assert_eq!(scan(&mut *database.session(), &[], 10), rows(0..3));
    });
}

#[test]
fn read_modify_write_sees_what_it_changes() {
    for_each_mode(|engine, mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let database = open(engine, mode, dir.path());
        let mut session = database.session();
        for expected in [&b"x"[..], b"xx", b"xxx"] {
            session.read_modify_write(&key(1), &mut |value| value.push(b'x')).expect("changes");
            assert_eq!(get(&mut *session, &key(1)).as_deref(), Some(expected));
        }
    });
}

/// PEERS-2: whatever was acknowledged before a call, the call sees.
#[test]
fn a_session_sees_the_commits_of_others() {
    for_each_mode(|engine, mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let database = open(engine, mode, dir.path());
        let (mut writer, mut reader) = (database.session(), database.session());
        for number in 0..20 {
            assert_eq!(get(&mut *reader, &key(number)), None);
            assert_eq!(get(&mut *reader, &key(number)), None, "kept a transaction");
            writer.put(&key(number), &value(number)).expect("puts");
            assert_eq!(get(&mut *reader, &key(number)), Some(value(number)));
            writer.read_modify_write(&key(1000), &mut |v| v.push(b'x')).expect("changes");
            assert_eq!(get(&mut *reader, &key(1000)).map(|v| v.len() as u64), Some(number + 1));
            assert_eq!(scan(&mut *reader, &[], 100).len() as u64, number + 2);
            assert_eq!(scan(&mut *reader, &[], 100).len() as u64, number + 2);
        }
    });
}

#[test]
fn two_sessions_work_at_once() {
    const COMMITS: u64 = 40;
    for_each_mode(|engine, mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let database = open(engine, mode, dir.path());
        thread::scope(|scope| {
            for thread in 0..2 {
                let database = &*database;
                scope.spawn(move || {
                    let mut session = database.session();
                    for number in (thread..2 * COMMITS).step_by(2) {
                        session.put(&key(number), &value(number)).expect("puts");
                        assert_eq!(get(&mut *session, &key(number)), Some(value(number)));
                        let mut add = |count: &mut Vec<u8>| count.push(b'1');
                        session.read_modify_write(&key(1 << 40), &mut add).expect("changes");
                    }
                });
            }
        });
        let mut session = database.session();
        assert_eq!(scan(&mut *session, &[], 2 * COMMITS as usize), rows(0..2 * COMMITS));
        let count = get(&mut *session, &key(1 << 40)).map(|value| value.len() as u64);
        assert_eq!(count, Some(2 * COMMITS), "no read-modify-write was lost");
    });
}
