//! A link: one connection, shared by many tasks.
//!
//! ```text
//!   ask ----> state: out, waiters ----> writer: all that is queued, in one write -----> socket
//!    ^              |
//!    '-- answer ----'<----------------- reader: whole packets, each to its waiter <---- socket
//! ```
//!
//! While the connection lives, only the last answer to its id takes a waiter from the table. A caller
//! that gives up (a dropped future) sends `Cancel`, and its waiter stays as [`To::Nobody`]. So an id
//! and its permit in flight are free again exactly when the server thinks so too. Streams and watches
//! need a second permit.
//!
//! A link ends once ([`Link::end`]). Reader, writer, the client's drop or the runtime's end may be the
//! first to notice. Writer and reader are gone within a second then, even if the server reads nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::answer::Answer;
use super::deadline::Deadline;
use super::error::{Error, Result};
use super::greeting::Greeting;
use super::options::ClientOptions;
use crate::net::proto::{Cancel, Credit, Request};

/// A connection after its handshake.
pub(super) struct Link {
    pub(super) greeting: Greeting,
    pub(super) begun: Instant,
    pub(super) max_body: u32,
    max_queued: usize,
    pub(super) state: Mutex<State>,
    in_flight: Arc<Semaphore>,
    subscriptions: Arc<Semaphore>,
    pub(super) wake_writer: Notify,
    pub(super) room: Notify,
    /// The link drains, has no more requests in flight, or is over.
    pub(super) turned: Notify,
    /// The link is over: stops the writer in the middle of a write.
    pub(super) stop: Notify,
    pub(super) heard: AtomicBool,
    pub(super) bytes_in: AtomicU64,
    pub(super) reader: OnceLock<AbortHandle>,
}

/// Guarded by the lock `Link::state`, which is held only while a request is encoded.
#[derive(Default)]
pub(super) struct State {
    pub(super) out: Vec<u8>,
    /// Bytes ever queued, and bytes of these that the writer has taken: `taken <= queued`.
    pub(super) queued: u64,
    pub(super) taken: u64,
    last_id: u64,
    pub(super) waiters: HashMap<u64, Waiter>,
    /// Set when the link drains: the server has said goodbye, or the client is being closed. Nothing
    /// new is sent; requests in flight are answered for this many milliseconds.
    pub(super) draining_ms: Option<u32>,
    pub(super) ended: Option<End>,
}

/// Why a link is over.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// Either side closed or cut it.
    Cut(String),
    /// The server sent what the protocol does not allow.
    Broken(String),
}

pub(super) struct Waiter {
    /// Where its request begins in the bytes ever queued.
    start: u64,
    pub(super) to: To,
    _permits: Permits,
}

/// The permit of a request in flight, and that of a stream or watch. A ping needs none.
#[derive(Default)]
struct Permits {
    _in_flight: Option<OwnedSemaphorePermit>,
    _subscription: Option<OwnedSemaphorePermit>,
}

pub(super) enum To {
    One(oneshot::Sender<Result<Answer>>),
    /// A stream or watch, and how many more packets the server may send.
    Many(mpsc::UnboundedSender<Result<Answer>>, u32),
    /// The caller has given up: the answer is dropped.
    Nobody,
}

/// A request in flight. Dropped before its last answer, it is cancelled.
pub(super) struct Flight {
    link: Arc<Link>,
    id: u64,
}

/// Ends the link when the task that owns this is dropped.
pub(super) struct EndsWith(pub(super) Arc<Link>);

impl Link {
    pub(super) fn new(greeting: Greeting, limits: &ClientOptions) -> Arc<Link> {
        let in_flight = limits.max_in_flight.min(greeting.max_in_flight).max(1);
        let subscriptions = greeting.max_subscriptions.clamp(1, in_flight);
        Arc::new(Link {
            begun: Instant::now(),
            max_body: limits.max_body,
            max_queued: limits.max_queued_bytes,
            state: Mutex::default(),
            in_flight: Arc::new(Semaphore::new(in_flight as usize)),
            subscriptions: Arc::new(Semaphore::new(subscriptions as usize)),
            wake_writer: Notify::new(),
            room: Notify::new(),
            turned: Notify::new(),
            stop: Notify::new(),
            heard: AtomicBool::new(true),
            bytes_in: AtomicU64::new(0),
            reader: OnceLock::new(),
            greeting,
        })
    }

    /// Whether requests may still be sent.
    pub(super) fn is_open(&self) -> bool {
        let state = self.state.lock();
        state.ended.is_none() && state.draining_ms.is_none()
    }

    /// Whether a caller waits for an answer.
    pub(super) fn has_work(&self) -> bool {
        let state = self.state.lock();
        state.ended.is_none() && state.is_awaited()
    }

    /// Bytes queued, and bytes received.
    pub(super) fn traffic(&self) -> (u64, u64) {
        (self.state.lock().queued, self.bytes_in.load(Ordering::Relaxed))
    }

