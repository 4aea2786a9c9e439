//! Objects that a user holds during other operations: values, entries, iterators, many snapshots,
//! receipts. A held object reads the same until it is dropped, in any order, and all other calls work.

use std::collections::VecDeque;
use std::sync::Arc;

use syncline::{Entry, Keyspace, Range, Value};

use crate::generate;
use crate::model::Map;
use crate::world::{InjectedFault, World};

/// More iterators than an eighth of the frames of a cache of 1 MiB.
const MOST_ITERATORS: u64 = 48;
const MOST_SNAPSHOTS: u64 = 24;
/// From this number of holdings on, some are dropped instead of adding one.
const MOST: usize = 120;

/// A held object, and its expected contents.
pub(crate) enum Holding {
    Value(Value, Arc<[u8]>),
    Entries(Vec<Entry>, Arc<Map>),
    Iterator(Box<Iterating>),
}

/// An iterator, and the entries that it must still return.
pub(crate) struct Iterating {
    range: Range,
    left: VecDeque<(Vec<u8>, Arc<[u8]>)>,
}

impl World {
    /// Adds a held object.
    pub(crate) fn hold(&mut self) {
        if !self.holds || self.model.is_ambiguous() {
            return;
        }
        if self.held.len() >= MOST {
            return self.drop_held();
        }
        let names: Vec<&String> = self.handles.keys().collect();
        let name = self.rng.pick(&names).to_string();
        let (keyspace, map) = (self.handles[&name].clone(), Arc::clone(&self.model.now()[&name]));
        match self.rng.below(8) {
            0..3 => self.hold_values(&keyspace, &map),
            3 => self.hold_entries(&keyspace, map),
            4..7 => self.hold_iterators(&keyspace, &map),
            _ => {
                for _ in 0..self.rng.below(MOST_SNAPSHOTS) {
                    self.open_snapshot();
                    self.commit();
                    if self.fault != InjectedFault::None || self.model.is_ambiguous() {
                        return;
                    }
                }
            }
        }
    }

    fn hold_values(&mut self, keyspace: &Keyspace, map: &Map) {
        let count = self.rng.below(60);
        self.note(format!("hold {count} values"));
        for _ in 0..count {
            let key = generate::key(&mut self.rng);
            let found = keyspace.get(&key);
            let Some(found) = self.excuse(found) else { return };
            assert_eq!(found.as_deref(), map.get(&key).map(|value| &value[..]));
            if let Some(value) = found {
                self.held.push(Holding::Value(value, Arc::clone(&map[&key])));
            }
        }
    }

    /// Holds all entries of a keyspace, which are often more than fit into the cache.
    fn hold_entries(&mut self, keyspace: &Keyspace, map: Arc<Map>) {
        self.note(format!("hold {} entries", map.len()));
        let all = keyspace.iter().and_then(Iterator::collect);
        if let Some(all) = self.excuse(all) {
            self.held.push(Holding::Entries(all, map));
        }
    }

    fn hold_iterators(&mut self, keyspace: &Keyspace, map: &Map) {
        let count = self.rng.below(MOST_ITERATORS);
        self.note(format!("hold {count} iterators"));
        for _ in 0..count {
            let from = generate::key(&mut self.rng);
            let left = map.range(from.clone()..).map(|(key, value)| (key.clone(), value.clone()));
            let left = left.collect();
            let range = keyspace.range(from..);
            let Some(range) = self.excuse(range) else { return };
            let mut iterating = Box::new(Iterating { range, left });
            if self.go_on(&mut iterating) {
                self.held.push(Holding::Iterator(iterating));
            }
        }
    }

    /// Takes a few steps from either end. False if the iterator has ended.
    fn go_on(&mut self, iterating: &mut Iterating) -> bool {
        let Iterating { range, left } = iterating;
        for _ in 0..self.rng.below(6) {
            let from_front = self.rng.once_in(2);
            let found = if from_front { range.next() } else { range.next_back() };
            let found = found.transpose();
            let Some(found) = self.excuse(found) else { return false };
            let wanted = if from_front { left.pop_front() } else { left.pop_back() };
            let is_same = match (&found, &wanted) {
                (Some(entry), Some((key, value))) => {
                    entry.key() == &key[..] && entry.value() == &value[..]
                }
                (found, wanted) => found.is_none() && wanted.is_none(),
            };
            assert!(is_same, "a held iterator returned {found:?}, not {wanted:?}");
            if found.is_none() {
                return false;
            }
        }
        true
    }

    /// Checks one held object.
    pub(crate) fn look_at_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let at = self.rng.below(self.held.len() as u64) as usize;
        if let Holding::Iterator(_) = self.held[at] {
            let Holding::Iterator(mut iterating) = self.held.swap_remove(at) else { return };
            if self.go_on(&mut iterating) {
                self.held.push(Holding::Iterator(iterating));
            }
            return;
        }
        self.held[at].check();
    }

    /// Drops many of the held objects: the oldest first, the newest first, or in random order.
    pub(crate) fn drop_held(&mut self) {
        let order = self.rng.below(3);
        let count = self.rng.below(self.held.len() as u64 + 1);
        self.note(format!("drop {count} held objects, order {order}"));
        for _ in 0..count {
            let at = match order {
                0 => 0,
                1 => self.held.len() - 1,
                _ => self.rng.below(self.held.len() as u64) as usize,
            };
            self.held.remove(at).check();
        }
        for _ in 0..self.rng.below(self.snapshots.len() as u64 + 1) {
            let at = match order {
                0 => 0,
                1 => self.snapshots.len() - 1,
                _ => self.rng.below(self.snapshots.len() as u64) as usize,
            };
            self.snapshots.remove(at);
        }
    }

    /// Drops the held objects that belong to the open store. Values do not.
    pub(crate) fn drop_iterators(&mut self) {
        self.held.retain(|held| !matches!(held, Holding::Iterator(_)));
        self.held.iter().for_each(Holding::check);
    }
}

impl Holding {
    fn check(&self) {
        match self {
            Holding::Value(value, expected) => assert_eq!(**value, **expected, "a held value"),
            Holding::Entries(entries, map) => {
                assert_eq!(entries.len(), map.len());
                for (entry, (key, value)) in entries.iter().zip(&**map) {
                    assert_eq!((entry.key(), entry.value()), (&key[..], &value[..]));
                }
            }
            Holding::Iterator(_) => {}
        }
    }
}
