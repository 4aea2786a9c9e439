//! Every way to read the store and a snapshot, compared with a map.

use std::ops::Bound;
use std::sync::Arc;

use syncline::{Entry, Keyspace, Range, Snapshot, Value};

use crate::contents::{Failed, wrong};
use crate::generate;
use crate::model::Map;
use crate::random::SplitMix64;

/// Where to read.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Now(&'a Keyspace),
    At(&'a Snapshot, &'a Keyspace),
}

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

impl<'a> Source<'a> {
    fn get(self, key: &[u8]) -> syncline::Result<Option<Value>> {
        match self {
            Source::Now(keyspace) => keyspace.get(key),
            Source::At(snapshot, keyspace) => snapshot.get(keyspace, key),
        }
    }

    fn contains_key(self, key: &[u8]) -> syncline::Result<bool> {
        match self {
            Source::Now(keyspace) => keyspace.contains_key(key),
            Source::At(snapshot, keyspace) => snapshot.contains_key(keyspace, key),
        }
    }

    fn range(self, bounds: Bounds) -> syncline::Result<Range> {
        match self {
            Source::Now(keyspace) => keyspace.range::<Vec<u8>>(bounds),
            Source::At(snapshot, keyspace) => snapshot.range::<Vec<u8>>(keyspace, bounds),
        }
    }

    fn prefix(self, prefix: &[u8]) -> syncline::Result<Range> {
        match self {
            Source::Now(keyspace) => keyspace.prefix(prefix),
            Source::At(snapshot, keyspace) => snapshot.prefix(keyspace, prefix),
        }
    }

    fn iter(self) -> syncline::Result<Range> {
        match self {
            Source::Now(keyspace) => keyspace.iter(),
            Source::At(snapshot, keyspace) => snapshot.iter(keyspace),
        }
    }

    fn ends(self) -> syncline::Result<[Option<Entry>; 2]> {
        Ok(match self {
            Source::Now(keyspace) => [keyspace.first()?, keyspace.last()?],
            Source::At(snapshot, keyspace) => [snapshot.first(keyspace)?, snapshot.last(keyspace)?],
        })
    }

    fn len(self) -> syncline::Result<(u64, bool)> {
        Ok(match self {
            Source::Now(keyspace) => (keyspace.len()?, keyspace.is_empty()?),
            Source::At(snapshot, keyspace) => {
                (snapshot.len(keyspace)?, snapshot.is_empty(keyspace)?)
            }
        })
    }
}

/// Reads in one random way, and compares.
pub(crate) fn check(
    source: Source<'_>,
    expected: &Map,
    rng: &mut SplitMix64,
) -> Result<(), Failed> {
    match rng.below(12) {
        0..4 => {
            for _ in 0..4 {
                let key = some_key(expected, rng);
                let found = source.get(&key)?;
                same(&key, found.as_deref(), expected.get(&key).map(|value| &value[..]))?;
            }
        }
        4 => {
            let key = some_key(expected, rng);
            let (found, wanted) = (source.contains_key(&key)?, expected.contains_key(&key));
            if found != wanted {
                return wrong(format!("contains {}: {found}", key.escape_ascii()));
            }
        }
        5..8 => {
            let bounds = some_bounds(expected, rng);
            let inside = |key: &Vec<u8>| is_inside(key, &bounds);
            let expected: Vec<_> = expected.iter().filter(|(key, _)| inside(key)).collect();
            walk(source.range(bounds.clone())?, &expected, rng)?;
        }
        8 => {
            let mut prefix = some_key(expected, rng);
            prefix.truncate(rng.below(4) as usize);
            let expected: Vec<_> =
                expected.iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
            walk(source.prefix(&prefix)?, &expected, rng)?;
        }
        9 => walk(source.iter()?, &expected.iter().collect::<Vec<_>>(), rng)?,
        10 => {
            let wanted = [expected.first_key_value(), expected.last_key_value()];
            for (found, wanted) in source.ends()?.into_iter().zip(wanted) {
                let wanted = wanted.map(|(key, value)| (key.clone(), value.to_vec()));
                if found.map(Entry::into_pair) != wanted {
                    return wrong("the first or the last entry".to_owned());
                }
            }
        }
        _ => {
            let wanted = (expected.len() as u64, expected.is_empty());
            if source.len()? != wanted {
                return wrong(format!("len {:?}, not {wanted:?}", source.len()?));
            }
        }
    }
    Ok(())
}

/// Walks from either or both ends, perhaps not to the end.
pub(crate) fn walk(
    mut range: Range,
    expected: &[(&Vec<u8>, &Arc<[u8]>)],
    rng: &mut SplitMix64,
) -> Result<(), Failed> {
    let style = rng.below(4);
    let steps = if rng.once_in(3) { rng.below(20) as usize } else { usize::MAX };
    let mut left = expected.iter();
    for _ in 0..steps {
        let from_front = style == 0 || style > 1 && rng.once_in(2);
        let wanted = if from_front { left.next() } else { left.next_back() };
        let borrowed = from_front && rng.once_in(4);
        let found = if borrowed {
            range.next_ref()?.map(|(key, value)| (key.to_vec(), value.to_vec()))
        } else {
            let entry = if from_front { range.next() } else { range.next_back() };
            entry.transpose()?.map(Entry::into_pair)
        };
        match (&found, wanted) {
            (None, None) => return Ok(()),
            (Some((key, value)), Some((wanted, bytes)))
                if key == *wanted && **value == ***bytes => {}
            _ => {
                let found = found.map(|(key, value)| (key.escape_ascii().to_string(), value.len()));
                let wanted =
                    wanted.map(|(key, value)| (key.escape_ascii().to_string(), value.len()));
                return wrong(format!("an iterator gives {found:?}, not {wanted:?}"));
            }
        }
    }
    Ok(())
}

fn same(key: &[u8], found: Option<&[u8]>, wanted: Option<&[u8]>) -> Result<(), Failed> {
    if found == wanted {
        return Ok(());
    }
    let show = |value: Option<&[u8]>| value.map(|v| (v.len(), v[..v.len().min(12)].to_vec()));
    let key = key.escape_ascii();
    wrong(format!("get {key}: found {:?}, not {:?}", show(found), show(wanted)))
}

/// A key, which usually exists.
fn some_key(map: &Map, rng: &mut SplitMix64) -> Vec<u8> {
    let key = generate::key(rng);
    match rng.below(4) {
        0 => key,
        _ => map.range(key.clone()..).next().map_or(key, |(key, _)| key.clone()),
    }
}

fn some_bounds(map: &Map, rng: &mut SplitMix64) -> Bounds {
    let mut bound = || {
        let key = some_key(map, rng);
        match rng.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(key),
            _ => Bound::Excluded(key),
        }
    };
    (bound(), bound())
}

fn is_inside(key: &Vec<u8>, (from, to): &Bounds) -> bool {
    let after = match from {
        Bound::Unbounded => true,
        Bound::Included(from) => key >= from,
        Bound::Excluded(from) => key > from,
    };
    let before = match to {
        Bound::Unbounded => true,
        Bound::Included(to) => key <= to,
        Bound::Excluded(to) => key < to,
    };
    after && before
}
