//! Looks up one key without ever waiting for the device.

use super::lookup::descend;
use super::node::{Node, Value};
use crate::engine::cache::Cache;
use crate::engine::space::PageId;

/// Calls `look` with the visible value of `key`, if every page on the path is in memory; otherwise `None`.
/// No lock, no allocation, no pinned page: only the epoch protects the value, so `look` must be brief.
pub(crate) fn peek<R>(
    cache: &Cache,
    root: PageId,
    key: &[u8],
    look: impl FnOnce(Option<Value<'_>>) -> R,
) -> Option<R> {
    let guard = cache.pin();
    let leaf = descend(cache, root, key, cache.visible(), &guard).ok()?;
    let node = Node::new(leaf.bytes());
    Some(look(node.search(key).ok().map(|slot| node.value(slot))))
}
