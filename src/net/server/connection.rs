//! One connection as a task: a socket, a session, and the times that are kept.
//!
//! A turn, in this order, until there is nothing left to do or the budget is used up:
//!
//! 1. what has come from elsewhere: answers of the pool, the sync line, deadlines;
//! 2. if there is much input, a read and a look ahead for gets, which overtake writes;
//! 3. whole packets that have been read, answered into the output;
//! 4. the output, in one write;
//! 5. a read, into a buffer that is held only while there is something in it.
//!
//! - CONNECTION-1 a turn takes at most [`TURN`] requests, and answers that were waited for count as such;
//!   then others have theirs;
//! - CONNECTION-2 whoever does not read is not read from, and after a time is no longer waited for;
//! - CONNECTION-3 every way in which a client can make the server wait for it has a time limit: the
//!   handshake, a packet that has begun, answers that are not taken, silence.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::buffers::Input;
use super::claim::{Claim, FREE};
use super::gate::Seat;
use super::mailbox::Mailbox;
use super::session::Session;
use super::shared::Shared;
use crate::net::proto::{Code, Failure};

/// Requests that a connection may take, and late answers that it may give, in one turn (CONNECTION-1).
const TURN: usize = 64;
/// With so much input or more it may take longer than a turn to come to its end.
const MUCH: usize = 16 << 10;
/// Input that is read ahead of what is taken, at most.
const AHEAD: usize = 256 << 10;
/// How long a client may take nothing of what it has unread while others wait for that memory.
const IN_THE_WAY: Duration = Duration::from_secs(1);
/// How long a client that was told why it is turned away may take to hear it.
const LINGER: Duration = Duration::from_secs(1);
/// How long a client may take to close a connection that drains, with nothing in flight. What it had
/// sent before it heard of that is refused meanwhile: without an answer it would not know whether it
/// was done.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection, which is over when this future is.
pub(crate) struct Connection<S> {
    socket: S,
    session: Session,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
    seat: Seat,
    input: Input,
    /// The room for what is in the input, and for what is to come of a packet.
    claim: Claim,
    has_ended: bool,
    /// Our side is shut; what the other still sends is read and thrown away until this time, so
    /// that our last words are not lost with the connection.
    lingers_until: Option<Instant>,
    greet_by: Instant,
    /// When the client should have closed it ([`FAREWELL`]).
    leave_by: Option<Instant>,
    packet_by: Option<Instant>,
    write_by: Option<Instant>,
    /// When it was last looked whether this client is in others' way.
    looked_at: Option<Instant>,
    heard_at: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// What is left to do in a turn.
enum Turn {
    Again,
    Wait,
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(socket: S, shared: Arc<Shared>, mailbox: Arc<Mailbox>, seat: Seat) -> Self {
        let now = Instant::now();
        Connection {
            socket,
            session: Session::new(Arc::clone(&shared), Arc::clone(&mailbox)),
            mailbox,
            greet_by: now + shared.limits.handshake,
            claim: Claim::new(&shared.room),
            shared,
            seat,
            input: Input::default(),
            has_ended: false,
            leave_by: None,
            lingers_until: None,
            packet_by: None,
            write_by: None,
            looked_at: None,
            heard_at: now,
            alarm: None,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>, now: Instant, budget: &mut usize) -> io::Result<Turn> {
        if self.lingers_until.is_some() {
            return self.linger(cx);
        }
        self.session.catch_up(cx, now, budget);
        self.look_ahead(cx, now, budget)?;
        let is_unfinished = self.feed(now, budget);
        if self.session.is_greeted() {
            self.seat.greeted();
        }
        self.keep_time(now);
        self.session.catch_up(cx, now, budget);
        let was_full = self.session.is_full();
        self.write(cx, now)?;
        if self.is_left(now) {
            return self.shut(cx, now);
        }
        // What was held back for want of room goes on now that there is some.
        let has_room = was_full && !self.session.is_full() || self.session.goes_on();
        if *budget == 0 || has_room || is_unfinished && self.session.accepts_input() {
            return Ok(Turn::Again);
        }
        if self.has_ended || !self.session.accepts_input() || !self.may_read(cx, now) {
            return Ok(Turn::Wait);
        }
        self.read(cx, now)
    }

    /// Whether all is said, and the client has closed a connection that drains, or had the time.
    fn is_left(&mut self, now: Instant) -> bool {
        if !self.session.is_over() || !self.session.output().is_empty() {
            self.leave_by = None;
            return false;
        }
        if !self.session.is_draining() || self.has_ended {
            return true;
        }
        *self.leave_by.get_or_insert(now + FAREWELL) <= now
    }

    /// Answers what need not wait until everything before it is done.
    fn look_ahead(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        budget: &mut usize,
    ) -> io::Result<()> {
        let much = MUCH..AHEAD;
        while much.contains(&self.input.filled().len())
            && self.session.accepts_input()
            && !self.claim.is_waiting()
            && !self.shared.room.is_full()
        {
            // The end is found again when everything before it is done.
            let Poll::Ready(Ok(1..)) = self.take_in(cx, now, AHEAD) else { break };
        }
        if self.input.filled().len() < MUCH {
            return Ok(());
        }
        let half = *budget / 2;
        let mut left = half;
        self.session.look_ahead(self.input.filled(), &mut left);
        *budget -= half - left;
        if left < half { self.write(cx, now) } else { Ok(()) }
    }

    /// Takes packets from the input. Whether there may be more.
    fn feed(&mut self, now: Instant, budget: &mut usize) -> bool {
        if self.input.is_empty() {
            return false;
        }
        let fed = self.session.feed(self.input.filled(), now, budget);
        self.input.consume(fed.used);
        if self.input.is_empty() {
            self.claim.shrink(0);
        } else {
            self.claim.count(self.input.held());
        }
        if self.input.is_empty() {
            self.packet_by = None;
        } else if fed.used > 0 || self.packet_by.is_none() {
            self.packet_by = Some(now + self.shared.limits.packet);
        }
        fed.is_unfinished
    }

    /// Writes as much as goes.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<()> {
        loop {
            let output = self.session.output();
            if output.is_empty() {
                self.session.flows();
                self.write_by = None;
                return Ok(());
            }
            match Pin::new(&mut self.socket).poll_write(cx, output.pending())? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(bytes) => {
                    output.consume(bytes);
                    self.session.sent(bytes);
                    (self.write_by, self.looked_at) = (None, None);
                }
                Poll::Pending => {
                    self.session.sticks();
                    self.write_by.get_or_insert(now + self.shared.limits.write);
                    return Ok(());
                }
            }
        }
    }

