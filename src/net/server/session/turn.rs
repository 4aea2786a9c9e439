//! One turn of a session: what happened elsewhere, then the packets that came.

use std::task::Context;

use tokio::time::Instant;

use super::flight::OnTime;
use super::look_ahead::SEARCHED;
use super::session::{Phase, Session};
use crate::net::proto::{
    Broken, Code, Failure, Get, Kind, MAX_HELLO, Packet, Progress, Request, decode, peek,
};
use crate::net::server::mailbox::{Inbox, Message};
use crate::net::server::work::DeferReason;

/// How far [`Session::feed`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fed {
    /// Bytes that were taken.
    pub(crate) used: usize,
    /// Whether the rest may begin with a whole packet.
    pub(crate) is_unfinished: bool,
}

impl Session {
    /// Takes whole packets from the front of `input`, at most `budget` of them.
    pub(crate) fn feed(&mut self, input: &[u8], now: Instant, budget: &mut usize) -> Fed {
        let fed = self.take_packets(input, now, budget);
        self.look_ahead.taken(fed.used);
        fed
    }

    fn take_packets(&mut self, input: &[u8], now: Instant, budget: &mut usize) -> Fed {
        let mut used = 0;
        while self.accepts_input() {
            let max = match self.phase {
                Phase::Greeting => MAX_HELLO,
                _ => self.context.shared.limits.max_packet_bytes,
            };
            let rest = &input[used..];
            match decode(rest, max) {
                Ok(Progress::NeedMore(_)) => {
                    self.commit_gathered(input, now);
                    return Fed { used, is_unfinished: false };
                }
                Ok(Progress::Packet(packet)) => {
                    if let Some(answered) = self.look_ahead.skip(used) {
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

    /// Answers gets in `input`, which was read and is yet to be taken, before the writes that they
    /// came behind, at most `budget` of them.
    pub(crate) fn look_ahead(&mut self, input: &[u8], budget: &mut usize) {
        let mut left = SEARCHED;
        let max = self.context.shared.limits.max_packet_bytes;
        while self.phase == Phase::Open && *budget > 0 && self.accepts_input() {
            let at = self.look_ahead.seen();
            let Some((kind, len)) = peek(&input[at..], max) else { break };
            if kind == Kind::Get.number() {
                // A get with nothing before it has its turn now.
                if at == 0 || !self.overtake(&input[..at], &input[at..at + len], &mut left) {
                    break;
                }
                self.look_ahead.pass_answered(len);
                *budget -= 1;
            } else if kind == Kind::Put.number() || kind == Kind::Delete.number() {
                self.look_ahead.pass(len);
            } else {
                break;
            }
        }
    }

    /// Answers a get before the packets that it came behind. False if it has to wait for its turn.
    fn overtake(&mut self, before: &[u8], packet: &[u8], left: &mut usize) -> bool {
        let max = self.context.shared.limits.max_packet_bytes;
        let Ok(Progress::Packet(packet)) = decode(packet, max) else { return false };
        let id = packet.head.id;
        let Ok(request @ Request::Get(get)) = Request::decode(&packet) else { return false };
        let Get { key, .. } = get;
        if self.writes.blocks(&get)
            || self.look_ahead.is_named(before, key, left)
            || self.admit(id, &request).is_err()
        {
            return false;
        }
        let len = self.output().buffer().len();
        let mut reply = self.outbox.reply(id, self.context.max_body);
        let service = &self.context.shared.service;
        if !matches!(service.get_at_once(&get, &mut self.recent, &mut reply), Ok(true)) {
            self.output().buffer().truncate(len);
            return false;
        }
        self.tally.received(id, &request);
        true
    }

    /// Takes over everything that has happened elsewhere since the last turn, except that at most
    /// `budget` flights are answered that waited for the sync line.
    pub(crate) fn catch_up(&mut self, cx: &mut Context<'_>, now: Instant, budget: &mut usize) {
        self.tally.begin_turn(now);
        if let Some(inbox) = self.context.mailbox.take() {
            self.take_inbox(inbox, now);
        }
        self.pass_deadlines(now);
        self.follow_sync_line(cx, budget);
        self.resume_streams();
        self.submit_run(now);
        self.submit_queued(now);
    }

    fn take_inbox(&mut self, inbox: Inbox, now: Instant) {
        let Inbox { messages, jobs, watermarks_moved, is_draining, is_cut_off, is_withdrawn } =
            inbox;
        for message in messages {
            self.take_message(message, now);
        }
        for number in jobs {
            self.job_changed(number);
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

    fn take_message(&mut self, message: Message, now: Instant) {
        // A run of writes does not count in the queue to the pool.
        if !matches!(message, Message::Wrote { .. } | Message::RunEnded(_)) {
            self.pool_queue.returned();
        }
        match message {
            Message::Wrote { number, id, ticket, outcome } => {
                self.write_ended(number, id, ticket, outcome, now);
            }
            Message::RunEnded(run) => self.writes.run_ended(run),
            Message::Cancelled => {}
            Message::Deferred(mut request, reason) => {
                match reason {
                    // Nothing is in the pool or unread that could end the wait.
                    DeferReason::Unread if self.is_unread_by_none() => {}
                    DeferReason::Unread => self.pool_queue.wait_for_reader(),
                    DeferReason::Memory => {
                        request.starved_since.get_or_insert(now);
                        let wanted = self.context.shared.output_budget.want();
                        self.pool_queue.wait_for_memory(wanted, now);
                    }
                }
                self.pool_queue.give_back(request);
            }
            Message::Answer { id, ticket, made } => {
                self.pool_queue.release();
                self.pool_queue.has_memory();
                if self.flights.is_pooled(id, ticket) {
                    self.land(id);
                    self.take_over(made);
                }
            }
            Message::Part { id, ticket, made, stream } => self.part_came(id, ticket, made, stream),
            Message::PartDeferred { id, ticket, stream } => self.part_deferred(id, ticket, stream),
            Message::Judged { id, ticket, jobs } => self.jobs_judged(id, ticket, jobs),
        }
    }

    fn is_unread_by_none(&self) -> bool {
        !self.pool_queue.is_in_pool() && self.outbox.is_empty()
    }

    /// Ends or continues the flights whose time has come.
    fn pass_deadlines(&mut self, now: Instant) {
        while let Some((id, on_time)) = self.flights.next_due(now) {
            match on_time {
                OnTime::Fail => self.deadline_passed(id),
                OnTime::TooOld => {
                    let message = "the stream's snapshot was kept for as long as the server allows";
                    self.cancel(id, Code::DeadlineExceeded, message);
                }
                OnTime::Answer => self.answer_wait(id),
                OnTime::Push => self.push_marks(id, now),
            }
        }
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
