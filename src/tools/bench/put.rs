//! Puts in the loops of several workloads.

use super::engine::{Database, Session};
use super::error::BenchError;
use super::rows::{KEY_BYTES, Key, Order, key};
use super::stage::BATCH_ROWS;
use super::stock::Contents;
use super::values::Value;

/// Shows every row of a store to `seen`.
pub(super) fn scan_all(
    session: &mut dyn Session,
    seen: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<usize, BenchError> {
    // Not every engine accepts an empty key. No row has a smaller key than this.
    session.scan(&[0], usize::MAX, seen)
}

/// Puts the rows `first`, `first + step`, ... of `keys`, one to a commit, and starts over.
pub(super) fn puts<'s>(
    session: &'s mut dyn Session,
    first: u64,
    step: u64,
    keys: u64,
    value_bytes: usize,
) -> impl FnMut() -> Result<usize, BenchError> + Send + use<'s> {
    let mut number = first % keys;
    let mut value = Value::of(value_bytes);
    move || {
        session.put(&key(number), value.row(number))?;
        number = (number + step) % keys;
        Ok(1)
    }
}

/// Puts all of `keys` rows, a batch at a time, and starts over.
pub(super) fn batches<'s>(
    session: &'s mut dyn Session,
    order: Order,
    rows: usize,
    keys: u64,
    value_bytes: usize,
) -> impl FnMut() -> Result<usize, BenchError> + Send + use<'s> {
    let mut batch = Batch::new(rows, value_bytes);
    let mut number = 0;
    move || {
        // The last batch of all ends with the last row.
        let here = rows.min((keys - number) as usize);
        batch.commit(session, order, (number..).take(here))?;
        number = (number + here as u64) % keys;
        Ok(here)
    }
}

/// Puts batches of the rows that `next` names.
pub(super) fn put_some<'s>(
    session: &'s mut dyn Session,
    rows: usize,
    value_bytes: usize,
    mut next: impl FnMut(&mut [u64]) + Send + 's,
) -> impl FnMut() -> Result<usize, BenchError> + Send + 's {
    let mut batch = Batch::new(rows, value_bytes);
    let mut numbers = vec![0; rows];
    move || {
        next(&mut numbers);
        batch.commit(session, Order::Random, numbers.iter().copied())?;
        Ok(rows)
    }
}

/// Puts all rows of `contents` into an empty store, in batches.
pub(super) fn fill_store(database: &dyn Database, contents: Contents) -> Result<(), BenchError> {
    put_back(&mut *database.session(), contents.keys, contents.value_bytes)
}

/// Puts the first `rows` rows, in batches.
pub(super) fn put_back(
    session: &mut dyn Session,
    rows: u64,
    value_bytes: usize,
) -> Result<(), BenchError> {
    // A batch has no more than two mebibytes of values.
    let batch = ((2 << 20) / value_bytes).clamp(1, BATCH_ROWS);
    if rows == 0 {
        return Ok(());
    }
    let mut put = batches(session, Order::Random, batch, rows, value_bytes);
    (0..rows.div_ceil(batch as u64)).try_for_each(|_| put().map(drop))
}

/// The rows of a commit, made in the same memory each time.
struct Batch {
    keys: Vec<Key>,
    values: Vec<Value>,
}

impl Batch {
    fn new(rows: usize, value_bytes: usize) -> Batch {
        let values = (0..rows).map(|_| Value::of(value_bytes)).collect();
        Batch { keys: vec![[0; KEY_BYTES]; rows], values }
    }

    /// Puts the rows `numbers`.
    fn commit(
        &mut self,
        session: &mut dyn Session,
        order: Order,
        numbers: impl Iterator<Item = u64>,
    ) -> Result<(), BenchError> {
        let mut batch: Vec<(&[u8], &[u8])> = Vec::with_capacity(self.keys.len());
        for ((key, value), number) in self.keys.iter_mut().zip(&mut self.values).zip(numbers) {
            *key = order.key(number);
            batch.push((&*key, value.row(number)));
        }
        session.put_batch(&batch)
    }
}
