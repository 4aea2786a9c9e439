//! One connection's conversation, without its socket: bytes in, bytes out, and a clock.
//!
//! ```text
//!               Hello               Goodbye sent, nothing in flight
//!   Greeting ----------> Open -----------------------------------------.
//!      |                  |  '--(drain)--> Draining --------------------+--> over
//!      |                  v                                             |
//!      '-------------> Ending (an error was sent) ----(all written)-----'
//! ```
//!
//! What needs no waiting is answered at once, into the output. Everything else is a *flight*,
//! named by its request's id, and waits for one of these:
//!
//! | flight | waits for | then |
//! |---|---|---|
//! | pooled | a thread of the pool; a write for those before it too | its answer, or the sync line, or a stream's parts |
//! | held | writes that were sent before it | as if it came then |
//! | durable | the sync line | the answer to a write in mode `Sync`, or to a flush |
//! | wait | a job's end, or a time | the answer to a long poll |
//! | operation | a long operation's end | the answer to a checkpoint or check |
//! | watch, marks | jobs' ends, moving watermarks | pushes, under credit |
//! | stream | the pool, and credit | parts |
//!
//! - SESSION-1 a request has one last answer, whatever becomes of it: [`Session::land`] is the only way
//!   out of the table of flights;
//! - SESSION-2 an answer from the pool is for one flight only (its ticket), also when the client has used
//!   the id again meanwhile;
//! - SESSION-3 memory is bounded: above their caps neither input is taken nor streams and pushes go on;
//! - SESSION-4 nothing here waits: what may block goes to the pool.

mod dispatch;
mod flight;
mod front;
mod gather;
mod greet;
mod held;
mod line;
mod marks;
mod overtake;
mod pooled;
mod put_off;
mod run;
mod streams;
mod watch;
mod writes;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use self::flight::Flight;
use self::gather::Gather;
use self::line::Line;
use self::overtake::Ahead;
pub(crate) use self::pooled::Waiting;
use self::put_off::PutOff;
pub(crate) use self::put_off::Why;
pub(crate) use self::run::Run;
use self::writes::Writes;
pub(crate) use self::writes::Wrote;
use super::budget::{Level, Made, SMALL_PAGE, Share};
use super::buffers::Output;
use super::mailbox::{Mailbox, Post};
use super::pool::Lane;
use super::shared::Shared;
use super::tally::Tally;
use super::tokens::Token;
use crate::net::proto::{
    Broken, Code, Failure, Goodbye, Kind, MAX_HELLO, Packet, Progress, Response, decode, peek,
};
use crate::net::service::{Caller, Recent, Reply};

/// Of the output that a connection may have, the share when all have much (BUDGET-3).
const TIGHT: usize = 16;

/// What a connection with unread output counts for besides: about what it holds for itself.
const ITSELF: usize = 12 << 10;

/// The conversation on one connection.
pub(crate) struct Session {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    phase: Phase,
    caller: Arc<Caller>,
    /// What the client came in with, if that was needed.
    token: Option<Arc<Token>>,
    /// The longest body that the client takes.
    max_body: u32,
    recent: Recent,
    flights: HashMap<u64, Flight>,
    next_ticket: u64,
    line: Line,
    gather: Gather,
    ahead: Ahead,
    writes: Writes,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Requests for the pool that wait for their turn, without the writes.
    backlog: VecDeque<Waiting>,
    backlog_bytes: usize,
    /// Requests that are in the pool.
    pooled: usize,
    lane: Lane,
    put_off: PutOff,
    subscriptions: usize,
    output: Output,
    /// What of the output is counted with that of all others.
    share: Share,
    /// The socket takes nothing more.
    is_stuck: bool,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Open,
    Draining,
    Ending,
}

