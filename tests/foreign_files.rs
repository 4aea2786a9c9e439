//! Foreign files, with any name, in a store's directory or where a store is to be created: they stay as
//! they are.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use syncline::{CommitMode, Error, Options, Store};

const SEGMENT: u64 = 64 << 10;

fn options() -> Options {
    Options::new().cache_bytes(1 << 20).page_bytes(4096).segment_bytes(SEGMENT)
}

/// Names that look like the store's, and some that do not.
const NAMES: [&str; 20] = [
    "data.csv",
    "data.new",
    "data.new.old",
    "data.old",
    "data-2",
    "database",
    "Data",
    "new",
    "log",
    "log.txt",
    "log-",
    "log-1",
    "log-0000000000000001",
    "log-0000000000000fff",
    "log-2024010112000000",
    "log-ffffffffffffffff",
    "LOCK",
    "lock",
    ".hidden",
    "letter.txt",
];

/// The bytes of each file; `None` for a directory.
fn contents(directory: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).ok())
    };
    fs::read_dir(directory).unwrap().map(entry).collect()
}

#[track_caller]
fn assert_refused(directory: &Path, name: &str) {
    let before = contents(directory);
    for options in [options(), options().must_exist(), options().read_only()] {
        let error = options.open(directory).map(drop).unwrap_err();
        assert!(matches!(error, Error::NotAStore { .. }), "{name}: {error}");
        assert!(error.to_string().contains(&format!("{name:?}")), "{name}: {error}");
        assert_eq!(contents(directory), before, "{name}");
    }
}

#[test]
fn a_directory_with_a_foreign_file_of_any_name_becomes_no_store() {
    let texts: [&[u8]; 4] = [b"mine", &[0; 9000], &[7; 9000], &[0; 300_000]];
    for name in NAMES {
        for text in texts {
            let temp = tempfile::tempdir().unwrap();
            fs::write(temp.path().join(name), text).unwrap();
            assert_refused(temp.path(), name);
        }
        // An empty file may be foreign too, except the lock file, which is always empty.
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join(name), "").unwrap();
        match name {
            "LOCK" => options().open(temp.path()).unwrap().close().unwrap(),
            name => assert_refused(temp.path(), name),
        }
        // A directory of that name.
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join(name)).unwrap();
        assert_refused(temp.path(), name);
    }
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("data")).unwrap();
    assert_refused(temp.path(), "data");
}

/// A file system puts an empty `lost+found` into its root.
#[test]
fn a_directory_lost_and_found_is_ignored_only_while_it_is_empty() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("lost+found")).unwrap();
    options().open(temp.path()).unwrap().close().unwrap();

    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("lost+found")).unwrap();
    fs::write(temp.path().join("lost+found/#12345"), "found").unwrap();
    assert_refused(temp.path(), "lost+found");

    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("lost+found"), "").unwrap();
    assert_refused(temp.path(), "lost+found");

    #[cfg(unix)]
    {
        let (temp, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), temp.path().join("lost+found")).unwrap();
        assert_refused(temp.path(), "lost+found");
    }
}

/// The file is refused when it is read, which is after the directory was locked.
#[test]
fn a_foreign_file_called_data_gets_no_lock_file_beside_it() {
    for text in [&b""[..], b"mine", &[0; 9000], &[7; 9000]] {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("data"), text).unwrap();
        let before = contents(temp.path());
        for options in [options(), options().must_exist(), options().read_only()] {
            let error = options.open(temp.path()).map(drop).unwrap_err();
            assert!(error.to_string().contains("data"), "{error}");
            assert_eq!(contents(temp.path()), before);
        }
    }
}

/// A foreign directory does not fail a write: the log takes the next free name.
#[test]
fn directories_with_the_names_of_future_segments_are_skipped() {
    let temp = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let store = options().open(temp.path()).unwrap();
        fill(&store, life);
        store.close().unwrap();
        let newest = contents(temp.path()).into_keys().filter_map(|name| number(&name)).max();
        for ahead in [1, 2, 5] {
            let name = format!("log-{:016x}", newest.unwrap() + ahead);
            fs::create_dir(temp.path().join(&name)).unwrap();
            fs::write(temp.path().join(name).join("inside"), "mine").unwrap();
        }
        let _ = fs::create_dir(temp.path().join("data.new"));
    }
    let store = options().open(temp.path()).unwrap();
    assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 3 * 600);
    assert!(store.verify().unwrap().is_clean());
    store.close().unwrap();
    let names = contents(temp.path()).into_keys();
    let inside = names.filter(|name| temp.path().join(name).join("inside").exists());
    assert_eq!(inside.count(), 9);
}

