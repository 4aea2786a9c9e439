//! Judges the size of a store that nothing uses: it must be about as large as its contents.
//!
//! A store that keeps emptied pages, or old versions that no snapshot needs, breaks no clause of P, but
//! grows for ever. So after a checkpoint, with no snapshot held, no old version is kept, and
//! `pages <= FACTOR * leaves + long + EACH * keyspaces + ALWAYS`: `leaves` are the leaves that the
//! entries would fill, `long` the pages of values out of line.

use super::case::Setup;
use super::contents::Contents;
use super::judge::Violation;
use crate::Store;
use crate::engine::tree::max_inline;

/// Leaves are merged before less than one part in this many is in use.
const FACTOR: u64 = 5;
/// Pages per keyspace: a root, and a leaf that has no neighbour to merge with.
const EACH: u64 = 3;
/// Pages of the catalog.
const ALWAYS: u64 = 8;
/// The most bytes of a page that hold no part of a long value.
const PAGE_OVERHEAD: u64 = 64;
/// Bytes of an entry in a leaf, beside its key and value.
const ENTRY: u64 = 32;

/// Judges a store after a checkpoint, with no snapshot held.
pub(crate) fn judge(store: &Store, now: &Contents, setup: &Setup) -> Result<(), Violation> {
    let old = store.stats().old_versions;
    if old > 0 {
        return Err(Violation::liveness(format!("{old} old versions are kept without a snapshot")));
    }
    let found = match store.verify() {
        Ok(found) if found.is_clean() => found,
        Ok(found) => {
            return Err(Violation::safety(format!("verify: {}", found.problems.join("; "))));
        }
        Err(_) => return Ok(()), // a fault may be in force
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
    // A value of many pages has another page that lists them.
    let of_value = |bytes: &u64| 1 + bytes.div_ceil(page) + bytes.div_ceil(page * 256);
    let long: u64 = live.long.iter().map(of_value).sum();
    FACTOR * leaves + long + EACH * live.keyspaces + ALWAYS
}
