//! Reads a store in every way. The caller compares the hash of a forward scan with the history; all
//! other ways to read must agree with the scan.
//!
//! | effort | reads of each keyspace |
//! |---|---|
//! | glance | `len`, `last`, `get` of the last key |
//! | thorough | also `first`, the scan backwards, `get` and `contains_key` of up to 64 keys and of absent keys, prefixes, bounds of each kind |

use std::collections::BTreeMap;
use std::ops::Bound;

use super::contents::{KeyspaceNo, entry_hash, keyspace_hash, keyspace_name};
use crate::engine::base::random::SplitMix64;
use crate::{Error, Keyspace, Snapshot, Store};

/// Keys per keyspace that a thorough look gets.
const GETS: usize = 64;
/// Pairs of bounds, and prefixes, per keyspace.
const RANGES: usize = 4;

/// How much a look reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    Glance,
    /// The seed picks the keys, bounds and prefixes.
    Thorough(u64),
}

/// Why a look failed.
#[derive(Debug)]
pub(crate) enum LookError {
    /// The store answered with an error.
    Refused(Error),
    /// Two ways to read disagree.
    Disagrees(String),
}

impl From<Error> for LookError {
    fn from(error: Error) -> LookError {
        LookError::Refused(error)
    }
}

/// The hash of a scan of `store`, and the number of its keys, in all keyspaces except `without`.
pub(crate) fn look(
    store: &Store,
    effort: Effort,
    without: Option<&str>,
) -> Result<(u64, u64), LookError> {
    let (mut hash, mut keys) = (0u64, 0);
    for name in store.keyspaces() {
        if without == Some(name.as_str()) {
            continue;
        }
        let Some(keyspace) = store.open_keyspace(&name)? else {
            hash = hash.wrapping_add(keyspace_hash(&name));
            continue;
        };
        let found = look_at(Source { keyspace: &keyspace, snapshot: None }, &name, effort)?;
        hash = hash.wrapping_add(found.0);
        keys += found.1;
    }
    Ok((hash, keys))
}

/// As [`look`], through a snapshot, in `keyspaces`.
pub(crate) fn look_back(
    snapshot: &Snapshot,
    keyspaces: &BTreeMap<KeyspaceNo, Keyspace>,
    effort: Effort,
) -> Result<(u64, u64), LookError> {
    let (mut hash, mut keys) = (0u64, 0);
    for (&number, keyspace) in keyspaces {
        let source = Source { keyspace, snapshot: Some(snapshot) };
        let found = look_at(source, &keyspace_name(number), effort)?;
        hash = hash.wrapping_add(found.0);
        keys += found.1;
    }
    Ok((hash, keys))
}

/// The keyspace to read: as it is now, or through a snapshot.
#[derive(Clone, Copy)]
struct Source<'a> {
    keyspace: &'a Keyspace,
    snapshot: Option<&'a Snapshot>,
}

impl<'a> Source<'a> {
    fn range(self, seed: u64, (from, to): Bounds<'_>) -> Result<impl Rows + 'a, Error> {
        let range = match self.snapshot {
            Some(snapshot) => snapshot.range::<&[u8]>(self.keyspace, (from, to)),
            None => self.keyspace.range::<&[u8]>((from, to)),
        };
        Ok(range?.map(move |entry| entry.map(|entry| row_of(seed, &entry))))
    }

    fn prefix(self, seed: u64, prefix: &[u8]) -> Result<impl Rows + 'a, Error> {
        let range = match self.snapshot {
            Some(snapshot) => snapshot.prefix(self.keyspace, prefix),
            None => self.keyspace.prefix(prefix),
        };
        Ok(range?.map(move |entry| entry.map(|entry| row_of(seed, &entry))))
    }

    fn len(self) -> Result<u64, Error> {
        self.snapshot.map_or_else(|| self.keyspace.len(), |snapshot| snapshot.len(self.keyspace))
    }

    /// The hash of the value of a key.
    fn get(self, seed: u64, key: &[u8]) -> Result<Option<u64>, Error> {
        let found = match self.snapshot {
            Some(snapshot) => snapshot.get(self.keyspace, key)?,
            None => self.keyspace.get(key)?,
        };
        Ok(found.map(|value| entry_hash(seed, key, &value)))
    }

    fn contains(self, key: &[u8]) -> Result<bool, Error> {
        match self.snapshot {
            Some(snapshot) => snapshot.contains_key(self.keyspace, key),
            None => self.keyspace.contains_key(key),
        }
    }

    /// The first entry, or the last.
    fn end(self, seed: u64, is_last: bool) -> Result<Option<Row>, Error> {
        let entry = match (self.snapshot, is_last) {
            (Some(snapshot), false) => snapshot.first(self.keyspace)?,
            (Some(snapshot), true) => snapshot.last(self.keyspace)?,
            (None, false) => self.keyspace.first()?,
            (None, true) => self.keyspace.last()?,
        };
        Ok(entry.map(|entry| row_of(seed, &entry)))
    }
}

fn row_of(seed: u64, entry: &crate::Entry) -> Row {
    (entry.key().to_vec(), entry_hash(seed, entry.key(), entry.value()))
}

/// An iterator over entries.
trait Rows: DoubleEndedIterator<Item = Result<Row, Error>> {}

impl<T: DoubleEndedIterator<Item = Result<Row, Error>>> Rows for T {}

/// A key, and the hash of its entry.
type Row = (Vec<u8>, u64);

