//! Finds the pages that a change of one key would have to read from the device.

use std::collections::BTreeSet;

use super::blob;
use super::lookup::{ReadAt, descend, load_absent};
use super::node::{Node, Value};
use crate::engine::base::error::Result;
use crate::engine::cache::{Absent, Cache};
use crate::engine::space::PageId;

/// The first page on the path to `key` that is not in memory, in the visible tree; if all are, the first
/// absent index page of its out-of-line value. If `None`, a change of the key reads only pages in memory.
pub(crate) fn missing(cache: &Cache, root: PageId, key: &[u8]) -> Option<Absent> {
    let guard = cache.pin();
    let visible = cache.visible();
    let leaf = match descend(cache, root, key, visible, &guard) {
        Ok(leaf) => leaf,
        Err(absent) => return Some(absent),
    };
    let node = Node::new(leaf.bytes());
    match node.search(key).ok().map(|slot| node.value(slot))? {
        Value::Blob(blob) => blob::missing(cache, blob, visible, &guard),
        Value::Inline(_) => None,
    }
}

/// An upper bound of the number of leaves of `keys`: an absent leaf counts once per key.
pub(crate) fn leaves_of(cache: &Cache, root: PageId, keys: impl Iterator<Item = Vec<u8>>) -> usize {
    let guard = cache.pin();
    let visible = cache.visible();
    let (mut leaves, mut absent) = (BTreeSet::new(), 0);
    for key in keys {
        match descend(cache, root, &key, visible, &guard) {
            Ok(leaf) => drop(leaves.insert(leaf.bytes().as_ptr())),
            Err(_) => absent += 1,
        }
    }
    leaves.len() + absent
}

/// Loads the page that [`missing`] returned.
///
/// # Errors
/// The error of the read; [`Error::Corrupt`](crate::Error::Corrupt) if there is no such page.
pub(crate) fn load_visible(cache: &Cache, absent: Absent) -> Result<()> {
    load_absent(cache, absent, ReadAt::Snapshot(cache.visible()))
}
