//! Gets that came behind many writes are answered before them.
//!
//! A connection takes a limited number of requests per turn, so a get behind a thousand writes would
//! wait for a thousand commits. So the session looks ahead in the input that it has read and not yet
//! taken:
//!
//! ```text
//!   taken | put  put  put  get  put  put  get | flush  get ...
//!         '-- writes ---------> these two gets are answered now, and skipped in their turn;
//!                               a get overtakes nothing but gets and single puts and deletes
//! ```
//!
//! - OVERTAKE-1 a get overtakes only writes that do not name its key: if the key's bytes are anywhere
//!   in those that it would overtake, it waits for its turn, and so does everything behind it; the
//!   same if a write names it that was taken and has not ended (WRITES-3);
//! - OVERTAKE-2 a get that cannot be answered at once waits for its turn;
//! - OVERTAKE-3 an answered get is not taken again: its place in the input is remembered until the
//!   input is taken up to there;
//! - OVERTAKE-4 to look ahead costs no more than to take: each packet's header is read once, the
//!   search for keys is limited per turn ([`SEARCHED`]), and answers count against the turn's budget.

use std::collections::VecDeque;
use std::ops::Range;

use memchr::memmem;

/// Bytes that one turn searches for keys: about 50 us.
pub(super) const SEARCHED: usize = 1 << 20;

/// How far the session has looked into the input that is not yet taken.
#[derive(Debug, Default)]
pub(super) struct LookAhead {
    /// Bytes that were looked at.
    seen: usize,
    /// Where the packets are that are answered. No two ranges touch.
    answered: VecDeque<Range<usize>>,
}

impl LookAhead {
    /// Bytes of the input that were looked at.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Passes a write of `len` bytes, which stays in the input.
    pub(super) fn pass(&mut self, len: usize) {
        self.seen += len;
    }

    /// Passes a get of `len` bytes, which is answered.
    pub(super) fn pass_answered(&mut self, len: usize) {
        let get = self.seen..self.seen + len;
        match self.answered.back_mut() {
            Some(last) if last.end == get.start => last.end = get.end,
            _ => self.answered.push_back(get),
        }
        self.seen += len;
    }

    /// Where to go on, if the packets from `at` on are answered already.
    pub(super) fn skip(&mut self, at: usize) -> Option<usize> {
        let answered = self.answered.pop_front_if(|answered| answered.start == at)?;
        Some(answered.end)
    }

    /// The input was taken up to `used`.
    pub(super) fn taken(&mut self, used: usize) {
        self.seen = self.seen.saturating_sub(used);
        for answered in &mut self.answered {
            assert!(
                answered.start >= used,
                "OVERTAKE-3: an answered packet is skipped when its turn comes"
            );
            *answered = answered.start - used..answered.end - used;
        }
    }

    /// Whether a write in `input` may name this key. If `left` bytes are too few to tell, it may.
    pub(super) fn is_named(&self, input: &[u8], key: &[u8], left: &mut usize) -> bool {
        let finder = memmem::Finder::new(key);
        let mut may_name = |writes: &[u8]| {
            let is_long = writes.len() > *left;
            *left -= writes.len().min(*left);
            is_long || finder.find(writes).is_some()
        };
        let mut start = 0;
        for answered in &self.answered {
            if may_name(&input[start..answered.start]) {
                return true;
            }
            start = answered.end;
        }
        may_name(&input[start..])
    }
}