/// The hash of a keyspace and the number of its keys.
fn look_at(source: Source<'_>, name: &str, effort: Effort) -> Result<(u64, u64), LookError> {
    let seed = keyspace_hash(name);
    let (mut hash, mut keys) = (seed, 0);
    let mut last: Option<Row> = None;
    let mut rows = Vec::new();
    let mut entries = match source.snapshot {
        Some(snapshot) => snapshot.iter(source.keyspace)?,
        None => source.keyspace.iter()?,
    };
    while let Some((key, value)) = entries.next_ref()? {
        let row = entry_hash(seed, key, value);
        hash = hash.wrapping_add(row);
        keys += 1;
        if effort != Effort::Glance {
            rows.push((key.to_vec(), row));
        }
        match &mut last {
            Some((last, of_last)) => {
                if key <= &last[..] {
                    return disagree(name, "keys are not in order");
                }
                last.clear();
                last.extend_from_slice(key);
                *of_last = row;
            }
            None => last = Some((key.to_vec(), row)),
        }
    }
    drop(entries);
    let len = source.len()?;
    if len != keys {
        return disagree(name, &format!("{keys} keys are there, but len says {len}"));
    }
    if source.end(seed, true)? != last {
        return disagree(name, "last is not the last of a scan");
    }
    if let Some((key, row)) = &last
        && source.get(seed, key)? != Some(*row)
    {
        return disagree(name, "get of the last key does not show what a scan shows");
    }
    if let Effort::Thorough(chance) = effort {
        thorough(source, name, seed, &rows, SplitMix64::new(chance))?;
    }
    Ok((hash, keys))
}

fn thorough(
    source: Source<'_>,
    name: &str,
    seed: u64,
    rows: &[Row],
    mut rng: SplitMix64,
) -> Result<(), LookError> {
    if source.end(seed, false)? != rows.first().cloned() {
        return disagree(name, "first is not the first of a scan");
    }
    let all = (Bound::Unbounded, Bound::Unbounded);
    same(name, "a scan backwards", source.range(seed, all)?.rev(), rows.iter().rev())?;
    let first = rng.below(GETS as u64) as usize;
    for (key, row) in rows.iter().skip(first % rows.len().max(1)).take(GETS) {
        if source.get(seed, key)? != Some(*row) || !source.contains(key)? {
            return disagree(
                name,
                &format!("get of {:?} does not show what a scan shows", shown(key)),
            );
        }
        let mut absent = key.clone();
        absent.push(0);
        let is_there = rows.binary_search_by(|(key, _)| key.cmp(&absent)).is_ok();
        if source.contains(&absent)? != is_there || source.get(seed, &absent)?.is_some() != is_there
        {
            let what = format!("get shows {:?}, which a scan does not have", shown(&absent));
            return disagree(name, &what);
        }
    }
    for _ in 0..RANGES {
        let Some([one, other]) = two(rows, &mut rng) else { break };
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        for bounds in bounds(low, high) {
            let within = |key: &[u8]| {
                let is_above = match bounds.0 {
                    Bound::Included(low) => key >= low,
                    Bound::Excluded(low) => key > low,
                    Bound::Unbounded => true,
                };
                let is_below = match bounds.1 {
                    Bound::Included(high) => key <= high,
                    Bound::Excluded(high) => key < high,
                    Bound::Unbounded => true,
                };
                is_above && is_below
            };
            let expected = || rows.iter().filter(|(key, _)| within(key));
            let what = format!("the range {:?}", bounds);
            same(name, &what, source.range(seed, bounds)?, expected())?;
            same(name, &what, source.range(seed, bounds)?.rev(), expected().rev())?;
        }
        let prefix = &one[..rng.below(one.len() as u64 + 1) as usize];
        let expected = || rows.iter().filter(|(key, _)| key.starts_with(prefix));
        let what = format!("the prefix {:?}", shown(prefix));
        same(name, &what, source.prefix(seed, prefix)?, expected())?;
        same(name, &what, source.prefix(seed, prefix)?.rev(), expected().rev())?;
    }
    Ok(())
}

/// Two random keys of `rows`.
fn two<'a>(rows: &'a [Row], rng: &mut SplitMix64) -> Option<[&'a [u8]; 2]> {
    let mut one = || rows.get(rng.below(rows.len().max(1) as u64) as usize).map(|row| &row.0[..]);
    Some([one()?, one()?])
}

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

fn bounds<'a>(low: &'a [u8], high: &'a [u8]) -> [Bounds<'a>; 5] {
    use Bound::{Excluded, Included, Unbounded};
    [
        (Included(low), Excluded(high)),
        (Excluded(low), Included(high)),
        (Included(low), Included(high)),
        (Unbounded, Excluded(low)),
        (Excluded(high), Unbounded),
    ]
}

/// Compares the rows that were read with those of a scan.
fn same<'e>(
    name: &str,
    what: &str,
    found: impl Iterator<Item = Result<Row, Error>>,
    mut expected: impl Iterator<Item = &'e Row>,
) -> Result<(), LookError> {
    for row in found {
        let row = row?;
        if expected.next() != Some(&row) {
            return disagree(name, &format!("{what} shows {:?} out of place", shown(&row.0)));
        }
    }
    match expected.next() {
        Some((key, _)) => disagree(name, &format!("{what} does not show {:?}", shown(key))),
        None => Ok(()),
    }
}

fn disagree<T>(keyspace: &str, what: &str) -> Result<T, LookError> {
    Err(LookError::Disagrees(format!("in keyspace {keyspace}: {what}")))
}

fn shown(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}
