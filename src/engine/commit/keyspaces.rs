//! The keyspaces: their state in memory, and their entries in the catalog, a tree of its own.
//!
//! | catalog key | value |
//! |---|---|
//! | `k` name | id (4 bytes), page id of the root (8), count of keys (8) |
//! | `d` id (4 bytes, big-endian) | page id of the root (8): dropped, being taken apart |
//! | `i` incarnation (4 bytes, big-endian) | LSN (8) at which that incarnation ended, its mark (8) |
//!
//! Values are little-endian. An incarnation that began under format version 1 has no mark: its
//! value ends after the LSN. The count is as of the last checkpoint, which begins with a commit of the
//! counts that changed; replaying the log brings it up to date.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

use super::count::KeyCount;
use super::ops::KeyspaceId;
use crate::engine::base::codec::{get_u32, get_u64};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Incarnation, Lsn};
use crate::engine::space::PageId;

/// The keys of the catalog.
pub(crate) mod catalog_key {
    use super::{Incarnation, KeyspaceId};

    pub(crate) const KEYSPACE: u8 = b'k';
    pub(crate) const DROPPED: u8 = b'd';

    pub(crate) fn keyspace(name: &str) -> Vec<u8> {
        [&[KEYSPACE], name.as_bytes()].concat()
    }

    pub(crate) fn dropped(id: KeyspaceId) -> Vec<u8> {
        [&[DROPPED], &id.0.to_be_bytes()[..]].concat()
    }

    pub(crate) fn incarnation(incarnation: Incarnation) -> Vec<u8> {
        [b"i", &incarnation.get().to_be_bytes()[..]].concat()
    }
}

/// A keyspace that exists, or that was dropped and is still in use.
#[derive(Debug)]
pub(crate) struct KeyspaceState {
    pub(crate) id: KeyspaceId,
    pub(crate) name: String,
    /// The root of its tree; never changes.
    pub(crate) root: PageId,
    pub(crate) count: KeyCount,
    /// Whether the count differs from the catalog's. Changed under the commit lock.
    pub(crate) count_changed: AtomicBool,
    /// The group that created it; 0 if it existed when the store was opened.
    created: Lsn,
    /// The group that dropped it; `Lsn::MAX` if none has. Set under the commit lock.
    dropped: AtomicU64,
}

impl KeyspaceState {
    /// A keyspace with `count` keys, created by the group at `created`.
    pub(crate) fn new(id: KeyspaceId, name: &str, root: PageId, count: u64, created: Lsn) -> Self {
        KeyspaceState {
            id,
            name: name.to_owned(),
            root,
            count: KeyCount::new(count),
            count_changed: AtomicBool::new(false),
            created,
            dropped: AtomicU64::new(Lsn::MAX.get()),
        }
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire) != Lsn::MAX.get()
    }

    /// Whether it existed at `at`.
    pub(crate) fn was_there(&self, at: Lsn) -> bool {
        self.was_made_by(at) && at.get() < self.dropped.load(Ordering::Acquire)
    }

    /// Whether it was created at or before `at`.
    pub(crate) fn was_made_by(&self, at: Lsn) -> bool {
        self.created <= at
    }

    /// The group that created it; 0 if it existed when the store was opened.
    pub(crate) fn created(&self) -> Lsn {
        self.created
    }

    fn set_dropped(&self, at: Lsn) {
        self.dropped.store(at.get(), Ordering::Release);
    }

    /// Fails if it has been dropped.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_dropped() {
            return Err(Error::NoSuchKeyspace { name: self.name.clone() });
        }
        Ok(())
    }

    /// Its value in the catalog.
    pub(crate) fn encode(&self, count: u64) -> Vec<u8> {
        let mut value = self.id.0.to_le_bytes().to_vec();
        value.extend(self.root.0.to_le_bytes());
        value.extend(count.to_le_bytes());
        value
    }

    /// The keyspace of a catalog entry.
    pub(crate) fn decode(name: &[u8], value: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        if value.len() != 20 {
            return None;
        }
        let id = KeyspaceId(get_u32(value, 0));
        Some(KeyspaceState::new(id, name, PageId(get_u64(value, 4)), get_u64(value, 12), Lsn::ZERO))
    }
}

/// The keyspaces by name, to be looked up without the commit lock. Changed under the commit lock,
/// just before the change is visible.
pub(crate) type KeyspaceNames = Arc<RwLock<BTreeMap<String, Arc<KeyspaceState>>>>;

/// All keyspaces.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    names: KeyspaceNames,
    by_id: BTreeMap<KeyspaceId, Arc<KeyspaceState>>,
    /// Roots of dropped keyspaces that are not yet taken apart.
    pub(crate) doomed: BTreeMap<KeyspaceId, PageId>,
    /// The number of keyspaces, readable without the commit lock.
    count: Arc<AtomicU64>,
}

impl Catalog {
    pub(crate) fn names(&self) -> KeyspaceNames {
        Arc::clone(&self.names)
    }

    pub(crate) fn insert(&mut self, keyspace: Arc<KeyspaceState>) {
        self.by_id.insert(keyspace.id, Arc::clone(&keyspace));
        self.names.write().insert(keyspace.name.clone(), keyspace);
        self.count.store(self.by_id.len() as u64, Ordering::Relaxed);
    }

    /// Drops a keyspace at `at`. Its tree remains to be taken apart.
    pub(crate) fn remove(&mut self, id: KeyspaceId, at: Lsn) -> Option<Arc<KeyspaceState>> {
        let keyspace = self.by_id.remove(&id)?;
        self.names.write().remove(&keyspace.name);
        self.count.store(self.by_id.len() as u64, Ordering::Relaxed);
        self.doomed.insert(id, keyspace.root);
        keyspace.set_dropped(at);
        Some(keyspace)
    }

    pub(crate) fn named(&self, name: &str) -> Option<Arc<KeyspaceState>> {
        self.names.read().get(name).cloned()
    }

    pub(crate) fn numbered(&self, id: KeyspaceId) -> Option<&Arc<KeyspaceState>> {
        self.by_id.get(&id)
    }

    /// The counter behind [`Catalog::len`], readable without the commit lock.
    pub(crate) fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All keyspaces, in order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<KeyspaceState>> {
        self.by_id.values()
    }
}

/// The keyspaces of one commit, to be looked up by id.
pub(super) enum KeyspacesById<'k> {
    Few(&'k [Arc<KeyspaceState>]),
    /// Sorted.
    Many(Vec<&'k Arc<KeyspaceState>>),
}

impl<'k> KeyspacesById<'k> {
    pub(super) fn new(keyspaces: &'k [Arc<KeyspaceState>]) -> Self {
        if keyspaces.len() <= 8 {
            return KeyspacesById::Few(keyspaces);
        }
        let mut sorted: Vec<_> = keyspaces.iter().collect();
        sorted.sort_unstable_by_key(|keyspace| keyspace.id);
        KeyspacesById::Many(sorted)
    }

    pub(super) fn find(&self, id: KeyspaceId) -> Option<&'k Arc<KeyspaceState>> {
        match self {
            KeyspacesById::Few(keyspaces) => keyspaces.iter().find(|state| state.id == id),
            KeyspacesById::Many(sorted) => {
                let at = sorted.binary_search_by_key(&id, |state| state.id).ok()?;
                Some(sorted[at])
            }
        }
    }
}

/// Fails unless `name` may name a keyspace.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
        return Err(Error::InvalidName { name: name.to_owned() });
    }
    Ok(())
}
