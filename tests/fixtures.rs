//! Stores that earlier builds wrote must always open, with all their contents.
//!
//! `write_fixtures` below wrote `tests/fixtures/v1-*` once, when format version 1 was frozen, and `v2-*`
//! with version 2. They are never written again: a new format version gets its own fixtures. To add one,
//! give it a name in [`FIXTURES`] and run
//!
//! ```text
//! cargo test --test fixtures -- --ignored write_fixtures
//! ```
//!
//! A fixture is one text file that lists the files of the store: a line `name length`, then a line
//! `offset hex` for each 32 bytes that are not all zero. So preallocated space takes no room, and a
//! difference can be read.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::{Contents, assert_sound, read_all};
use syncline::disk::{Disk, Keep, SimDisk};
use syncline::{CommitMode, Error, Options, Status, Store, WriteBatch};

const FIXTURES: [&str; 4] = ["v1-closed", "v1-killed", "v2-closed", "v2-killed"];
const LINE: usize = 32;

fn options() -> Options {
    Options::new().cache_bytes(1 << 20).page_bytes(4096).segment_bytes(64 << 10)
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.txt"))
}

/// The contents of every fixture.
fn contents() -> Contents {
    let mut plain: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for n in 0..200u32 {
        plain.insert(format!("key/{n:04}").into_bytes(), vec![n as u8; n as usize % 97]);
    }
    for n in (0..200u32).step_by(3) {
        plain.remove(format!("key/{n:04}").as_bytes());
    }
    plain.insert(Vec::new(), b"the empty key".to_vec());
    plain.insert(vec![0xff; 512], b"the longest key".to_vec());
    let long = (0..9000u32).map(|n| ((n * n) >> 3) as u8).collect();
    let other = BTreeMap::from([(b"long".to_vec(), long), (b"empty".to_vec(), Vec::new())]);
    Contents::from([("plain".into(), plain), ("\u{e9}t\u{e9}".into(), other)])
}