    /// Whether there is room for what is to come of the packet that has begun (INPUT-1).
    fn may_read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.input.filled().len() < FREE {
            return true;
        }
        let was_waiting = self.claim.is_waiting();
        let is_there = self.claim.poll_claim(self.input.begun(), cx).is_ready();
        if is_there && was_waiting {
            // It was not the client who took that time.
            self.packet_by = Some(now + self.shared.limits.packet);
        }
        if !is_there {
            self.input.settle();
            self.claim.shrink(self.input.held());
        }
        is_there
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<Turn> {
        let most = self.input.begun().max(self.input.filled().len() + 1);
        match self.take_in(cx, now, most)? {
            Poll::Pending => {
                self.input.settle();
                self.claim.shrink(match self.input.filled().len() {
                    ..FREE => self.input.held(),
                    _ => self.input.held().max(self.input.begun()),
                });
                Ok(Turn::Wait)
            }
            Poll::Ready(bytes) => {
                if bytes == 0 {
                    self.input.rest();
                    self.has_ended = true;
                    self.packet_by = None;
                    self.session.hung_up();
                }
                Ok(Turn::Again)
            }
        }
    }

    /// Reads once, into memory for `most` bytes in all. Returns how many bytes.
    fn take_in(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let is_short = self.shared.room.is_full() && self.input.filled().len() < FREE;
        let mut room = self.input.room(most);
        if is_short && room.len() > FREE {
            // What comes without a claim is short (INPUT-3).
            room = &mut room[..FREE];
        }
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
        let bytes = room.filled().len();
        self.input.fill(bytes);
        self.heard_at = now;
        self.session.heard(bytes);
        Poll::Ready(Ok(bytes))
    }

