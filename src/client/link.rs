//! One connection, shared by many tasks.
//!
//! ```text
//!   ask ----> state: out, waiters ----> writer: whatever is queued, in one write ----> socket
//!    ^              |
//!    '-- answer ----'<----------------- reader: whole packets, each to its waiter <---- socket
//! ```
//!
//! A waiter leaves the table with the last answer to its id and in no other way while the
//! connection lives: who gives up (a dropped future) sends `Cancel` and leaves the waiter behind,
//! with nobody to tell. So an id, and its place among those in flight, are free again exactly when
//! the server thinks so too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::address::Socket;
use super::answer::Answer;
use super::deadline::Deadline;
use super::error::{Error, Result};
use super::greeting::Greeting;
use crate::proto::{Cancel, Credit, Head, Kind, Packet, Part, Progress, Request, Response, decode};

/// A connection that has said hello.
pub(super) struct Link {
    pub(super) greeting: Greeting,
    max_body: u32,
    max_queued: usize,
    state: Mutex<State>,
    permits: Arc<Semaphore>,
    wake_writer: Notify,
    room: Notify,
    over: Notify,
    heard: AtomicBool,
    bytes_in: AtomicU64,
    reader: OnceLock<AbortHandle>,
}

/// Guarded by `Link::state`, which is held for no longer than it takes to encode a request.
#[derive(Default)]
struct State {
    out: Vec<u8>,
    /// Bytes ever queued, and of these those that the writer has taken: `taken <= queued`.
    queued: u64,
    taken: u64,
    last_id: u64,
    waiters: HashMap<u64, Waiter>,
    /// The server has said goodbye: nothing new is sent.
    is_draining: bool,
    ended: Option<End>,
}

/// Why a connection is over.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// It was closed or cut, by either side.
    Cut(String),
    /// The server sent what the protocol does not allow.
    Broken(String),
}

struct Waiter {
    /// Where its request begins among the bytes queued.
    start: u64,
    to: To,
    _permit: OwnedSemaphorePermit,
}

enum To {
    One(oneshot::Sender<Result<Answer>>),
    /// A stream or watch, and how many more packets it may send.
    Many(mpsc::UnboundedSender<Result<Answer>>, u32),
    /// Given up: its answer is thrown away.
    Nobody,
}

/// A request under way. Dropped before its last answer, it is cancelled.
struct Flight {
    link: Arc<Link>,
    id: u64,
}

/// The answers to a request that has many, as far as there is credit.
pub(super) struct Parts {
    flight: Flight,
    answers: mpsc::UnboundedReceiver<Result<Answer>>,
    is_over: bool,
}

impl Link {
    /// Begins to write and read. `rest` is what came behind the greeting.
    pub(super) fn start(
        socket: Box<dyn Socket>,
        greeting: Greeting,
        rest: Vec<u8>,
        limits: &super::options::ClientOptions,
    ) -> Arc<Link> {
        let in_flight = limits.max_in_flight.min(greeting.max_in_flight).max(1);
        let link = Arc::new(Link {
            greeting,
            max_body: limits.max_body,
            max_queued: limits.max_queued_bytes,
            state: Mutex::default(),
            permits: Arc::new(Semaphore::new(in_flight as usize)),
            wake_writer: Notify::new(),
            room: Notify::new(),
            over: Notify::new(),
            heard: AtomicBool::new(true),
            bytes_in: AtomicU64::new(0),
            reader: OnceLock::new(),
        });
        let (read, write) = tokio::io::split(socket);
        tokio::spawn(Arc::clone(&link).write_all(write));
        let reader = tokio::spawn(Arc::clone(&link).read_all(read, rest));
        let _ = link.reader.set(reader.abort_handle());
        link
    }

    /// Whether requests may still be sent.
    pub(super) fn is_open(&self) -> bool {
        let state = self.state.lock();
        state.ended.is_none() && !state.is_draining
    }

    /// Bytes that were queued, and that came.
    pub(super) fn traffic(&self) -> (u64, u64) {
        (self.state.lock().queued, self.bytes_in.load(Ordering::Relaxed))
    }

    /// Sends a request that has one answer, and waits for it.
    pub(super) async fn ask(
        self: &Arc<Link>,
        request: &Request<'_>,
        deadline: &Deadline,
    ) -> Result<Answer> {
        let (sender, answer) = oneshot::channel();
        let sending = self.send(request, deadline, To::One(sender));
        let flight = deadline.before_sending(sending).await?;
        let answer = deadline.for_answer(answer).await?;
        // The waiter is gone, so there is nothing to cancel: see `give_up`.
        drop(flight);
        answer.unwrap_or_else(|_| Err(End::Cut("the client is gone".into()).of(true)))?.checked()
    }

