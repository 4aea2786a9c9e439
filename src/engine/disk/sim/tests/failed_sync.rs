//! What a sync that failed leaves behind.

use super::*;

#[test]
fn a_sync_after_a_failed_one_succeeds_and_proves_nothing() {
    let (disk, file) = disk_with("a", 2 * SECTOR_BYTES);
    file.write_at(0, &[7; SECTOR]).unwrap();
    file.sync().unwrap();
    file.write_at(0, &[0; SECTOR]).unwrap();
    file.sync().unwrap(); // written zeros
    file.write_at(0, &[1; SECTOR]).unwrap();
    disk.fail_sync(0);
    assert!(matches!(file.sync(), Err(Error::Io { .. })));
    assert_eq!(disk.faults_happened(), 1);
    file.sync().unwrap();
    assert_eq!(sectors(&disk, "a"), [1, 0], "the cache still shows it");
    assert_eq!(sectors(&disk.fork(Keep::Everything), "a"), [1, 0]);
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [0, 0], "the device does not have it");
    assert_eq!(sectors(&disk.fork(Keep::bits(1)), "a"), [1, 0], "or has it");

    file.write_at(SECTOR_BYTES, &[2]).unwrap(); // its neighbour in the page does not help
    file.sync().unwrap();
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [0, 2]);
    file.write_at(0, &[1; SECTOR]).unwrap(); // writing it again does
    file.sync().unwrap();
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [1, 2]);
}

/// As ext4 does with space that was allocated and never written.
#[test]
fn a_sector_that_was_never_durable_is_in_doubt_until_it_leaves_the_cache() {
    let (disk, file) = disk_with("a", 2 * SECTOR_BYTES);
    file.write_at(0, &[1; SECTOR]).unwrap();
    disk.fail_sync(0);
    file.sync().unwrap_err();
    for _ in 0..2 {
        file.write_at(0, &[2; SECTOR]).unwrap();
        file.sync().unwrap();
        assert_eq!(sectors(&disk, "a"), [2, 0]);
        assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [0, 0], "written again in vain");
    }
    file.forget_cached();
    assert_eq!(sectors(&disk, "a"), [0, 0], "what the device has");
    file.write_at(0, &[3; SECTOR]).unwrap();
    file.forget_cached();
    assert_eq!(sectors(&disk, "a"), [3, 0], "what is dirty stays");
    file.sync().unwrap();
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [3, 0]);
}

#[test]
fn a_failed_mapped_sync_leaves_its_range_in_doubt() {
    let (disk, file) = disk_with("a", 2 * PAGE_BYTES);
    let mapping = map_all(&*file).unwrap();
    mapping.write(0, &[1; 2 * PAGE]);
    disk.fail_sync(0);
    mapping.sync(0, 10).unwrap_err();
    mapping.sync(0, 2 * PAGE).unwrap();
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [[0; 8], [1; 8]].concat());
}

#[test]
fn sectors_of_a_failed_sync_may_vanish_from_the_cache() {
    let (disk, file) = disk_with("a", 2 * SECTOR_BYTES);
    file.write_at(0, &[1; SECTOR]).unwrap();
    disk.fail_sync(0);
    file.sync().unwrap_err();
    file.write_at(SECTOR_BYTES, &[2; SECTOR]).unwrap();
    disk.evict();
    assert_eq!(sectors(&disk, "a"), [0, 2], "what is dirty stays");
    file.sync().unwrap();
    assert_eq!(sectors(&disk.fork(Keep::Nothing), "a"), [0, 2]);
}
