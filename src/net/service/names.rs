//! Keyspaces by name: a cache over the store's own lookup.
//!
//! The store looks names up under its commit lock, which a check or a checkpoint may hold. A name
//! that was found before is found here without waiting. A handle knows when its keyspace was dropped,
//! so the cache needs no invalidation.

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::engine::base::error::{Error, Result};
use crate::{Keyspace, Store};

/// Names that begin with this belong to the server.
const HIDDEN: char = '$';

/// Keyspaces that were found before.
#[derive(Debug)]
pub(super) struct Names(RwLock<HashMap<String, Keyspace>>);

/// The keyspace that one connection used last: most connections use one.
#[derive(Debug, Default)]
pub(crate) struct Recent(Option<Keyspace>);

impl Names {
    /// A cache of all keyspaces of the store.
    pub(super) fn of(store: &Store) -> Result<Names> {
        let mut known = HashMap::new();
        for name in store.keyspaces().into_iter().filter(|name| is_public(name)) {
            if let Some(keyspace) = store.open_keyspace(&name)? {
                known.insert(name, keyspace);
            }
        }
        Ok(Names(RwLock::new(known)))
    }

    /// The keyspace of this name, if it was found before.
    pub(super) fn known<'r>(&self, name: &str, recent: &'r mut Recent) -> Option<&'r Keyspace> {
        let hit = |keyspace: &Keyspace| keyspace.name() == name && !keyspace.is_dropped();
        if !recent.0.as_ref().is_some_and(hit) {
            let found = self.0.read().get(name).cloned();
            recent.0 = Some(found.filter(|keyspace| !keyspace.is_dropped())?);
        }
        recent.0.as_ref()
    }

    /// The keyspace of this name. May wait for the commit lock.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`], [`Error::InvalidName`].
    pub(super) fn find(&self, store: &Store, name: &str) -> Result<Keyspace> {
        if let Some(known) = self.0.read().get(name)
            && !known.is_dropped()
        {
            return Ok(known.clone());
        }
        check_public(name)?;
        match store.open_keyspace(name)? {
            Some(keyspace) => {
                self.0.write().insert(name.to_owned(), keyspace.clone());
                Ok(keyspace)
            }
            None => {
                self.0.write().remove(name);
                Err(Error::NoSuchKeyspace { name: name.to_owned() })
            }
        }
    }
}

/// Whether a name does not belong to the server.
pub(crate) fn is_public(name: &str) -> bool {
    !name.starts_with(HIDDEN)
}

/// Refuses names that belong to the server.
pub(crate) fn check_public(name: &str) -> Result<()> {
    if !is_public(name) {
        return Err(Error::InvalidName { name: name.to_owned() });
    }
    Ok(())
}
