//! Looks up one key.

use super::node::{Node, Value};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::{Absent, Cache, Guard, PageRef, PinnedPage};
use crate::engine::space::PageId;

/// The LSN at which a tree is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadAt {
    /// `visible` when the read begins.
    Newest,
    /// A registered snapshot.
    Snapshot(Lsn),
}

/// Looks `key` up in the tree under `root`, and calls `look` with its value: height page accesses, no
/// lock, no allocation, no pinned page. `look` is called once and must be brief: no frame is freed
/// meanwhile. It copies an inline value; an out-of-line value must be read at a registered snapshot.
pub(crate) fn lookup<R>(
    cache: &Cache,
    root: PageId,
    key: &[u8],
    at: ReadAt,
    look: impl FnOnce(Option<Value<'_>>) -> R,
) -> Result<R> {
    with_leaf(cache, root, key, at, |leaf| {
        let node = Node::new(leaf.bytes());
        look(node.search(key).ok().map(|slot| node.value(slot)))
    })
}

/// Brings the leaf for `key` into memory, and returns whether the key is there.
pub(crate) fn touch(cache: &Cache, root: PageId, key: &[u8], at: ReadAt) -> Result<bool> {
    with_leaf(cache, root, key, at, |leaf| Node::new(leaf.bytes()).search(key).is_ok())
}

fn with_leaf<R>(
    cache: &Cache,
    root: PageId,
    key: &[u8],
    at: ReadAt,
    use_leaf: impl FnOnce(PageRef<'_>) -> R,
) -> Result<R> {
    loop {
        let (absent, at) = {
            let guard = cache.pin();
            let lsn = match at {
                ReadAt::Newest => cache.visible(),
                ReadAt::Snapshot(lsn) => lsn,
            };
            match descend(cache, root, key, lsn, &guard) {
                Ok(leaf) => return Ok(use_leaf(leaf)),
                // Versions that readers at `visible` need are never freed: a missing page is damage.
                Err(absent) if cache.visible() == lsn => (absent, ReadAt::Snapshot(lsn)),
                Err(absent) => (absent, at),
            }
        };
        load_absent(cache, absent, at)?;
    }
}

/// The version of a page as of `at`, a registered snapshot; loads it if needed.
pub(super) fn fetch(cache: &Cache, id: PageId, at: Lsn) -> Result<PinnedPage<'_>> {
    loop {
        let absent = {
            let guard = cache.pin();
            match cache.page(id, at, &guard) {
                Ok(page) => {
                    cache.count_hits(1);
                    return Ok(cache.keep(page));
                }
                Err(absent) => absent,
            }
        };
        load_absent(cache, absent, ReadAt::Snapshot(at))?;
    }
}

/// Loads a page that a read at `at` did not find in memory.
pub(super) fn load_absent(cache: &Cache, absent: Absent, at: ReadAt) -> Result<()> {
    if let (Absent::Gone(id), ReadAt::Snapshot(lsn)) = (absent, at) {
        return Err(Error::Corrupt {
            file: "page table".into(),
            offset: id.0,
            expected: format!("page {id} as of LSN {lsn}"),
            found: "no such version".into(),
        });
    }
    cache.load(absent)
}

pub(super) fn descend<'g>(
    cache: &'g Cache,
    root: PageId,
    key: &[u8],
    lsn: Lsn,
    guard: &'g Guard,
) -> Result<PageRef<'g>, Absent> {
    let mut page = cache.page(root, lsn, guard)?;
    let mut pages = 1;
    loop {
        let node = Node::new(page.bytes());
        if node.is_leaf() {
            cache.count_hits(pages);
            return Ok(page);
        }
        page = cache.page(node.child(node.child_index(key)), lsn, guard)?;
        pages += 1;
    }
}
