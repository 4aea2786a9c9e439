//! Conformance of disks: one suite, run against each implementation.

use super::{Disk, DiskFile, Mapping, RealDisk, SimDisk};
use crate::engine::base::error::Error;

/// Runs the test in `$name` on a real directory and on a simulated one.
macro_rules! conformance {
    ($($name:ident)*) => {
        mod real {
            $(#[test]
            fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(&super::RealDisk::open(dir.path()).unwrap());
            })*
        }
        mod sim {
            $(#[test]
            fn $name() {
                super::$name(&super::SimDisk::new());
            })*
        }
    };
}

conformance! {
    a_created_file_reads_as_zeros
    names_are_listed_sorted
    writes_are_read_back
    a_read_past_the_end_names_the_file
    allocating_grows_and_never_shrinks
    writing_past_the_end_grows_the_file
    mapped_writes_are_seen_by_reads
    writes_are_seen_through_a_mapping
    an_open_file_outlives_its_name
    renaming_replaces
    a_missing_file_is_an_error
    only_one_lock_is_granted
    an_empty_file_can_be_mapped
    a_mapping_longer_than_its_file_is_used_as_the_file_grows
    a_hole_reads_as_zeros_and_the_rest_stays
}

/// Maps a whole file.
pub(super) fn map_all(file: &dyn DiskFile) -> crate::engine::base::error::Result<Box<dyn Mapping>> {
    file.map(file.bytes()?)
}

fn read(disk: &dyn Disk, name: &str) -> Vec<u8> {
    let file = disk.open(name).unwrap();
    let mut buf = vec![0xEE; file.bytes().unwrap() as usize];
    file.read_at(0, &mut buf).unwrap();
    buf
}

fn a_hole_reads_as_zeros_and_the_rest_stays(disk: &dyn Disk) {
    let file = disk.create("a", 5 * 4096).unwrap();
    file.write_at(0, &[7; 5 * 4096]).unwrap();
    let mapping = map_all(&*file).unwrap();
    let hole = if file.deallocate(4096, 8192).unwrap() { 4096..12288 } else { 0..0 };
    mapping.write(12288, &[8; 4096]);
    let bytes = read(disk, "a");
    assert_eq!(bytes.len(), 5 * 4096);
    for (at, byte) in bytes.into_iter().enumerate() {
        let expected = if hole.contains(&at) { 0 } else { 7 + u8::from(at / 4096 == 3) };
        assert_eq!(byte, expected, "at {at}");
    }
}

fn a_created_file_reads_as_zeros(disk: &dyn Disk) {
    let file = disk.create("a", 10_000).unwrap();
    assert_eq!(file.bytes().unwrap(), 10_000);
    assert_eq!(read(disk, "a"), vec![0; 10_000]);
    assert_eq!(file.path(), disk.path("a"));
    assert!(matches!(disk.create("a", 1), Err(Error::Io { .. })));
    assert_eq!(read(disk, "a").len(), 10_000, "the failed create left the file alone");
    assert_eq!(disk.create("empty", 0).unwrap().bytes().unwrap(), 0);
}

fn names_are_listed_sorted(disk: &dyn Disk) {
    for name in ["b", "c", "a"] {
        disk.create(name, 0).unwrap();
    }
    disk.remove("b").unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(disk.list().unwrap(), ["a", "c"]);
}

fn writes_are_read_back(disk: &dyn Disk) {
    let file = disk.create("a", 20_000).unwrap();
    let bytes: Vec<u8> = (0..9000).map(|i| i as u8).collect();
    file.write_at(777, &bytes).unwrap();
    file.sync().unwrap();
    let mut buf = vec![0; 9000];
    disk.open("a").unwrap().read_at(777, &mut buf).unwrap();
    assert_eq!(buf, bytes);
    assert_eq!(read(disk, "a")[..777], [0; 777]);
    file.write_at(5, &[]).unwrap();
    file.read_at(5, &mut []).unwrap();
}

fn a_read_past_the_end_names_the_file(disk: &dyn Disk) {
    let file = disk.create("a", 100).unwrap();
    match file.read_at(90, &mut [0; 11]).unwrap_err() {
        Error::Corrupt { file: name, offset: 90, expected, .. } => {
            assert_eq!(name, file.path());
            assert_eq!(expected, "11 bytes");
        }
        error => panic!("{error}"),
    }
    file.read_at(1000, &mut [0; 1]).unwrap_err();
    file.read_at(90, &mut [0; 10]).unwrap();
}

fn allocating_grows_and_never_shrinks(disk: &dyn Disk) {
    let file = disk.create("a", 1000).unwrap();
    file.write_at(0, &[7; 1000]).unwrap();
    file.allocate(5000).unwrap();
    assert_eq!(file.bytes().unwrap(), 5000);
    file.allocate(10).unwrap();
    assert_eq!(file.bytes().unwrap(), 5000);
    assert_eq!(read(disk, "a"), [vec![7; 1000], vec![0; 4000]].concat());
}

