//! The status of a commit, from its token alone.
//!
//! | the token's incarnation is | its LSN is | the commit is |
//! |---|---|---|
//! | the present one | at or below `durable` | durable |
//! | the present one | above it | pending; after a failed flush an error |
//! | a former one | at or below its end | durable |
//! | a former one | above its end | lost, for ever |
//! | one that this copy of the store never had | any | [`Error::UnknownLife`] |
//!
//! - RECEIPT-1 a token is judged only by its own incarnation: number and mark must both be those of an
//!   incarnation that this copy has had. A restored copy never had the later lives of the original, and
//!   uses their numbers and positions again, with other marks.
//! - RECEIPT-2 a text with a lost or changed character is refused by its check, and so is a position at
//!   which no record can end.
//!
//! Left out: tokens of incarnations that began under format version 1 have neither mark nor check. They
//! are compared by number alone, and only with incarnations without a mark. Below the end of a life the
//! store does not look up whether a commit ended at a position: the log that could tell is recycled.

use super::receipt::{Status, Token};
use crate::engine::base::codec::get_u64;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Incarnation, LifeMark, Lsn};
use crate::engine::commit::{Engine, catalog_key};
use crate::engine::log::is_end_of_record;
use crate::engine::mutants::mutant;
use crate::engine::space::PageId;
use crate::engine::tree::{ReadAt, Value, lookup};

/// The status of the commit with this token.
pub(super) fn status(engine: &Engine, text: &str) -> Result<Status> {
    let token: Token = text.parse()?;
    let lsn = token.lsn;
    let invalid = |reason: String| Err(Error::InvalidToken { token: text.to_owned(), reason });
    if token.store != engine.store_id() {
        return invalid(format!("belongs to store {}", token.store));
    }
    if !is_end_of_record(lsn, engine.space().superblock().segment_bytes) {
        return invalid(format!("no commit ends at LSN {lsn}"));
    }
    if let Some(end) = judge_life(engine, &token, text)? {
        return Ok(if lsn <= end { Status::Durable } else { Status::Lost });
    }
    let now = engine.watermarks();
    if lsn <= mutant!(PendingToldDurable: now.durable => now.appended) {
        return Ok(Status::Durable);
    }
    if lsn > now.appended && engine.log().is_none() {
        return Ok(Status::Lost); // that life has ended, and no other has begun
    }
    if lsn > now.appended {
        return invalid("the store has made no such commit".into());
    }
    mutant!(PendingToldLost => return Ok(Status::Lost));
    mutant!(PoisonUntold => return Ok(Status::Pending));
    let poisoned = engine.poisoned();
    poisoned.map_or(Ok(Status::Pending), |error| Err(error.after_append(lsn)))
}

/// The end of the life that a token of this store names; `None` if it is the present life.
///
/// # Errors
/// [`Error::UnknownLife`] if this copy of the store never had it (RECEIPT-1).
pub(super) fn judge_life(engine: &Engine, token: &Token, text: &str) -> Result<Option<Lsn>> {
    let Token { incarnation, mark, .. } = *token;
    let is_same = |had: LifeMark| mutant!(LifeMarkUnchecked: had == mark => true);
    let now = engine.life();
    if incarnation == now.incarnation && is_same(now.mark) {
        return Ok(None);
    }
    match ended(engine, incarnation)? {
        Some((had, end)) if incarnation != now.incarnation && is_same(had) => Ok(Some(end)),
        _ => {
            let token = text.chars().take(100).collect();
            Err(Error::UnknownLife { token, incarnation })
        }
    }
}

/// The token of a commit, from its incarnation and LSN.
#[cfg(feature = "cli")]
pub(super) fn token_of(engine: &Engine, incarnation: Incarnation, lsn: Lsn) -> Result<String> {
    let now = engine.life();
    let mark = match incarnation == now.incarnation {
        true => now.mark,
        false => ended(engine, incarnation)?.map_or(LifeMark::NONE, |(mark, _)| mark),
    };
    Ok(Token { store: engine.store_id(), incarnation, mark, lsn }.to_string())
}

/// The mark of a former incarnation, and where it ended.
fn ended(engine: &Engine, incarnation: Incarnation) -> Result<Option<(LifeMark, Lsn)>> {
    let head = engine.space().superblock().head;
    if head.former == incarnation && incarnation != Incarnation::new(0) {
        return Ok(Some((head.former_mark, head.former_end)));
    }
    let root = engine.lock_commits().trees.catalog_root;
    if root == PageId::NONE {
        return Ok(None);
    }
    let key = catalog_key::incarnation(incarnation);
    let ended = lookup(engine.cache(), root, &key, ReadAt::Newest, |value| {
        let Value::Inline(ended) = value? else { return None };
        match ended.len() {
            8 => Some((LifeMark::NONE, Lsn::new(get_u64(ended, 0)))),
            16 => Some((LifeMark(get_u64(ended, 8)), Lsn::new(get_u64(ended, 0)))),
            _ => None,
        }
    })?;
    Ok(mutant!(TokenJudgedByWrongEnd: ended => ended.map(|(mark, _)| (mark, head.former_end))))
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::disk::{Keep, SimDisk};
    use crate::{Options, Store};

    fn open(disk: &SimDisk) -> Store {
        let options = Options::new().without_threads().store_id([7; 16]);
        options.open_on(Arc::new(disk.clone())).unwrap()
    }

    /// Commits once, closes the store, and returns the token.
    fn live_on(disk: &SimDisk) -> String {
        let store = open(disk);
        let token = store.keyspace("rows").unwrap().put("key", "value").unwrap().token();
        assert_eq!(store.status(&token).unwrap(), Status::Durable);
        store.close().unwrap();
        token
    }

    /// As after a backup was restored: the copy uses incarnation and LSN again.
    #[test]
    fn a_token_of_a_life_that_only_another_copy_had_is_refused() {
        let disk = SimDisk::new();
        let common = live_on(&disk);
        let copy = disk.fork(Keep::Everything);
        copy.set_seed(1);
        let (here, there) = (live_on(&disk), live_on(&copy));
        let life_and_lsn = |token: &str| {
            let token: Token = token.parse().unwrap();
            (token.incarnation, token.lsn)
        };
        assert_eq!(life_and_lsn(&here), life_and_lsn(&there), "told apart by the mark alone");
        for (disk, own, other) in [(&disk, &here, &there), (&copy, &there, &here)] {
            for _ in 0..2 {
                let store = open(disk);
                assert_eq!(store.status(own).unwrap(), Status::Durable);
                assert_eq!(store.status(&common).unwrap(), Status::Durable);
                let told = store.status(other);
                assert!(matches!(told, Err(Error::UnknownLife { .. })), "{told:?}");
                store.close().unwrap();
                live_on(disk); // a former life from now on
            }
        }
    }

    #[test]
    fn a_position_at_which_no_record_ends_is_refused() {
        let disk = SimDisk::new();
        let token: Token = live_on(&disk).parse().unwrap();
        let store = open(&disk);
        let (end, segment) = (token.lsn.get(), store.engine().space().superblock().segment_bytes);
        for lsn in [end - 1, end + 1, end - 4, end - end % segment + 8] {
            let wrong = Token { lsn: Lsn::new(lsn), ..token }.to_string();
            let told = store.status(&wrong);
            assert!(matches!(told, Err(Error::InvalidToken { .. })), "{lsn}: {told:?}");
        }
        // That life has ended: a commit that it never had is absent, for ever.
        let beyond = Token { lsn: Lsn::new(u64::MAX - 7), ..token }.to_string();
        assert_eq!(store.status(&beyond).unwrap(), Status::Lost);
    }
}
