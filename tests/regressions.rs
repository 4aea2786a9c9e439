//! Bugs that were found, each told once and kept for ever.

use syncline::{CommitMode, Options};

/// Where a range ends was looked for in every leaf that it goes through. In a leaf whose keys all
/// begin alike, an end that begins otherwise was cut like a key of that leaf, and the rest of it
/// compared: a range could end leaves too early.
#[test]
fn a_range_goes_on_past_leaves_that_do_not_hold_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::new().page_bytes(4096).open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    for i in 0..500 {
        keyspace.put_with(format!("user/{i:05}"), [0; 60], CommitMode::Async).unwrap();
    }
    keyspace.put("zone", "end").unwrap();
    assert_eq!(keyspace.range(.."zone").unwrap().count(), 500);
    assert_eq!(keyspace.range("user/00017"..="zone").unwrap().count(), 484);
    assert_eq!(keyspace.range("a".."v").unwrap().rev().count(), 500);
}
