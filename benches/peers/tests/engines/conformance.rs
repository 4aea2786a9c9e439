//! What the harness takes for granted.

use std::path::Path;
use std::thread;
use std::time::Instant;

use syncline::bench::engine::{Database, Engine, Guarantee, Mode, Session, Sizes};

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

/// Puts `rows` in one batch.
fn put_all(session: &mut dyn Session, rows: &[(Vec<u8>, Vec<u8>)]) {
    let batch: Vec<(&[u8], &[u8])> = rows.iter().map(|(k, v)| (&k[..], &v[..])).collect();
    session.put_batch(&batch).expect("puts a batch");
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
            assert_eq!(loses_nothing(mode), survives_power_loss, "{}", mode.name);
        }
    }
}

/// At a power loss: either no doubt is known, or the documentation's word stands before the doubt.
fn loses_nothing(mode: &Mode) -> bool {
    let lost = mode.lost_on_power_loss;
    lost == "nothing" || lost.starts_with("nothing by its documentation; ")
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
        put_all(&mut *session, &rows([5, 3, 9, 7, 1].into_iter()));
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

#[test]
fn deleted_rows_are_gone() {
    for_each_mode(|engine, mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let database = open(engine, mode, dir.path());
        let mut session = database.session();
        put_all(&mut *session, &rows(0..10));
        // Rows of tables and of the log are deleted alike.
        database.settle().expect("settles");
        put_all(&mut *session, &rows(10..20));

        session.delete(&key(3)).expect("deletes");
        session.delete(&key(13)).expect("deletes");
        session.delete_batch(&[&key(19), &key(0), &key(7)]).expect("deletes a batch");
        let deleted = [0, 3, 7, 13, 19];
        let left = || rows((0..20).filter(|number| !deleted.contains(number)));
        assert_eq!(get(&mut *session, &key(3)), None);
        assert_eq!(get(&mut *session, &key(7)), None);
        assert_eq!(get(&mut *session, &key(8)), Some(value(8)));
        assert_eq!(scan(&mut *session, &[], 100), left());
        assert_eq!(scan(&mut *session, &key(7), 1), rows(8..9));
        drop(session);
        drop(database);

        let database = open(engine, mode, dir.path());
        let mut session = database.session();
        assert_eq!(get(&mut *session, &key(3)), None);
        assert_eq!(scan(&mut *session, &[], 100), left());
        session.put(&key(3), &value(3)).expect("puts again");
        assert_eq!(get(&mut *session, &key(3)), Some(value(3)));
    });
}

/// Engines may keep large values elsewhere, where they are told of their size.
#[test]
fn large_values_are_kept() {
    let sizes = Sizes { value_bytes: 16 << 10, ..SIZES };
    let large = |number: u64| value(number).repeat(100);
    for_each_mode(|engine, mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || engine.open(dir.path(), mode, &sizes).expect("opens");
        let database = open();
        for number in 0..20 {
            database.session().put(&key(number), &large(number)).expect("puts");
        }
        database.session().delete(&key(7)).expect("deletes");
        database.settle().expect("settles");
        drop(database);

        let database = open();
        let mut session = database.session();
        assert_eq!(get(&mut *session, &key(7)), None);
        assert_eq!(get(&mut *session, &key(8)), Some(large(8)));
        let expected: Vec<_> =
            (8..20).map(|number| (key(number).to_vec(), large(number))).collect();
        assert_eq!(scan(&mut *session, &key(7), 100), expected);
    });
}

/// A mode that survives a power loss has flushed each commit before it acknowledges it.
#[test]
fn flushes_are_seen() {
    for_each_mode(|engine, mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let database = open(engine, mode, dir.path());
        if !database.sees_flushes() || mode.guarantee != Guarantee::PowerLoss {
            return;
        }
        let mut session = database.session();
        for number in 0..10 {
            let before = Instant::now();
            session.put(&key(number), &value(number)).expect("puts");
            assert!(database.flushed_until() > Some(before), "no flush of this commit was seen");
        }
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
