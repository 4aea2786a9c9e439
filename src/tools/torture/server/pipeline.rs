//! Pipelined writes: one connection sends puts, deletes and batches of one key at once, some with an
//! idempotency key. The keyspace is larger than the cache, so that some find their leaf in memory and
//! others do not.
//!
//! The writes of a connection take effect in the order in which they were sent. So the key shows the
//! last of them when all were answered. After a kill it shows the last answered one or a later one.

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::super::Clause;
use super::super::sim::Violation;
use super::books::{Books, COLD, Key, Sent, Version, keyspace_of, name, shown, value};
use super::life::{read, send};
use crate::CommitMode;
use crate::engine::disk::sim::rng::SplitMix64;
use crate::net::client::{Batch, Client, Result as Answered, Write};

/// Rows of the keyspace, each in a leaf with few others: one and a half times the cache.
const ROWS: u64 = 6000;
const ROW_BYTES: usize = 1000;
const BATCH: u64 = 200;
/// Most writes of a key at once.
const MOST: u64 = 12;

/// Fills the keyspace.
pub(super) async fn fill(client: &Client) -> Answered<()> {
    client.keyspace(keyspace_of(COLD)).await?;
    for first in (0..ROWS).step_by(BATCH as usize) {
        let mut batch = Batch::new();
        for row in first..first + BATCH {
            batch.put(keyspace_of(COLD), row_key(row), vec![row as u8; ROW_BYTES]);
        }
        client.write(&batch, CommitMode::Async).await?;
    }
    Ok(())
}

fn row_key(row: u64) -> String {
    format!("row-{row:05}")
}

/// Sends some writes of a new key at once, and reads it when all were answered. The caller judges an
/// error of the client.
pub(super) async fn pipeline(
    client: &Client,
    books: &Mutex<Books>,
    writer: u64,
    rng: &mut SplitMix64,
) -> Answered<Result<(), Violation>> {
    let key: Key = (COLD, format!("{}/{writer}-{:x}", row_key(rng.below(ROWS)), rng.next()));
    let count = 2 + rng.below(MOST - 1);
    let versions: Vec<Version> = (1..=count).map(|n| (rng.below(3) > 0).then_some(n)).collect();
    books.lock().pipe(&key, &versions);
    let writes = versions.iter().enumerate().map(|(at, &version)| {
        let how: Write = if rng.below(4) == 0 { Write::job() } else { CommitMode::Async.into() };
        let how = if rng.below(4) == 0 { how.once(format!("{} {at}", key.1)) } else { how };
        let is_batch = rng.below(4) == 0;
        let key = &key;
        async move {
            if is_batch {
                let mut batch = Batch::new();
                batch.put(keyspace_of(COLD), &key.1, value(key, count + 1));
                match version {
                    Some(version) => batch.put(keyspace_of(COLD), &key.1, value(key, version)),
                    None => batch.delete(keyspace_of(COLD), &key.1),
                }
                client.write(&batch, how).await?;
            } else {
                let changes = vec![(key.clone(), version)];
                send(client, &Sent { changes, once: None, how: "pipelined" }, how).await?;
            }
            books.lock().piped(key, at + 1);
            Ok(())
        }
    });
    let answers: Vec<Answered<()>> = join_all(writes).await;
    answers.into_iter().collect::<Answered<()>>()?;
    let found = match read(client, &key).await? {
        Ok(found) => found,
        Err(violation) => return Ok(Err(violation)),
    };
    let last = *versions.last().expect("at least two");
    Ok(match found == last {
        true => Ok(()),
        false => Err(Violation::safety(format!(
            "{} is {} after {count} writes sent at once: the last was {}",
            name(&key),
            shown(found),
            shown(last)
        ))),
    })
}

/// Judges the keys of pipelined writes after a kill. Returns their number.
pub(super) async fn judge(
    client: &Client,
    books: &Mutex<Books>,
) -> Answered<Result<u64, Violation>> {
    let pipes = books.lock().take_pipes();
    for (key, pipe) in &pipes {
        let found = match read(client, key).await? {
            Ok(found) => found,
            Err(violation) => return Ok(Err(violation)),
        };
        if !pipe.may_show(found) {
            let what = format!(
                "{} is {}; {} of the writes {:?}, sent at once, were answered",
                name(key),
                shown(found),
                pipe.answered,
                pipe.sent
            );
            return Ok(Err(Violation::of(Clause::Bounds, what)));
        }
    }
    Ok(Ok(pipes.len() as u64))
}
