//! Reads that need no new transaction.
//!
//! Some engines read only inside a transaction, and beginning one costs as much as a lookup. Their
//! documentation advises to keep one open for many reads. Here a session keeps its own until
//! somebody has committed since it was begun:
//!
//! ```text
//!   commit ... acknowledged   Turns::advance
//!   get, scan                 Turns::now; as when the transaction began? then it sees everything
//! ```
//!
//! - TURN-1 `turn when the transaction began <= turn of the last acknowledged commit`; if they are
//!   equal, the transaction sees every acknowledged commit, hence PEERS-2.
//! - TURN-2 A session that writes drops its read transaction first, so that no idle writer keeps old
//!   pages alive.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts acknowledged commits.
#[derive(Default)]
pub(crate) struct Turns(AtomicU64);

impl Turns {
    /// A commit is about to be acknowledged.
    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// To be read before a transaction is begun.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A read transaction, or whatever stands for one, with the turn at which it began.
#[cfg(any(feature = "canopydb", feature = "lmdb", feature = "lmdb1", feature = "redb"))]
pub(crate) struct Kept<T>(Option<(u64, T)>);

#[cfg(any(feature = "canopydb", feature = "lmdb", feature = "lmdb1", feature = "redb"))]
impl<T> Kept<T> {
    pub(crate) const fn new() -> Kept<T> {
        Kept(None)
    }

    /// The kept transaction if it still sees everything, else a new one.
    pub(crate) fn current<E>(
        &mut self,
        turns: &Turns,
        begin: impl FnOnce() -> Result<T, E>,
    ) -> Result<&mut T, E> {
        let now = turns.now();
        if self.0.as_ref().is_none_or(|(turn, _)| *turn != now) {
            // The old one ends first, so that the engine can use its place again.
            self.0 = None;
            self.0 = Some((now, begin()?));
        }
        let (_, kept) = self.0.as_mut().expect("kept just now");
        Ok(kept)
    }

    /// Ends it.
    pub(crate) fn end(&mut self) {
        self.0 = None;
    }
}

#[cfg(all(test, any(feature = "canopydb", feature = "lmdb", feature = "lmdb1", feature = "redb")))]
mod tests {
    use super::*;

    #[test]
    fn a_commit_ends_what_was_kept() {
        let (turns, mut kept, mut begun) = (Turns::default(), Kept::new(), 0);
        let mut read = |turns: &Turns| {
            let begin = || {
                begun += 1;
                Ok::<u32, ()>(begun)
            };
            *kept.current(turns, begin).unwrap()
        };
        assert_eq!([read(&turns), read(&turns)], [1, 1]);
        turns.advance();
        assert_eq!([read(&turns), read(&turns)], [2, 2]);
    }
}
