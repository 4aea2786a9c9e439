//! What a mode says of a kill is true (PEERS-1).
//!
//! A child process, this same program, commits from two threads and says so on its standard
//! output; it is killed in the middle, and everything that it had said must be in the store. A
//! mode with the guarantee `Nothing` must lose some of it: that it is listed so is then no slander,
//! and the test is shown to notice losses.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use syncline::bench::engine::{Engine, Guarantee, Mode, Session};

use crate::{SIZES, for_each_mode, key, value};

const THREADS: u64 = 2;
/// A put, a batch, a read-modify-write, a delete of what was put, and over again.
const WAYS: u64 = 4;
/// After so many commits, of either thread, comes the kill.
const COMMITS: u64 = 150;
/// At most so many until a mode with the guarantee `Nothing` has lost something.
const KILLS: usize = 10;

const ENGINE: &str = "PEERS_KILL_ENGINE";
const MODE: &str = "PEERS_KILL_MODE";
const DIR: &str = "PEERS_KILL_DIR";

#[test]
fn a_kill_loses_what_the_mode_says() {
    for_each_mode(|engine, mode| {
        if mode.guarantee == Guarantee::Nothing {
            let loses = (0..KILLS).any(|_| lost_in_a_kill(engine, mode) > 0);
            assert!(loses, "the mode is better than it says");
        } else {
            assert_eq!(lost_in_a_kill(engine, mode), 0, "acknowledged and lost");
        }
    });
}

fn lost_in_a_kill(engine: &dyn Engine, mode: &Mode) -> usize {
    let dir = tempfile::tempdir().expect("a directory");
    let acknowledged = commit_until_killed(engine, mode, dir.path());
    let lost = lost(engine, mode, dir.path(), &acknowledged);
    eprintln!("  {} acknowledged, {lost} lost", acknowledged.iter().sum::<u64>());
    lost
}

/// How many commits of each thread the child acknowledged before it was killed.
fn commit_until_killed(engine: &dyn Engine, mode: &Mode, dir: &Path) -> Vec<u64> {
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["kill::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ENGINE, engine.name())
        .env(MODE, mode.name)
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let mut acknowledged = vec![0; THREADS as usize];
    let mut is_killed = false;
    for line in output.lines() {
        let line = line.expect("a line");
        let Some((thread, commits)) = acknowledgement(&line) else { continue };
        acknowledged[thread] = commits;
        if !is_killed && acknowledged.iter().sum::<u64>() >= COMMITS {
            // SIGKILL. What it has said until then is still in the pipe.
            child.kill().expect("the child can be killed");
            is_killed = true;
        }
    }
    let status = child.wait().expect("the child has ended");
    assert!(is_killed && status.code().is_none(), "the child ended by itself: {status}");
    acknowledged
}

/// Reads `acknowledged THREAD COMMITS.`; a line that the kill cut short has no full stop.
fn acknowledgement(line: &str) -> Option<(usize, u64)> {
    let words = line.strip_prefix("acknowledged ")?.strip_suffix('.')?;
    let (thread, commits) = words.split_once(' ')?;
    Some((thread.parse().ok()?, commits.parse().ok()?))
}

/// How many of the acknowledged commits are not in the store as they were made.
///
/// The commit that deletes the rows of another may have been made without having been acknowledged:
/// the one that was interrupted.
fn lost(engine: &dyn Engine, mode: &Mode, dir: &Path, acknowledged: &[u64]) -> usize {
    let database = engine.open(dir, mode, &SIZES).expect("opens after a kill");
    let mut session = database.session();
    let mut lost = 0;
    for (thread, &commits) in acknowledged.iter().enumerate() {
        for commit in 0..commits {
            let is_deletion = deleted_by(commit).is_some();
            if commit % WAYS == 0 && commit + (WAYS - 1) <= commits {
                // Deleted since, or perhaps.
                continue;
            }
            let rows = numbers(thread as u64, deleted_by(commit).unwrap_or(commit));
            let is_whole = rows.into_iter().all(|number| {
                let mut is_right = false;
                let mut compare = |found: &[u8]| is_right = found == value(number);
                let is_there = session.get(&key(number), &mut compare).expect("reads");
                if is_deletion { !is_there } else { is_there && is_right }
            });
            lost += usize::from(!is_whole);
        }
    }
    lost
}

/// The rows of a commit.
fn numbers(thread: u64, commit: u64) -> impl Iterator<Item = u64> {
    let rows = if commit % WAYS == 1 { 4 } else { 1 };
    (0..rows).map(move |row| (commit * THREADS + thread) * 4 + row)
}

/// The commit whose row `commit` deletes, if it is one that deletes: the put before it.
fn deleted_by(commit: u64) -> Option<u64> {
    (commit % WAYS == WAYS - 1).then(|| commit - (WAYS - 1))
}

/// Not a test: what the child does.
#[test]
#[ignore = "started by the test"]
fn child() {
    let (Ok(engine), Ok(mode), Ok(dir)) = (env::var(ENGINE), env::var(MODE), env::var(DIR)) else {
        return;
    };
    let engines = syncline_peers::engines();
    let engine = engines.iter().find(|known| known.name() == engine).expect("an engine");
    let mode = engine.modes().iter().find(|known| known.name == mode).expect("a mode");
    let database = engine.open(Path::new(&dir), mode, &SIZES).expect("opens");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let database = &*database;
            scope.spawn(move || {
                let mut session = database.session();
                for commit in 0.. {
                    make(&mut *session, thread, commit);
                    // In one write, so that the lines of the threads do not mix.
                    let line = format!("acknowledged {thread} {}.\n", commit + 1);
                    std::io::stdout().write_all(line.as_bytes()).expect("the parent listens");
                }
            });
        }
    });
}

/// Commits in each of the four ways.
fn make(session: &mut dyn Session, thread: u64, commit: u64) {
    let rows: Vec<_> = numbers(thread, commit).map(|n| (key(n), value(n))).collect();
    match commit % WAYS {
        0 => session.put(&rows[0].0, &rows[0].1),
        1 => {
            let rows: Vec<(&[u8], &[u8])> = rows.iter().map(|(k, v)| (&k[..], &v[..])).collect();
            session.put_batch(&rows)
        }
        2 => session.read_modify_write(&rows[0].0, &mut |value| value.clone_from(&rows[0].1)),
        _ => {
            let deleted = deleted_by(commit).expect("the way that deletes");
            let keys: Vec<_> = numbers(thread, deleted).map(key).collect();
            session.delete(&keys[0])
        }
    }
    .expect("commits");
}
