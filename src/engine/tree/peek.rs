//! Finding one key without ever waiting for the device.

use super::lookup::descend;
use super::node::{Node, Value};
use crate::engine::cache::Cache;
use crate::engine::space::PageId;

/// Shows the value of `key`, as it is now, to `look`, if every page on the way is in memory:
/// otherwise `None`, and nothing has happened. No lock, no allocation, no pin: what `look` is
/// given is kept by the epoch alone, so it must be brief.
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
