//! One connection as a task: a socket, a session, and its time limits.
//!
//! A turn has these steps, repeated until nothing is left to do or the budget is used up:
//!
//! 1. take over results from elsewhere: answers of the pool, the sync line, deadlines;
//! 2. if there is much input, read more and look ahead for gets, which overtake writes;
//! 3. execute the whole packets in the input; their answers go to the output;
//! 4. write the output, in one write;
//! 5. read, into a buffer that is held only while it contains bytes.
//!
//! - CONNECTION-1 a turn takes at most [`TURN`] requests; late answers count against it too; then the task
//!   yields to other connections;
//! - CONNECTION-2 a client that does not read its answers is not read from, and after a time is ended;
//! - CONNECTION-3 every way in which a client can make the server wait for it has a time limit: the
//!   handshake, an unfinished packet, answers that are not read, silence.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::admission::ConnectionPermit;
use super::buffers::Input;
use super::input_budget::{FREE, InputClaim};
use super::mailbox::Mailbox;
use super::session::Session;
use super::shared::Shared;
use crate::net::proto::{Code, Failure};

/// Requests and late answers of one turn, at most (CONNECTION-1).
const TURN: usize = 64;
/// Input, in bytes, from which on a connection looks ahead: it may take several turns to execute.
const MUCH: usize = 16 << 10;
/// Input, in bytes, that is read ahead of execution, at most.
const AHEAD: usize = 256 << 10;
/// How long a client may read none of its output while others wait for that memory (BUDGET-6).
const IN_THE_WAY: Duration = Duration::from_secs(1);
/// How long the server waits, after its last packet, for the client to close.
const LINGER: Duration = Duration::from_secs(1);
/// How long a client may take to close a draining connection with nothing in flight. Meanwhile requests
/// that it had sent before are refused: without an answer it would not know their outcome.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection: a future that ends with it.
pub(crate) struct Connection<S> {
    socket: S,
    session: Session,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
    permit: ConnectionPermit,
    input: Input,
    /// Memory for the input, and for the rest of its last packet.
    claim: InputClaim,
    has_ended: bool,
    /// Our side is shut. Until this time input is read and thrown away: a reset would lose the last
    /// packet on its way to the client.
    lingers_until: Option<Instant>,
    greet_by: Instant,
    /// When the client must have closed ([`FAREWELL`]).
    leave_by: Option<Instant>,
    packet_by: Option<Instant>,
    write_by: Option<Instant>,
    /// When this client was last checked for blocking others (BUDGET-6, INPUT-4).
    looked_at: Option<Instant>,
    heard_at: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// How a turn goes on.
enum NextStep {
    Again,
    Wait,
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(
        socket: S,
        shared: Arc<Shared>,
        mailbox: Arc<Mailbox>,
        permit: ConnectionPermit,
    ) -> Self {
        let now = Instant::now();
        Connection {
            socket,
            session: Session::new(Arc::clone(&shared), Arc::clone(&mailbox)),
            mailbox,
            greet_by: now + shared.limits.handshake,
            claim: InputClaim::new(&shared.input_budget),
            shared,
            permit,
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

    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        budget: &mut usize,
    ) -> io::Result<NextStep> {
        if self.lingers_until.is_some() {
            return self.linger(cx);
        }
        self.session.catch_up(cx, now, budget);
        self.look_ahead(cx, now, budget)?;
        let is_unfinished = self.feed(now, budget);
        if self.session.is_greeted() {
            self.permit.greeted();
        }
        self.keep_time(now);
        self.session.catch_up(cx, now, budget);
        let was_full = self.session.is_full();
        self.write(cx, now)?;
        if self.is_left(now) {
            return self.shut(cx, now);
        }
        // Requests that waited for space in the output go on now.
        let has_room = was_full && !self.session.is_full() || self.session.goes_on();
        if *budget == 0 || has_room || is_unfinished && self.session.accepts_input() {
            return Ok(NextStep::Again);
        }
        if self.has_ended || !self.session.accepts_input() || !self.may_read(cx, now) {
            return Ok(NextStep::Wait);
        }
        self.read(cx, now)
    }

    /// Whether everything is written. A draining connection also waits until the client closes, or
    /// for [`FAREWELL`].
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

    /// Answers gets that need not wait for the writes before them.
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
            && !self.shared.input_budget.is_full()
        {
            // The end of input is found again once everything before it is executed.
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

    /// Executes packets of the input. Returns whether there may be more.
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

    /// Writes as much as the socket takes.
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

    /// Whether there is memory for the rest of the unfinished packet (INPUT-1).
    fn may_read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.input.filled().len() < FREE {
            return true;
        }
        let was_waiting = self.claim.is_waiting();
        let is_there = self.claim.poll_claim(self.input.begun(), cx).is_ready();
        if is_there && was_waiting {
            // The server, not the client, spent that time.
            self.packet_by = Some(now + self.shared.limits.packet);
        }
        if !is_there {
            self.input.settle();
            self.claim.shrink(self.input.held());
        }
        is_there
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<NextStep> {
        let most = self.input.begun().max(self.input.filled().len() + 1);
        match self.take_in(cx, now, most)? {
            Poll::Pending => {
                self.input.settle();
                self.claim.shrink(match self.input.filled().len() {
                    ..FREE => self.input.held(),
                    _ => self.input.held().max(self.input.begun()),
                });
                Ok(NextStep::Wait)
            }
            Poll::Ready(bytes) => {
                if bytes == 0 {
                    self.input.rest();
                    self.has_ended = true;
                    self.packet_by = None;
                    self.session.hung_up();
                }
                Ok(NextStep::Again)
            }
        }
    }

    /// Reads once, into memory for `most` bytes in all. Returns the number of bytes.
    fn take_in(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let is_short = self.shared.input_budget.is_full() && self.input.filled().len() < FREE;
        let mut room = self.input.room(most);
        if is_short && room.len() > FREE {
            // Without a claim only the first bytes are read (INPUT-3).
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

    /// Ends the connection if a time limit has passed (CONNECTION-3).
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
            Some((Code::Idle, "the client was silent for too long"))
        } else {
            None
        };
        if let Some((code, message)) = failure {
            self.session.end(Failure::new(code, message));
        }
    }

    /// When to check whether others wait for the memory of this client's unread output (BUDGET-6).
    fn look_by(&self) -> Option<Instant> {
        let stuck_since = self.write_by?.checked_sub(self.shared.limits.write)?;
        let first = stuck_since + IN_THE_WAY;
        self.session.has_much_unread().then(|| self.looked_at.map_or(first, |at| at + IN_THE_WAY))
    }

    /// Whether this client has read nothing for a while, and others wait for that memory (BUDGET-6).
    fn is_in_the_way(&mut self, now: Instant) -> bool {
        if self.look_by().is_none_or(|by| by > now) {
            return false;
        }
        self.looked_at = Some(now);
        self.shared.output_budget.is_wanted()
    }

    /// Whether the server waits for the client, not the reverse.
    fn is_read(&self) -> bool {
        self.session.accepts_input() && !self.claim.is_waiting()
    }

    /// When to check whether others wait for the memory of a packet that makes no progress (INPUT-4).
    fn look_at_room_by(&self) -> Option<Instant> {
        let holds = self.claim.bytes() > FREE && self.packet_by.is_some() && self.is_read();
        holds.then(|| {
            self.looked_at.unwrap_or(self.heard_at).max(self.heard_at)
                + self.shared.limits.packet / 8
        })
    }

    /// Whether this client does not go on with its packet while others wait for that memory (INPUT-4).
    fn holds_room(&mut self, now: Instant) -> bool {
        if self.look_at_room_by().is_none_or(|by| by > now) {
            return false;
        }
        self.looked_at = Some(now);
        self.shared.input_budget.is_wanted()
    }

    fn idle_by(&self) -> Option<Instant> {
        let limit = self.shared.limits.idle?;
        self.session.is_idle().then(|| self.heard_at + limit)
    }

    /// Shuts down our side of the socket.
    fn shut(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<NextStep> {
        match Pin::new(&mut self.socket).poll_shutdown(cx)? {
            Poll::Pending => {
                let by = *self.write_by.get_or_insert(now + LINGER);
                Ok(if by <= now { NextStep::Over } else { NextStep::Wait })
            }
            Poll::Ready(()) if self.has_ended => Ok(NextStep::Over),
            Poll::Ready(()) => {
                self.lingers_until = Some(now + LINGER);
                self.input = Input::default();
                self.claim = InputClaim::new(&self.shared.input_budget);
                Ok(NextStep::Again)
            }
        }
    }

    fn linger(&mut self, cx: &mut Context<'_>) -> io::Result<NextStep> {
        let mut bytes = [0; 4096];
        for _ in 0..TURN {
            let mut room = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(cx, &mut room)? {
                Poll::Pending => return Ok(NextStep::Wait),
                Poll::Ready(()) if room.filled().is_empty() => return Ok(NextStep::Over),
                Poll::Ready(()) => {}
            }
        }
        Ok(NextStep::Over)
    }

    /// Sets the timer for the next deadline. True if it has passed already.
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
        // A timer that fires early does no harm: it is set again then.
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
                NextStep::Over => return Poll::Ready(Ok(())),
                NextStep::Again if budget > 0 => {}
                NextStep::Again => {
                    cx.waker().wake_by_ref();
                    break;
                }
                NextStep::Wait => break,
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
    use crate::net::server::admission::{Admission, Caps};
    use crate::net::server::fuzz;

    /// Bytes that the pipe buffers.
    const PIPE: usize = 1 << 20;

    fn connection() -> (Connection<DuplexStream>, DuplexStream) {
        let caps = Caps { connections: 1, ungreeted: 1, per_address: 1 };
        let permit = Admission::new(caps).admit(None).unwrap();
        let (client, socket) = duplex(PIPE);
        let mailbox = Arc::new(Mailbox::default());
        (Connection::new(socket, fuzz::new_shared(), mailbox, permit), client)
    }

    /// Sends `said`, and waits for `count` answers. Returns their length in bytes.
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
        // Shorter than a cached buffer, and longer.
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
