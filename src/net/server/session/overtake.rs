//! Gets that came behind many writes are answered before them.
//!
//! A connection takes so many requests in one turn, and a get behind a thousand writes would wait
//! for a thousand commits. So the session looks ahead in what has been read and not yet taken:
//!
//! ```text
//!   taken | put  put  put  get  put  put  get | flush  get ...
//!         '-- writes ---------> these two are answered now, and skipped when it comes to them;
//!                               nothing overtakes what is neither a get nor one put or delete
//! ```
//!
//! - OVERTAKE-1 a get overtakes only writes that do not name its key: if the key's bytes are anywhere in
//!   those that it would overtake, it waits for its turn, and so does everything behind it; the same
//!   if one of the writes names it that were taken and have not ended (WRITES-3);
//! - OVERTAKE-2 a get that cannot be answered at once waits for its turn;
//! - OVERTAKE-3 what was answered is not taken again: its place in the input is remembered until the input
//!   is taken up to there;
//! - OVERTAKE-4 to look costs no more than to take: each packet's header is looked at once, keys are searched
//!   for in so many bytes a turn ([`SEARCHED`]), and what is answered is of the turn's budget.

use std::collections::VecDeque;
use std::ops::Range;

use memchr::memmem;

use super::{Phase, Session};
use crate::net::proto::{Get, Kind, Packet, Progress, Request, decode, peek};
use crate::net::service::Reply;

/// Bytes in which keys are searched for in one turn: some 50 us.
const SEARCHED: usize = 1 << 20;

/// How far the session has looked into the input that is not yet taken.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Bytes that were looked at.
    seen: usize,
    /// Where the packets are that are answered. There is something between any two ranges.
    answered: VecDeque<Range<usize>>,
}

impl Ahead {
    /// Where to go on if the packets from `at` on are answered already.
    pub(super) fn skip(&mut self, at: usize) -> Option<usize> {
        let answered = self.answered.pop_front_if(|answered| answered.start == at)?;
        Some(answered.end)
    }

    /// The get that was looked at last is answered.
    fn answered(&mut self, get: Range<usize>) {
        match self.answered.back_mut() {
            Some(last) if last.end == get.start => last.end = get.end,
            _ => self.answered.push_back(get),
        }
    }

    /// The input was taken up to `used`.
    pub(super) fn taken(&mut self, used: usize) {
        self.seen = self.seen.saturating_sub(used);
        for answered in &mut self.answered {
            assert!(
                answered.start >= used,
                "OVERTAKE-3: what is answered is skipped when it is taken"
            );
            *answered = answered.start - used..answered.end - used;
        }
    }

    /// Whether one of the writes in `input` may name this key, which is so if that would take too
    /// long to tell.
    fn is_named(&self, input: &[u8], key: &[u8], left: &mut usize) -> bool {
        let finder = memmem::Finder::new(key);
        let mut may_be = |writes: &[u8]| {
            let is_long = writes.len() > *left;
            *left -= writes.len().min(*left);
            is_long || finder.find(writes).is_some()
        };
        let mut start = 0;
        for answered in &self.answered {
            if may_be(&input[start..answered.start]) {
                return true;
            }
            start = answered.end;
        }
        may_be(&input[start..])
    }
}

impl Session {
    /// Answers gets in `input`, which was read and is yet to be taken, before the writes that they
    /// came behind, at most `budget` of them.
    pub(crate) fn look_ahead(&mut self, input: &[u8], budget: &mut usize) {
        let mut left = SEARCHED;
        while self.phase == Phase::Open && *budget > 0 && self.accepts_input() {
            let at = self.ahead.seen;
            let Some((kind, len)) = peek(&input[at..], self.shared.limits.max_packet_bytes) else {
                break;
            };
            if kind == Kind::Get.number() {
                // With nothing before it, it has its turn now.
                if at == 0 || !self.overtake(&input[..at], &input[at..at + len], &mut left) {
                    break;
                }
                self.ahead.answered(at..at + len);
                *budget -= 1;
            } else if kind != Kind::Put.number() && kind != Kind::Delete.number() {
                break;
            }
            self.ahead.seen = at + len;
        }
    }

    /// Answers a get before what it came behind, if that may be and can be done at once.
    fn overtake(&mut self, before: &[u8], packet: &[u8], left: &mut usize) -> bool {
        let Ok(Progress::Packet(packet)) = decode(packet, self.shared.limits.max_packet_bytes)
        else {
            return false;
        };
        let Packet { head, .. } = packet;
        let Ok(request @ Request::Get(get)) = Request::decode(&packet) else { return false };
        let Get { key, .. } = get;
        if self.writes.holds_up(&get)
            || self.ahead.is_named(before, key, left)
            || self.admit(head.id, &request).is_err()
        {
            return false;
        }
        let (id, out) = (head.id, self.output.buffer());
        let len = out.len();
        let mut reply = Reply { id, max_body: self.max_body, out };
        let is_answered = self.shared.service.get_at_once(&get, &mut self.recent, &mut reply);
        if !matches!(is_answered, Ok(true)) {
            self.output.buffer().truncate(len);
            return false;
        }
        self.tally.received(id, &request);
        true
    }
}
