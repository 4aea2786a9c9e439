//! What is left when nobody does or holds anything: a store is about as large as what is in it.
//!
//! Pages that deletes have emptied, old versions that no snapshot needs: that they stay breaks no
//! clause of P, and makes a store grow for ever. So after a checkpoint, with no snapshot held,
//! `pages <= FACTOR * live + EACH * keyspaces + ALWAYS`, where `live` is the pages that the entries
//! would fill, and no old version is kept.

use super::case::Setup;
use super::contents::Contents;
use super::judge::Violation;
use crate::Store;
use crate::engine::tree::max_inline;

/// Leaves are merged before they are emptier than this.
const FACTOR: u64 = 5;
/// A root, and a leaf that has no neighbour to merge with.
const EACH: u64 = 3;
/// The catalog.
const ALWAYS: u64 = 8;
/// What a page has of a long value, at least.
const PAGE_OVERHEAD: u64 = 64;
/// What an entry takes in a leaf beside its key and value.
const ENTRY: u64 = 32;

/// Judges a store after a checkpoint, with nothing held.
pub(crate) fn judge(store: &Store, now: &Contents, setup: &Setup) -> Result<(), Violation> {
    let old = store.stats().old_versions;
    if old > 0 {
        return Err(Violation::liveness(format!("{old} old versions are kept for nobody")));
    }
    let found = match store.verify() {
        Ok(found) if found.is_clean() => found,
        Ok(found) => {
            return Err(Violation::safety(format!("verify: {}", found.problems.join("; "))));
        }
        Err(_) => return Ok(()), // the disk may be made to fail
    };
    let most = most_pages(now, setup);
    match found.pages <= most {
        true => Ok(()),
        false => Err(Violation::liveness(format!(
            "{} pages are in use for {} keys: {most} are enough for what is in them",
            found.pages, found.keys
        ))),
    }
}

fn most_pages(now: &Contents, setup: &Setup) -> u64 {
    let page = u64::from(setup.page_bytes) - PAGE_OVERHEAD;
    let live = now.live(max_inline(setup.page_bytes as usize) as u64);
    let leaves = (live.in_leaves + ENTRY * now.keys()).div_ceil(page);
    // Of a value that has many pages, another one has their names.
    let of_value = |bytes: &u64| 1 + bytes.div_ceil(page) + bytes.div_ceil(page * 256);
    let long: u64 = live.long.iter().map(of_value).sum();
    FACTOR * leaves + long + EACH * live.keyspaces + ALWAYS
}