    /// Ends what has taken too long (CONNECTION-3).
    fn keep_time(&mut self, now: Instant) {
        let is_over = |by: Option<Instant>| by.is_some_and(|by| by <= now);
        let failure = if is_over(self.write_by) || self.is_in_the_way(now) {
            self.session.cut(Code::NotReading);
            None
        } else if !self.session.is_greeted() && self.greet_by <= now {
            Some((Code::TooSlow, "the client did not say hello in time"))
        } else if is_over(self.packet_by) && self.is_read() || self.holds_room(now) {
            Some((Code::TooSlow, "the client did not finish a packet in time"))
        } else if is_over(self.idle_by()) {
            Some((Code::Idle, "nothing was heard from the client for too long"))
        } else {
            None
        };
        if let Some((code, message)) = failure {
            self.session.end(Failure::new(code, message));
        }
    }

    /// When to look whether others wait for what this client has not read (BUDGET-6).
    fn look_by(&self) -> Option<Instant> {
        let stuck_since = self.write_by?.checked_sub(self.shared.limits.write)?;
        let first = stuck_since + IN_THE_WAY;
        self.session.has_much_unread().then(|| self.looked_at.map_or(first, |at| at + IN_THE_WAY))
    }

    /// Whether this client has read nothing for a while, and others wait for what that takes (BUDGET-6).
    fn is_in_the_way(&mut self, now: Instant) -> bool {
        if self.look_by().is_none_or(|by| by > now) {
            return false;
        }
        self.looked_at = Some(now);
        self.shared.budget.is_wanted()
    }

    /// Whether it is for the client to go on with its packet.
    fn is_read(&self) -> bool {
        self.session.accepts_input() && !self.claim.is_waiting()
    }

    /// When to look whether others wait for the room of a packet that does not go on (INPUT-4).
    fn look_at_room_by(&self) -> Option<Instant> {
        let holds = self.claim.bytes() > FREE && self.packet_by.is_some() && self.is_read();
        holds.then(|| {
            self.looked_at.unwrap_or(self.heard_at).max(self.heard_at)
                + self.shared.limits.packet / 8
        })
    }

    /// Whether this client has begun a packet, and does not go on while others wait for its room (INPUT-4).
    fn holds_room(&mut self, now: Instant) -> bool {
        if self.look_at_room_by().is_none_or(|by| by > now) {
            return false;
        }
        self.looked_at = Some(now);
        self.shared.room.is_wanted()
    }

    fn idle_by(&self) -> Option<Instant> {
        let limit = self.shared.limits.idle?;
        self.session.is_idle().then(|| self.heard_at + limit)
    }