    /// Sends a request that has one answer, and waits for the answer.
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
        answer.unwrap_or_else(|_| Err(End::gone().of(true)))?.checked()
    }

    /// Sends a ping, without a permit: requests that wait for long may hold them all. Any answer shows
    /// that the server lives.
    pub(super) async fn ping(self: &Arc<Link>) {
        let (sender, answer) = oneshot::channel();
        let asked =
            self.queue(&Request::Ping, &Deadline::NONE, To::One(sender), Permits::default());
        if let Ok(_flight) = asked {
            let _ = answer.await;
        }
    }

    pub(super) async fn send(
        self: &Arc<Link>,
        request: &Request<'_>,
        deadline: &Deadline,
        to: To,
    ) -> Result<Flight> {
        let subscription = match to {
            To::Many(..) => Some(self.permit(&self.subscriptions).await?),
            _ => None,
        };
        let in_flight = Some(self.permit(&self.in_flight).await?);
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.state.lock().out.len() < self.max_queued {
                break;
            }
            room.await;
        }
        let permits = Permits { _in_flight: in_flight, _subscription: subscription };
        self.queue(request, deadline, to, permits)
    }

    async fn permit(&self, permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(permits).acquire_owned().await;
        permit.map_err(|_| self.reason().of(false))
    }

    fn queue(
        self: &Arc<Link>,
        request: &Request<'_>,
        deadline: &Deadline,
        to: To,
        permits: Permits,
    ) -> Result<Flight> {
        let mut state = self.state.lock();
        let is_ping = matches!(request, Request::Ping);
        if state.ended.is_some() || state.draining_ms.is_some() && !is_ping {
            drop(state);
            return Err(self.reason().of(false));
        }
        let (start, before) = (state.queued, state.out.len());
        let id = state.last_id + 1;
        request
            .encode(id, deadline.on_wire(), self.greeting.max_body, &mut state.out)
            .map_err(|too_large| Error::TooLarge { len: too_large.len, max: too_large.max })?;
        state.last_id = id;
        state.queued += (state.out.len() - before) as u64;
        state.waiters.insert(id, Waiter { start, to, _permits: permits });
        drop(state);
        self.wake_writer.notify_one();
        Ok(Flight { link: Arc::clone(self), id })
    }

    /// Queues a packet that steers another request and is not answered itself.
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
        self.notice_idle(&state);
    }

    fn add_credit(&self, id: u64, more: u32) {
        let mut state = self.state.lock();
        let Some(Waiter { to: To::Many(_, credit), .. }) = state.waiters.get_mut(&id) else {
            return;
        };
        *credit += more;
        self.steer(&mut state, id, &Request::Credit(Credit { id, more }));
    }

    /// Takes no more requests. Those in flight are answered for `drain_ms`.
    pub(super) fn drain(&self, state: &mut State, drain_ms: u32) {
        state.draining_ms = Some(drain_ms);
        self.turned.notify_waiters();
    }

    /// Wakes [`Link::see_off`] if the link drains and no caller waits any more.
    pub(super) fn notice_idle(&self, state: &State) {
        if state.draining_ms.is_some() && !state.is_awaited() {
            self.turned.notify_waiters();
        }
    }

    /// Ends the link: every waiter is told.
    pub(super) fn end(&self, why: End) {
        let (waiters, taken) = {
            let mut state = self.state.lock();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(why.clone());
            // Callers that wait for room find it, and then the end.
            state.out = Vec::new();
            (std::mem::take(&mut state.waiters), state.taken)
        };
        self.in_flight.close();
        self.subscriptions.close();
        for waiter in waiters.into_values() {
            let error = why.clone().of(waiter.start < taken);
            match waiter.to {
                To::One(sender) => drop(sender.send(Err(error))),
                To::Many(sender, _) => drop(sender.send(Err(error))),
                To::Nobody => {}
            }
        }
        self.turned.notify_waiters();
        self.stop.notify_waiters();
        self.wake_writer.notify_one();
        self.room.notify_waiters();
        if let Some(reader) = self.reader.get() {
            reader.abort();
        }
    }

    fn reason(&self) -> End {
        let ended = self.state.lock().ended.clone();
        ended.unwrap_or_else(|| End::Cut("the connection is about to end".into()))
    }
}

impl State {
    fn is_awaited(&self) -> bool {
        self.waiters.values().any(|waiter| !matches!(waiter.to, To::Nobody))
    }
}

impl Flight {
    /// Lets the server send more answers.
    pub(super) fn add_credit(&self, more: u32) {
        self.link.add_credit(self.id, more);
    }

    pub(super) fn give_up(&self) {
        self.link.give_up(self.id);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.end(End::gone());
    }
}

impl End {
    /// The tasks that read and write are gone.
    pub(super) fn gone() -> End {
        End::Cut("the client, or the runtime that it was made in, is gone".into())
    }

    /// The error of a request, which may have left this process.
    pub(super) fn of(self, was_sent: bool) -> Error {
        match (self, was_sent) {
            (End::Cut(reason) | End::Broken(reason), false) => Error::NotSent { reason },
            (End::Cut(reason), true) => Error::Lost { reason },
            (End::Broken(what), true) => Error::Protocol(what),
        }
    }
}
