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
//! - V1 a get overtakes only writes that do not name its key: if the key's bytes are anywhere in
//!   those that it would overtake, it waits for its turn, and so does everything behind it;
//! - V2 a get that cannot be answered at once waits for its turn;
//! - V3 what was answered is not taken again: its place in the input is remembered until the input
//!   is taken up to there;
//! - V4 to look costs no more than to take: each packet's header is looked at once, and keys are
//!   searched for in so many bytes a turn ([`SEARCHED`]).

use std::collections::VecDeque;
use std::ops::Range;

use memchr::memmem;

use super::{Phase, Session};
use crate::proto::{Get, Kind, Packet, Progress, Request, decode, peek};
use crate::service::Reply;

/// Bytes in which keys are searched for in one turn: some 50 us.
const SEARCHED: usize = 1 << 20;

/// How far the session has looked into the input that is not yet taken.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Bytes that were looked at.
    seen: usize,
    /// Where the packets are that are answered.
    answered: VecDeque<Range<usize>>,
}

impl Ahead {
    /// Whether the packet that begins at `at` is answered already.
    pub(super) fn skips(&mut self, at: usize) -> bool {
        let skips = self.answered.front().is_some_and(|packet| packet.start == at);
        if skips {
            self.answered.pop_front();
        }
        skips
    }

    /// The input was taken up to `used`.
    pub(super) fn taken(&mut self, used: usize) {
        self.seen = self.seen.saturating_sub(used);
        for packet in &mut self.answered {
            assert!(packet.start >= used, "V3: what is answered is skipped when it is taken");
            *packet = packet.start - used..packet.end - used;
        }
    }

    /// Whether one of the writes in `input` may name this key.
    fn is_named(&self, input: &[u8], key: &[u8]) -> bool {
        let mut start = 0;
        for packet in &self.answered {
            if memmem::find(&input[start..packet.start], key).is_some() {
                return true;
            }
            start = packet.end;
        }
        memmem::find(&input[start..], key).is_some()
    }
}

impl Session {
    /// Answers gets in `input`, which was read and is yet to be taken, before the writes that they
    /// came behind. Whether there were any.
    pub(crate) fn look_ahead(&mut self, input: &[u8]) -> bool {
        let (mut left, mut answered) = (SEARCHED, false);
        while self.phase == Phase::Open && self.accepts_input() {
            let at = self.ahead.seen;
            let Some((kind, len)) = peek(&input[at..], self.shared.limits.max_packet_bytes) else {
                break;
            };
            if kind == Kind::Get.number() {
                let overtakes = at > 0 && at <= left;
                if !overtakes || !self.overtake(&input[..at], &input[at..at + len]) {
                    break;
                }
                left -= at;
                self.ahead.answered.push_back(at..at + len);
                answered = true;
            } else if kind != Kind::Put.number() && kind != Kind::Delete.number() {
                break;
            }
            self.ahead.seen = at + len;
        }
        answered
    }

    /// Answers a get before what it came behind, if that may be and can be done at once.
    fn overtake(&mut self, before: &[u8], packet: &[u8]) -> bool {
        let Ok(Progress::Packet(packet)) = decode(packet, self.shared.limits.max_packet_bytes)
        else {
            return false;
        };
        let Packet { head, .. } = packet;
        let Ok(request @ Request::Get(get)) = Request::decode(&packet) else { return false };
        let Get { key, .. } = get;
        if self.ahead.is_named(before, key) || self.admit(head.id, &request).is_err() {
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
        self.tally.received(Kind::Get);
        true
    }
}