    /// Shuts our side.
    fn shut(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<Turn> {
        match Pin::new(&mut self.socket).poll_shutdown(cx)? {
            Poll::Pending => {
                self.write_by.get_or_insert(now + LINGER);
                Ok(if self.write_by.is_some_and(|by| by <= now) { Turn::Over } else { Turn::Wait })
            }
            Poll::Ready(()) if self.has_ended => Ok(Turn::Over),
            Poll::Ready(()) => {
                self.lingers_until = Some(now + LINGER);
                self.input = Input::default();
                self.claim = Claim::new(&self.shared.room);
                Ok(Turn::Again)
            }
        }
    }

    fn linger(&mut self, cx: &mut Context<'_>) -> io::Result<Turn> {
        let mut bytes = [0; 4096];
        for _ in 0..TURN {
            let mut room = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(cx, &mut room)? {
                Poll::Pending => return Ok(Turn::Wait),
                Poll::Ready(()) if room.filled().is_empty() => return Ok(Turn::Over),
                Poll::Ready(()) => {}
            }
        }
        Ok(Turn::Over)
    }

    /// Sees to it that the task is woken when something has to happen by itself. True if that is
    /// the case now.
    fn set_alarm(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let greet_by = (!self.session.is_greeted()).then_some(self.greet_by);
        let packet_by = self.packet_by.filter(|_| self.is_read());
        let times = match self.lingers_until {
            Some(until) => [Some(until), None, None, None, None, None, None, None],
            None => {
                let deadline = self.session.next_deadline();
                let looks = [self.look_by(), self.look_at_room_by()];
                let ([output, input], write_by, leave_by) = (looks, self.write_by, self.leave_by);
                [greet_by, packet_by, write_by, leave_by, output, input, self.idle_by(), deadline]
            }
        };
        let Some(next) = times.into_iter().flatten().min() else { return false };
        if next <= now {
            return true;
        }
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        // One that rings early does no harm: the next time is set then.
        if next < alarm.deadline() || alarm.is_elapsed() {
            alarm.as_mut().reset(next);
        }
        alarm.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.mailbox.register(cx.waker());
        let now = Instant::now();
        let mut budget = TURN;
        loop {
            match this.turn(cx, now, &mut budget)? {
                Turn::Over => return Poll::Ready(Ok(())),
                Turn::Again if budget > 0 => {}
                Turn::Again => {
                    cx.waker().wake_by_ref();
                    break;
                }
                Turn::Wait => break,
            }
        }
        this.session.report();
        if this.lingers_until.is_some_and(|until| until <= now) {
            return Poll::Ready(Ok(()));
        }
        if this.set_alarm(cx, now) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::net::proto::{Get, MAX_BODY, Mode, Progress, Put, Request, decode};
    use crate::net::server::fuzz;
    use crate::net::server::gate::{Caps, Gate};

    /// Bytes that the other side takes before somebody reads them.
    const PIPE: usize = 1 << 20;

    fn connection() -> (Connection<DuplexStream>, DuplexStream) {
        let caps = Caps { connections: 1, ungreeted: 1, per_address: 1 };
        let seat = Gate::new(caps).enter(None).unwrap();
        let (client, socket) = duplex(PIPE);
        let mailbox = Arc::new(Mailbox::default());
        (Connection::new(socket, fuzz::new_shared(), mailbox, seat), client)
    }

    /// Says it, and takes so many answers. Returns how many bytes they have.
    async fn say(
        connection: &mut Connection<DuplexStream>,
        client: &mut DuplexStream,
        said: &[u8],
        count: usize,
    ) -> usize {
        client.write_all(said).await.unwrap();
        let (mut answers, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
        let begun = Instant::now();
        loop {
            assert!(Pin::new(&mut *connection).poll(&mut cx).is_pending());
            let brief = Duration::from_millis(1);
            let _ = tokio::time::timeout(brief, client.read_buf(&mut answers)).await;
            let (mut at, mut found) = (0, 0);
            while let Ok(Progress::Packet(packet)) = decode(&answers[at..], MAX_BODY) {
                (at, found) = (at + packet.len_in_buffer(), found + 1);
            }
            if (at, found) == (answers.len(), count) {
                return at;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{found} answers");
        }
    }

    #[tokio::test]
    async fn an_idle_connection_holds_no_buffer() {
        let (mut connection, mut client) = connection();
        let held = |connection: &mut Connection<DuplexStream>| {
            let Connection { input, session, claim, .. } = connection;
            (input.held(), session.output().held(), claim.bytes())
        };
        assert_eq!(held(&mut connection), (0, 0, 0));
        say(&mut connection, &mut client, &fuzz::greeting(), 1).await;
        assert_eq!(held(&mut connection), (0, 0, 0), "greeted");
        // Longer than a buffer that is kept for the next, and shorter.
        for (id, bytes) in [(2, 100), (4, 300_000)] {
            let (keyspace, key, value) = ("rows", &b"key"[..], &vec![7; bytes][..]);
            let mut said = Vec::new();
            let put = Put { keyspace, key, value, mode: Mode::Async, once: None };
            Request::Put(put).encode(id, 0, MAX_BODY, &mut said).unwrap();
            let get = Get { keyspace, key };
            Request::Get(get).encode(id + 1, 0, MAX_BODY, &mut said).unwrap();
            assert!(say(&mut connection, &mut client, &said, 2).await > bytes, "both are answered");
            assert_eq!(held(&mut connection), (0, 0, 0), "{bytes} bytes in and out");
        }
    }
}