/// How far [`Session::feed`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fed {
    /// Bytes that were understood.
    pub(crate) used: usize,
    /// Whether there may be another whole packet in the rest.
    pub(crate) is_unfinished: bool,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, mailbox: Arc<Mailbox>) -> Session {
        let share = Share::of(&shared.budget, 0);
        let lane = shared.pool.lane();
        Session {
            shared,
            mailbox,
            phase: Phase::Greeting,
            caller: Arc::new(Caller::anybody()),
            token: None,
            max_body: MAX_HELLO,
            recent: Recent::default(),
            flights: HashMap::new(),
            next_ticket: 0,
            line: Line::default(),
            gather: Gather::default(),
            ahead: Ahead::default(),
            writes: Writes::default(),
            deadlines: BTreeSet::new(),
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            pooled: 0,
            lane,
            put_off: PutOff::default(),
            subscriptions: 0,
            output: Output::default(),
            share,
            is_stuck: false,
            tally: Tally::default(),
        }
    }

    /// Takes whole packets from the front of `input`, at most `budget` of them.
    pub(crate) fn feed(&mut self, input: &[u8], now: Instant, budget: &mut usize) -> Fed {
        let fed = self.take_packets(input, now, budget);
        self.ahead.taken(fed.used);
        fed
    }

    fn take_packets(&mut self, input: &[u8], now: Instant, budget: &mut usize) -> Fed {
        let mut used = 0;
        while self.accepts_input() {
            let max = match self.phase {
                Phase::Greeting => MAX_HELLO,
                _ => self.shared.limits.max_packet_bytes,
            };
            let rest = &input[used..];
            match decode(rest, max) {
                Ok(Progress::NeedMore(_)) => {
                    self.commit_gathered(input, now);
                    return Fed { used, is_unfinished: false };
                }
                Ok(Progress::Packet(packet)) => {
                    if let Some(answered) = self.ahead.skip(used) {
                        used = answered;
                        continue;
                    }
                    if *budget == 0 {
                        break;
                    }
                    *budget -= 1;
                    used += packet.len_in_buffer();
                    self.receive(&packet, &input[..used], now);
                }
                Err(broken) => {
                    self.commit_gathered(input, now);
                    self.end(broken_packet(broken));
                }
            }
        }
        self.commit_gathered(input, now);
        Fed { used, is_unfinished: used < input.len() }
    }

    /// Takes a packet, the last one in `input`.
    fn receive(&mut self, packet: &Packet<'_>, input: &[u8], now: Instant) {
        match self.phase {
            Phase::Greeting => self.greet(packet),
            Phase::Open | Phase::Draining => self.dispatch(packet, input, now),
            Phase::Ending => {}
        }
    }

    /// Everything that has happened elsewhere since the last turn, but for at most `budget` answers
    /// to those whom the sync line has passed.
    pub(crate) fn catch_up(&mut self, cx: &mut Context<'_>, now: Instant, budget: &mut usize) {
        self.tally.begin_turn(now);
        if let Some(post) = self.mailbox.take() {
            self.open_post(post, now);
        }
        self.pass_deadlines(now);
        self.follow_line(cx, now, budget);
        self.resume_streams();
        self.submit_run(now);
        self.submit_backlog(now);
    }

    fn open_post(&mut self, post: Post, now: Instant) {
        let Post { letters, jobs, watermarks_moved, is_draining, is_cut_off, is_withdrawn } = post;
        for letter in letters {
            self.open_letter(letter, now);
        }
        for number in jobs {
            self.job_changed(number, now);
        }
        if watermarks_moved {
            self.marks_moved(now);
        }
        if is_draining {
            self.drain();
        }
        if is_cut_off {
            self.cut(Code::ShuttingDown);
        }
        if is_withdrawn && self.token.as_ref().is_some_and(|token| token.is_withdrawn()) {
            let message = "the token was withdrawn or has expired";
            self.end(Failure::new(Code::Unauthenticated, message));
        }
    }

    /// Whether more packets may be taken (SESSION-3).
    pub(crate) fn accepts_input(&self) -> bool {
        self.phase != Phase::Ending
            && !self.is_full()
            && self.backlog_bytes < self.shared.limits.max_output_bytes
    }

    /// Whether there is as much output as is kept, so that streams and the backlog stand still.
    pub(crate) fn is_full(&self) -> bool {
        let (pending, most) = (self.output.pending().len(), self.shared.limits.max_output_bytes);
        if pending == 0 {
            return false;
        }
        match self.shared.budget.level() {
            Level::Free => pending >= most,
            Level::Tight | Level::Full => self.is_stuck || pending >= most / TIGHT,
        }
    }

    /// The socket has taken all there was.
    pub(crate) fn flows(&mut self) {
        if std::mem::take(&mut self.is_stuck) {
            self.mailbox.flows();
        }
        self.mailbox.set_unread(0);
        self.put_off.has_room();
    }

    /// Whether something that was put off goes on now.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.put_off.is_freed() && !self.backlog.is_empty()
    }

    /// Whether it has so much unread that it may cost others their answers.
    pub(crate) fn has_much_unread(&self) -> bool {
        self.output.pending().len() > SMALL_PAGE as usize
    }

    /// The socket takes nothing more.
    pub(crate) fn sticks(&mut self) {
        if !std::mem::replace(&mut self.is_stuck, true) {
            self.mailbox.sticks();
        }
    }

    /// Whether the conversation is over but for what is still to be written.
    pub(crate) fn is_over(&self) -> bool {
        match self.phase {
            Phase::Ending => true,
            Phase::Draining => self.flights.is_empty(),
            Phase::Greeting | Phase::Open => false,
        }
    }

    /// Whether the client was told that the server is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    pub(crate) fn is_greeted(&self) -> bool {
        self.phase != Phase::Greeting
    }

    /// Whether the client waits for nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.output.is_empty()
    }

    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// When something has to happen by itself.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let retry = self.put_off.until().filter(|_| !self.backlog.is_empty());
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(retry).min()
    }

    pub(crate) fn heard(&mut self, bytes: usize) {
        self.tally.bytes_in += bytes as u64;
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.tally.bytes_out += bytes as u64;
    }

    /// Adds what was counted to the server's figures.
    pub(crate) fn report(&mut self) {
        self.count_unread();
        if self.tally.awaited > 0 {
            self.shared.service.store().count_awaited(std::mem::take(&mut self.tally.awaited));
        }
        self.shared.metrics.add(&mut self.tally);
    }

    /// Takes over an answer that was made elsewhere. It counts as ours before it no longer counts by
    /// itself: a pool that saw neither would make the next one as if there were room (BUDGET-1).
    fn take_over(&mut self, made: Made) {
        let Made { packet, share } = made;
        if let Some(code) = failure_in(&packet) {
            self.tally.failed(code);
        }
        self.output.append(packet);
        self.count_unread();
        drop(share);
    }

    fn count_unread(&mut self) {
        let held = self.output.held();
        self.mailbox.set_unread(self.output.pending().len());
        self.share.set(match held {
            0 => 0,
            output => output + self.backlog_bytes + ITSELF,
        });
    }

    /// The client has said its last: what is under way is finished, nobody waits any longer.
    pub(crate) fn hung_up(&mut self) {
        if self.phase != Phase::Ending {
            self.phase = Phase::Draining;
            self.give_up_waits(Code::Cancelled, "the client has hung up");
        }
    }

    /// Ends the conversation with an error that belongs to no request.
    pub(crate) fn end(&mut self, failure: Failure<'static>) {
        if self.phase == Phase::Ending {
            return;
        }
        self.shared.metrics.ended(failure.code);
        tracing::debug!(peer = %self.mailbox.peer(), code = failure.code.name(), "connection ends: {failure}");
        self.phase = Phase::Ending;
        self.abandon_flights();
        self.reply(0).fail(failure);
    }

    /// Ends the conversation without a word: the client would not read it, or not understand it in
    /// the middle of what it was being told.
    pub(crate) fn cut(&mut self, code: Code) {
        if self.phase != Phase::Ending {
            self.shared.metrics.ended(code);
            tracing::debug!(peer = %self.mailbox.peer(), code = code.name(), "connection is cut");
            self.phase = Phase::Ending;
            self.abandon_flights();
        }
        self.output.discard();
    }

    /// Tells the client that the server is about to end.
    fn drain(&mut self) {
        match self.phase {
            Phase::Draining | Phase::Ending => return,
            Phase::Greeting => {
                return self.end(Failure::new(Code::ShuttingDown, "the server is about to end"));
            }
            Phase::Open => self.phase = Phase::Draining,
        }
        let drain_ms = millis(self.shared.limits.drain);
        let goodbye = Goodbye {
            code: Code::ShuttingDown,
            message: "the server is about to end".into(),
            drain_ms,
        };
        self.reply(0).send(&Response::Goodbye(goodbye));
        self.give_up_waits(Code::ShuttingDown, "the server is about to end");
    }

    fn reply(&mut self, id: u64) -> Reply<'_> {
        Reply { id, max_body: self.max_body, out: self.output.buffer() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.abandon_flights();
        self.report();
    }
}

/// Whole milliseconds, as many as fit.
pub(super) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// The code of the error that is told in a packet, if that is what is told.
fn failure_in(packet: &[u8]) -> Option<Code> {
    let (kind, _) = peek(packet, u32::MAX)?;
    if kind != Kind::Error.number() {
        return None;
    }
    let Ok(Progress::Packet(packet)) = decode(packet, u32::MAX) else { return None };
    match Response::decode(&packet) {
        Ok(Response::Error(failure)) => Some(failure.code),
        _ => None,
    }
}

fn broken_packet(broken: Broken) -> Failure<'static> {
    match broken {
        Broken::TooLarge { len, max } => Failure::new(Code::TooLarge, broken.to_string())
            .with("len", len.to_string())
            .with("max", max.to_string()),
        Broken::Checksum { .. } | Broken::Reserved => {
            Failure::new(Code::BrokenPacket, broken.to_string())
        }
    }
}