fn writing_past_the_end_grows_the_file(disk: &dyn Disk) {
    let file = disk.create("a", 10).unwrap();
    file.write_at(4095, b"xy").unwrap();
    assert_eq!(file.bytes().unwrap(), 4097);
    assert_eq!(read(disk, "a"), [vec![0; 4095], b"xy".to_vec()].concat());
}

fn mapped_writes_are_seen_by_reads(disk: &dyn Disk) {
    let file = disk.create("a", 3 * 4096 + 100).unwrap();
    let mapping = file.map(3 * 4096 + 100).unwrap();
    mapping.prefault(4000, 5000).unwrap();
    assert_eq!(read(disk, "a"), vec![0; 3 * 4096 + 100], "prefaulting leaves the bytes");
    let bytes: Vec<u8> = (0..6000).map(|i| i as u8).collect();
    mapping.write(3000, &bytes);
    mapping.write(3 * 4096 + 99, b"!");
    assert_eq!(read(disk, "a")[3000..9000], bytes);
    mapping.sync(3000, 6000).unwrap();
    mapping.sync(0, 3 * 4096 + 100).unwrap();
    mapping.sync(7, 0).unwrap();
    assert_eq!(read(disk, "a")[3 * 4096 + 99..], *b"!");
}

fn writes_are_seen_through_a_mapping(disk: &dyn Disk) {
    let file = disk.create("a", 8192).unwrap();
    let mapping = file.map(8192).unwrap();
    file.write_at(100, b"written").unwrap();
    mapping.write(107, b" and mapped");
    drop(mapping);
    drop(file);
    assert_eq!(read(disk, "a")[100..118], *b"written and mapped");
}

fn an_open_file_outlives_its_name(disk: &dyn Disk) {
    let file = disk.create("a", 10).unwrap();
    disk.rename("a", "b").unwrap();
    file.write_at(0, b"still here").unwrap();
    assert_eq!(read(disk, "b"), b"still here");
    let other = disk.open("b").unwrap();
    other.write_at(0, b"shared").unwrap();
    let mut buf = [0; 6];
    file.read_at(0, &mut buf).unwrap();
    assert_eq!(buf, *b"shared");
}

fn renaming_replaces(disk: &dyn Disk) {
    disk.create("a", 1).unwrap();
    disk.create("b", 2).unwrap();
    disk.rename("a", "b").unwrap();
    assert_eq!(disk.list().unwrap(), ["b"]);
    assert_eq!(read(disk, "b").len(), 1);
}

fn a_missing_file_is_an_error(disk: &dyn Disk) {
    let not_found = |error| match error {
        Error::Io { source, file, .. } => {
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
            assert_eq!(file, disk.path("a"));
        }
        error => panic!("{error}"),
    };
    not_found(disk.open("a").map(|_| ()).unwrap_err());
    not_found(disk.rename("a", "b").unwrap_err());
    not_found(disk.remove("a").unwrap_err());
}

fn only_one_lock_is_granted(disk: &dyn Disk) {
    let lock = disk.lock().unwrap();
    assert!(matches!(disk.lock(), Err(Error::Locked { .. })));
    drop(lock);
    disk.lock().unwrap();
    assert_eq!(disk.list().unwrap(), [""; 0]);
}

fn an_empty_file_can_be_mapped(disk: &dyn Disk) {
    let mapping = disk.create("a", 0).unwrap().map(0).unwrap();
    mapping.write(0, &[]);
    mapping.sync(0, 0).unwrap();
    let outside = std::panic::AssertUnwindSafe(|| mapping.write(0, &[1]));
    std::panic::catch_unwind(outside).unwrap_err();
}

fn a_mapping_longer_than_its_file_is_used_as_the_file_grows(disk: &dyn Disk) {
    let file = disk.create("a", 4096).unwrap();
    let other = disk.open("a").unwrap();
    let mapping = file.map(3 * 4096).unwrap();
    let fails = |offset: usize| {
        let outside = std::panic::AssertUnwindSafe(|| mapping.write(offset, b"beyond"));
        std::panic::catch_unwind(outside).unwrap_err();
    };
    mapping.write(4090, b"within");
    fails(4091);
    fails(4096);
    for pages in 2..=3 {
        let bytes = pages * 4096;
        other.allocate(bytes as u64).unwrap();
        other.sync().unwrap();
        mapping.grown(bytes);
        mapping.prefault(bytes - 4096, 4096).unwrap();
        mapping.write(bytes - 5, b"grown");
        mapping.sync(bytes - 5, 5).unwrap();
        fails(bytes);
        assert_eq!(read(disk, "a")[bytes - 5..], *b"grown");
    }
    assert_eq!(read(disk, "a")[4090..4096], *b"within");
    // The file may be longer than the mapping.
    other.allocate(4 * 4096).unwrap();
    mapping.grown(4 * 4096);
    fails(3 * 4096);
}