/// Writes the contents, some before a checkpoint, some after it. Returns the token of the last commit.
fn write(store: &Store) -> String {
    let contents = contents();
    let plain = store.keyspace("plain").unwrap();
    let dropped = store.keyspace("dropped").unwrap();
    dropped.put("a", vec![1; 5000]).unwrap();
    for n in 0..200u32 {
        let value = vec![n as u8; n as usize % 97];
        plain.put_with(format!("key/{n:04}"), value, CommitMode::Async).unwrap();
    }
    store.drop_keyspace("dropped").unwrap();
    store.checkpoint().unwrap();
    let other = store.keyspace("\u{e9}t\u{e9}").unwrap();
    for n in (0..200u32).step_by(3) {
        plain.delete_with(format!("key/{n:04}"), CommitMode::Async).unwrap();
    }
    let mut batch = WriteBatch::new();
    batch.put(&plain, "", "the empty key");
    batch.put(&plain, [0xff; 512], "the longest key");
    for (key, value) in &contents["\u{e9}t\u{e9}"] {
        batch.put(&other, key, value);
    }
    store.write(batch).unwrap().token()
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn encode(disk: &SimDisk, token: &str) -> String {
    let mut text = format!("token {token}\n");
    for name in disk.list().unwrap() {
        let bytes = disk.read_file(&name);
        writeln!(text, "{name} {}", bytes.len()).unwrap();
        for (at, line) in bytes.chunks(LINE).enumerate().filter(|(_, line)| !is_zero(line)) {
            let end = line.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            write!(text, " {:x} ", at * LINE).unwrap();
            line[..end].iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
            text.push('\n');
        }
    }
    text
}

/// The files of a fixture, and its token.
fn decode(text: &str) -> (Vec<(String, Vec<u8>)>, String) {
    let mut lines = text.lines();
    let token = lines.next().unwrap().strip_prefix("token ").unwrap().to_owned();
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for line in lines {
        let (a, b) = line.trim_start().split_once(' ').unwrap();
        if !line.starts_with(' ') {
            files.push((a.to_owned(), vec![0; b.parse().unwrap()]));
            continue;
        }
        let at = usize::from_str_radix(a, 16).unwrap();
        let (_, bytes) = files.last_mut().unwrap();
        for nth in 0..b.len() / 2 {
            bytes[at + nth] = u8::from_str_radix(&b[2 * nth..2 * nth + 2], 16).unwrap();
        }
    }
    (files, token)
}

#[test]
#[ignore = "writes the fixtures of a format version, once"]
fn write_fixtures() {
    for name in FIXTURES {
        if path(name).exists() {
            continue; // frozen
        }
        let disk = SimDisk::new();
        let options = options().without_threads().store_id(*b"a frozen fixture");
        let store = options.open_on(Arc::new(disk.clone())).unwrap();
        let token = write(&store);
        let left = match name.ends_with("closed") {
            true => {
                store.close().unwrap();
                disk
            }
            false => disk.crash(Keep::Everything),
        };
        std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        std::fs::write(path(name), encode(&left, &token)).unwrap();
    }
}

/// A directory with the files of a fixture, and its token.
fn unpacked(name: &str) -> (tempfile::TempDir, String) {
    let (files, token) = decode(&std::fs::read_to_string(path(name)).unwrap());
    let dir = tempfile::tempdir().unwrap();
    for (file, bytes) in files {
        std::fs::write(dir.path().join(file), bytes).unwrap();
    }
    (dir, token)
}

#[test]
fn a_store_of_version_1_is_continued_in_version_2() {
    for name in ["v1-closed", "v1-killed"] {
        let (dir, token) = unpacked(name);
        let version = |slot: usize| std::fs::read(dir.path().join("data")).unwrap()[slot + 12];
        assert_eq!((version(0), version(4096)), (1, 1));
        let store = Options::new().must_exist().open(dir.path()).unwrap();
        let (life, lsn) = token.rsplit_once('-').unwrap();
        let lost = format!("{life}-{:x}", u64::from_str_radix(lsn, 16).unwrap() + 4096);
        let is_old = |token: &str| token.split('-').count() == 3;
        assert!(is_old(&token) && is_old(&lost));
        let receipt = store.keyspace("plain").unwrap().put("more", "1").unwrap();
        assert!(!is_old(&receipt.token()), "the first write begins a life with a mark");
        assert_eq!((version(0), version(4096)), (2, 2));
        // The new life has given out no token in the form of version 1.
        let (life, lsn) = (receipt.incarnation().get(), receipt.lsn().get());
        let forged = store.status(&format!("{}-{life:x}-{lsn:x}", store.id()));
        assert!(matches!(forged, Err(Error::UnknownLife { .. })), "{forged:?}");
        store.close().unwrap();
        let store = Options::new().must_exist().open(dir.path()).unwrap();
        assert_eq!(store.status(&token).unwrap(), Status::Durable, "{name}");
        assert_eq!(store.status(&lost).unwrap(), Status::Lost, "{name}");
        assert_eq!(store.status(&receipt.token()).unwrap(), Status::Durable);
    }
}

#[test]
fn a_killed_store_of_every_version_is_refused_without_its_log() {
    for name in FIXTURES.into_iter().filter(|name| name.ends_with("killed")) {
        for is_removed in [true, false] {
            let (dir, _) = unpacked(name);
            for entry in std::fs::read_dir(dir.path()).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap().to_string_lossy().starts_with("log-") {
                    match is_removed {
                        true => std::fs::remove_file(path).unwrap(),
                        false => std::fs::write(path, []).unwrap(),
                    }
                }
            }
            match Options::new().must_exist().open(dir.path()) {
                Err(Error::Missing { file, .. }) if is_removed => assert!(file.contains("log-")),
                Err(Error::Corrupt { file, .. }) if !is_removed => assert!(file.contains("log-")),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn stores_of_every_format_version_open() {
    for name in FIXTURES {
        let (dir, token) = unpacked(name);
        for round in 0..2 {
            let store = Options::new().must_exist().open(dir.path()).unwrap();
            let is_clean = store.stats().recovery.was_clean;
            assert_eq!(is_clean, round == 1 || name.ends_with("closed"), "{name}");
            assert_eq!(store.id().to_string(), "612066726f7a656e2066697874757265");
            assert!(read_all(&store).unwrap() == contents(), "{name}");
            assert_eq!(store.status(&token).unwrap(), Status::Durable, "{name}");
            assert_sound(&store);
            let plain = store.keyspace("plain").unwrap();
            plain.put("more", "1").unwrap();
            plain.delete("more").unwrap();
            assert_sound(&store);
            drop(plain);
            store.close().unwrap();
        }
    }
}
