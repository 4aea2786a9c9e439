//! Directories with any contents. Opening one has one of two results:
//!
//! - a store is opened there, and foreign files stay as they are;
//! - the directory is refused with an error that names what is wrong, and stays as it is, byte for byte.

#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, FileType};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};
use syncline::{Error, Options};

fn options() -> Options {
    Options::new().cache_bytes(1 << 20).page_bytes(4096).segment_bytes(64 << 10)
}

/// Names of a store's files, names like them, and others.
const NAMES: [&str; 13] = [
    "data",
    "data",
    "data.new",
    "LOCK",
    "lost+found",
    "log-0000000000000001",
    "log-0000000000000002",
    "log-0000000000000003",
    "log-0000000000000004",
    "log-0000000000000005",
    "log-00000000000000ff",
    "log",
    "letter.txt",
];

/// A kind of directory entry.
#[derive(Clone, Copy, Debug)]
enum Thing {
    Empty,
    Text,
    Zeros,
    Directory,
    FullDirectory,
    LinkToFile,
    LinkToDirectory,
    LinkToNothing,
    Pipe,
    Socket,
}

const THINGS: [Thing; 10] = [
    Thing::Empty,
    Thing::Text,
    Thing::Zeros,
    Thing::Directory,
    Thing::FullDirectory,
    Thing::LinkToFile,
    Thing::LinkToDirectory,
    Thing::LinkToNothing,
    Thing::Pipe,
    Thing::Socket,
];

impl Thing {
    /// Makes this entry at `at`, in place of a file there. Links lead to `target`, a directory.
    fn put(self, at: &Path, target: &Path) {
        let _ = fs::remove_file(at);
        match self {
            Thing::Empty => fs::write(at, "").unwrap(),
            Thing::Text => fs::write(at, "a letter").unwrap(),
            Thing::Zeros => fs::write(at, [0; 9000]).unwrap(),
            Thing::Directory => fs::create_dir(at).unwrap(),
            Thing::FullDirectory => {
                fs::create_dir(at).unwrap();
                fs::write(at.join("inside"), "mine").unwrap();
            }
            Thing::LinkToFile => symlink(target.join("file"), at).unwrap(),
            Thing::LinkToDirectory => symlink(target, at).unwrap(),
            Thing::LinkToNothing => symlink(target.join("nothing"), at).unwrap(),
            Thing::Pipe => rustix::fs::mkfifoat(CWD, at, Mode::RUSR | Mode::WUSR).unwrap(),
            Thing::Socket => drop(UnixListener::bind(at).unwrap()),
        }
    }
}

/// All entries below a directory, each with its type and its bytes.
fn tree(directory: &Path) -> BTreeMap<PathBuf, (FileType, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        let bytes = match () {
            () if kind.is_dir() => {
                found.extend(tree(&path));
                Vec::new()
            }
            () if kind.is_symlink() => {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            }
            () if kind.is_fifo() || kind.is_socket() => Vec::new(),
            () => fs::read(&path).unwrap(),
        };
        found.insert(path, (kind, bytes));
    }
    found
}

/// A closed store and a killed one, to copy.
fn stores() -> [tempfile::TempDir; 2] {
    let [closed, killed] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let store = options().open(closed.path()).unwrap();
    store.keyspace("rows").unwrap().put("key", "value").unwrap();
    support::copy(closed.path(), killed.path());
    store.close().unwrap();
    [closed, killed]
}

/// Opens the directory in every way, and asserts that the strange entries stay. Returns whether a store
/// was opened.
fn try_out(place: &Path, target: &Path, strange: &BTreeMap<&str, Thing>) -> bool {
    let all = |place: &Path| (tree(place), tree(target));
    let mut is_opened = false;
    for (how, options) in
        [options().read_only(), options().must_exist(), options()].into_iter().enumerate()
    {
        let before = all(place);
        match options.open(place) {
            Err(error) => {
                assert!(!matches!(error, Error::Poisoned { .. }), "{strange:?}: {error}");
                assert!(error.to_string().len() > 20, "{strange:?}: {error}");
                let after = all(place);
                let changed =
                    after.0.keys().filter(|name| before.0.get(*name) != after.0.get(*name));
                let changed: Vec<_> = changed.collect();
                assert!(before == after, "{strange:?}, {how}: {error}: {changed:?}");
            }
            Ok(store) => {
                is_opened = true;
                if how > 0 {
                    let rows = store.keyspace("rows").unwrap();
                    rows.put("another", "value").unwrap();
                }
                store.close().unwrap();
                let after = all(place);
                assert!(how > 0 || before == after, "{strange:?}: opened read-only");
                // The store may replace empty or zero files that have its own names.
                for (name, thing) in strange {
                    let path = place.join(name);
                    let is_empty = matches!(thing, Thing::Empty | Thing::Zeros);
                    if !(is_empty && (name.starts_with("log-") || *name == "LOCK")) {
                        assert_eq!(before.0.get(&path), after.0.get(&path), "{strange:?}: {name}");
                    }
                }
                assert_eq!(before.1, after.1, "{strange:?}: the target of the links");
            }
        }
    }
    is_opened
}

#[test]
fn a_refused_directory_with_any_contents_stays_as_it_was() {
    let stores = stores();
    let target = tempfile::tempdir().unwrap();
    fs::write(target.path().join("file"), [0; 9000]).unwrap();
    let (mut opened, mut refused) = (0, 0);
    let seed = support::seed();
    println!("SYNCLINE_SEED={seed}");
    let mut rng = support::random::SplitMix64::new(seed);
    let mut draw = |n: usize| rng.below(n as u64) as usize;
    for round in 0..300 {
        let place = tempfile::tempdir().unwrap();
        // A store, or nothing.
        if let Some(store) = stores.get(draw(4)) {
            support::copy(store.path(), place.path());
            if draw(2) == 0 {
                fs::remove_file(place.path().join("LOCK")).unwrap();
            }
        }
        let mut strange = BTreeMap::new();
        // First each pair of a name and a thing alone.
        let count = if round < NAMES.len() * THINGS.len() { 1 } else { 1 + draw(3) };
        for _ in 0..count {
            let (name, thing) = match count {
                1 => (NAMES[round % NAMES.len()], THINGS[round / NAMES.len() % THINGS.len()]),
                _ => (NAMES[draw(NAMES.len())], THINGS[draw(THINGS.len())]),
            };
            if strange.insert(name, thing).is_none() {
                thing.put(&place.path().join(name), target.path());
            } else {
                strange.remove(name);
                let at = place.path().join(name);
                let _ = fs::remove_file(&at);
                let _ = fs::remove_dir_all(&at);
            }
        }
        match try_out(place.path(), target.path(), &strange) {
            true => opened += 1,
            false => refused += 1,
        }
    }
    assert!(opened > 30 && refused > 100, "{opened} opened, {refused} refused");
}