    /// Sends a request that has as many answers as there is `credit`.
    pub(super) async fn subscribe(
        self: &Arc<Link>,
        request: &Request<'_>,
        credit: u32,
    ) -> Result<Parts> {
        let (sender, answers) = mpsc::unbounded_channel();
        let flight = self.send(request, &Deadline::NONE, To::Many(sender, credit)).await?;
        Ok(Parts { flight, answers, is_over: false })
    }

    async fn send(
        self: &Arc<Link>,
        request: &Request<'_>,
        deadline: &Deadline,
        to: To,
    ) -> Result<Flight> {
        let closed = || self.reason().of(false);
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())?;
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.state.lock().out.len() < self.max_queued {
                break;
            }
            room.await;
        }
        let mut state = self.state.lock();
        if state.ended.is_some() || state.is_draining {
            drop(state);
            return Err(closed());
        }
        let (start, before) = (state.queued, state.out.len());
        let id = state.last_id + 1;
        request
            .encode(id, deadline.on_wire(), self.greeting.max_body, &mut state.out)
            .map_err(|too_large| Error::TooLarge { len: too_large.len, max: too_large.max })?;
        state.last_id = id;
        state.queued += (state.out.len() - before) as u64;
        state.waiters.insert(id, Waiter { start, to, _permit: permit });
        drop(state);
        self.wake_writer.notify_one();
        Ok(Flight { link: Arc::clone(self), id })
    }

    /// Queues a packet that steers another and is not answered.
    fn steer(&self, state: &mut State, id: u64, request: &Request<'_>) {
        let before = state.out.len();
        let encoded = request.encode(id, 0, self.greeting.max_body, &mut state.out);
        encoded.expect("a few bytes");
        state.queued += (state.out.len() - before) as u64;
        self.wake_writer.notify_one();
    }

    fn give_up(&self, id: u64) {
        let mut state = self.state.lock();
        let Some(waiter) = state.waiters.get_mut(&id) else { return };
        if matches!(waiter.to, To::Nobody) {
            return;
        }
        waiter.to = To::Nobody;
        self.steer(&mut state, id, &Request::Cancel(Cancel { id }));
    }

    fn add_credit(&self, id: u64, more: u32) {
        let mut state = self.state.lock();
        let Some(Waiter { to: To::Many(_, credit), .. }) = state.waiters.get_mut(&id) else {
            return;
        };
        *credit += more;
        self.steer(&mut state, id, &Request::Credit(Credit { id, more }));
    }

    /// Ends the connection: everybody who waits is told.
    pub(super) fn end(&self, why: End) {
        let (waiters, taken) = {
            let mut state = self.state.lock();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(why.clone());
            // Whoever waits for room finds it, and then the end.
            state.out = Vec::new();
            (std::mem::take(&mut state.waiters), state.taken)
        };
        self.permits.close();
        for waiter in waiters.into_values() {
            let error = why.clone().of(waiter.start < taken);
            match waiter.to {
                To::One(sender) => drop(sender.send(Err(error))),
                To::Many(sender, _) => drop(sender.send(Err(error))),
                To::Nobody => {}
            }
        }
        self.over.notify_one();
        self.wake_writer.notify_one();
        self.room.notify_waiters();
        if let Some(reader) = self.reader.get() {
            reader.abort();
        }
    }

    fn reason(&self) -> End {
        let ended = self.state.lock().ended.clone();
        ended.unwrap_or_else(|| End::Cut("the server is about to end".into()))
    }

    /// Waits until the connection takes no more requests. Asks for a sign of life when nothing has
    /// been heard for `keep_alive`, and ends the connection if none comes.
    pub(super) async fn attend(self: &Arc<Link>, keep_alive: Duration) {
        while self.is_open() {
            if tokio::time::timeout(keep_alive, self.over.notified()).await.is_ok() {
                return;
            }
            if !self.heard.swap(false, Ordering::Relaxed) {
                let ping =
                    tokio::time::timeout(keep_alive, self.ask(&Request::Ping, &Deadline::NONE))
                        .await;
                if ping.is_err() {
                    self.end(End::Cut("the server gives no sign of life".into()));
                }
            }
        }
    }

    async fn write_all(self: Arc<Link>, mut socket: WriteHalf<Box<dyn Socket>>) {
        let mut taken = Vec::new();
        loop {
            {
                let mut state = self.state.lock();
                if state.ended.is_some() {
                    break;
                }
                std::mem::swap(&mut taken, &mut state.out);
                state.taken = state.queued;
            }
            if taken.is_empty() {
                self.wake_writer.notified().await;
                // Whoever else is ready now gets into the same write.
                tokio::task::yield_now().await;
                continue;
            }
            self.room.notify_waiters();
            let written = async {
                socket.write_all(&taken).await?;
                socket.flush().await
            };
            if let Err(error) = written.await {
                self.end(End::Cut(error.to_string()));
            }
            taken.clear();
            if taken.capacity() > 1 << 20 {
                taken = Vec::new();
            }
        }
        let _ = socket.shutdown().await;
    }

    async fn read_all(self: Arc<Link>, mut socket: ReadHalf<Box<dyn Socket>>, rest: Vec<u8>) {
        let mut buffer = rest;
        let why = loop {
            let needed = match self.deliver(&mut buffer) {
                Ok(needed) => needed,
                Err(why) => break why,
            };
            buffer.reserve(needed.max(16 << 10));
            match socket.read_buf(&mut buffer).await {
                Ok(0) => break End::Cut("the server has hung up".into()),
                Ok(bytes) => {
                    self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
                    self.heard.store(true, Ordering::Relaxed);
                }
                Err(error) => break End::Cut(error.to_string()),
            }
        };
        self.end(why);
    }

    /// Hands whole packets to their waiters. Returns how many bytes the next one lacks.
    fn deliver(&self, buffer: &mut Vec<u8>) -> Result<usize, End> {
        let mut used = 0;
        let mut state = self.state.lock();
        let needed = loop {
            let progress = decode(&buffer[used..], self.max_body);
            match progress.map_err(|broken| End::Broken(broken.to_string()))? {
                Progress::NeedMore(needed) => break needed,
                Progress::Packet(packet) => {
                    used += packet.len_in_buffer();
                    self.dispatch(&mut state, &packet)?;
                }
            }
        };
        buffer.drain(..used);
        Ok(needed)
    }

    fn dispatch(&self, state: &mut State, packet: &Packet<'_>) -> Result<(), End> {
        let broken = |what: &str| End::Broken(what.to_owned());
        let Head { id, part, kind, .. } = packet.head;
        if id == 0 {
            return match Response::decode(packet) {
                Ok(Response::Goodbye(_)) => {
                    state.is_draining = true;
                    self.over.notify_one();
                    Ok(())
                }
                Ok(Response::Error(failure)) => Err(End::Cut(failure.to_string())),
                _ => Err(broken("an answer to no request")),
            };
        }
        let Some(waiter) = state.waiters.get_mut(&id) else {
            return Err(broken(&format!("an answer to request {id}, which is not in flight")));
        };
        if let To::Many(_, credit) = &mut waiter.to
            && kind != Kind::Error.number()
        {
            let less = credit.checked_sub(1);
            *credit = less.ok_or_else(|| broken("more packets than there was credit for"))?;
        }
        let answer = || Answer::new(packet, &self.greeting);
        if part == Part::More {
            match &waiter.to {
                To::Many(sender, _) => drop(sender.send(Ok(answer()))),
                To::One(_) => {
                    return Err(broken("an answer in parts to a request that has one"));
                }
                To::Nobody => {}
            }
            return Ok(());
        }
        let waiter = state.waiters.remove(&id).expect("looked at above");
        match waiter.to {
            To::One(sender) => drop(sender.send(Ok(answer()))),
            To::Many(sender, _) => drop(sender.send(Ok(answer()))),
            To::Nobody => {}
        }
        Ok(())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.link.give_up(self.id);
    }
}

impl Parts {
    /// The next packet; `None` after the last. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Result<Answer>> {
        if self.is_over {
            return None;
        }
        let next = self.answers.recv().await?;
        let next = next.and_then(Answer::checked);
        self.is_over = match &next {
            Ok(answer) => answer.is_last(),
            Err(_) => true,
        };
        Some(next)
    }

    /// Lets the server send more.
    pub(super) fn add_credit(&self, more: u32) {
        self.flight.link.add_credit(self.flight.id, more);
    }
}

impl End {
    /// What it means to a request, which may have left this process.
    fn of(self, was_sent: bool) -> Error {
        match (self, was_sent) {
            (End::Cut(reason) | End::Broken(reason), false) => Error::NotSent { reason },
            (End::Cut(reason), true) => Error::Lost { reason },
            (End::Broken(what), true) => Error::Protocol(what),
        }
    }
}