#[cfg(unix)]
#[test]
fn a_link_is_foreign() {
    for name in ["data.new", "log-0000000000000001", "elsewhere"] {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("target");
        fs::write(&target, [0; 100]).unwrap();
        let place = temp.path().join("place");
        fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink(&target, place.join(name)).unwrap();
        assert_refused(&place, name);
    }
}

#[test]
fn an_interrupted_creation_is_started_again() {
    let store = tempfile::tempdir().unwrap();
    options().open(store.path()).unwrap().close().unwrap();
    let whole = fs::read(store.path().join("data")).unwrap();
    let mut half = whole.clone();
    half[..4096].fill(0);
    // The claim of a creation, and the bytes that a power loss may leave of the file.
    let claim = "a Syncline store is being made here\n";
    let noise = vec![7; 100_000];
    for (lock, left) in
        [(claim, vec![]), (claim, vec![0; 100_000]), (claim, noise), ("", half), ("", whole)]
    {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("LOCK"), lock).unwrap();
        fs::write(temp.path().join("data.new"), left).unwrap();
        let store = options().open(temp.path()).unwrap();
        store.keyspace("rows").unwrap().put("key", "value").unwrap();
        store.close().unwrap();
        assert!(!temp.path().join("data.new").exists());
        assert_eq!(fs::read(temp.path().join("LOCK")).unwrap(), b"", "nothing is half made");
    }
}

#[test]
fn a_refused_open_leaves_no_directory() {
    let temp = tempfile::tempdir().unwrap();
    let place = temp.path().join("a/b");
    let error = options().page_bytes(5).open(&place).unwrap_err();
    assert!(matches!(error, Error::InvalidOption { .. }), "{error}");
    for options in [options().must_exist(), options().read_only()] {
        assert!(matches!(options.open(&place), Err(Error::NotAStore { .. })));
    }
    assert!(!temp.path().join("a").exists());
}

fn fill(store: &Store, life: u32) {
    let rows = store.keyspace("rows").unwrap();
    for n in 0..600u32 {
        rows.put_with((life * 1000 + n).to_be_bytes(), [7; 300], CommitMode::Async).unwrap();
        if n % 200 == 199 {
            store.checkpoint().unwrap();
        }
    }
}

/// Each life uses many segments, and ends by closing or by a kill. Foreign files have the names of past,
/// present and future segments.
#[test]
fn files_beside_a_store_stay_as_they_are() {
    for seed in 0..6u64 {
        let temp = tempfile::tempdir().unwrap();
        options().open(temp.path()).unwrap().close().unwrap();
        let mut foreign = BTreeMap::new();
        for name in NAMES.iter().filter(|name| **name != "LOCK") {
            foreign.insert((*name).to_owned(), format!("mine {name}").into_bytes());
        }
        for name in &foreign {
            fs::write(temp.path().join(name.0), name.1).unwrap();
        }
        let mut place = temp;
        for life in 0..4 {
            let store = options().open(place.path()).unwrap();
            fill(&store, life);
            let is_closed = (seed >> (life % 3)) & 1 == 0;
            let next = tempfile::tempdir().unwrap();
            if is_closed {
                store.close().unwrap();
                support::copy(place.path(), next.path());
            } else {
                store.flush().unwrap();
                support::copy(place.path(), next.path()); // as a kill would leave it
                drop(store);
            }
            for (name, text) in &foreign {
                let found = fs::read(place.path().join(name)).unwrap();
                assert_eq!(&found, text, "seed {seed}, life {life}: {name}");
            }
            // More foreign files, close to the current segment.
            for directory in [place.path(), next.path()] {
                let newest = contents(directory).into_keys().filter_map(|name| number(&name));
                let newest = newest.filter(|number| *number < 1 << 32).max().unwrap();
                for number in [newest + 1, newest + 3] {
                    let name = format!("log-{number:016x}");
                    fs::write(directory.join(&name), "mine too").unwrap();
                    foreign.insert(name, b"mine too".to_vec());
                }
            }
            place = next;
            foreign.retain(|name, _| place.path().join(name).exists());
        }
        let store = options().open(place.path()).unwrap();
        assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 4 * 600, "seed {seed}");
        assert!(store.verify().unwrap().is_clean());
        store.close().unwrap();
        for (name, text) in &foreign {
            assert_eq!(&fs::read(place.path().join(name)).unwrap(), text, "seed {seed}: {name}");
        }
    }
}

fn number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix("log-")?, 16).ok()
}
