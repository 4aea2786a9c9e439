//! The mailbox of a connection: answers of pool threads, jobs that changed, the drain.
//!
//! A connection is one task that waits for everything at once. A thread that has something for it
//! puts a message into its mailbox and wakes it. A notice that may come again and again (a job
//! changed, the watermarks moved) is a set or a flag, so that nothing piles up for a slow
//! connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::output_budget::EncodedAnswer;
use super::peer::Peer;
use super::work::{DeferReason, QueuedRequest, WriteOutcome, WriteRun};
use crate::net::proto::{Failure, JobState};
use crate::net::service::{JobListener, JobNumber, Stream};

/// The mailbox of one connection.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// The other end of the connection, for the log.
    peer: Peer,
    inbox: Mutex<Inbox>,
    /// Whether the inbox holds anything, readable without the lock.
    has_mail: AtomicBool,
    waker: AtomicWaker,
    /// The socket takes nothing more. Pool threads look at this before they make an answer.
    is_stuck: AtomicBool,
    /// Bytes of answers in the making.
    reserved: AtomicUsize,
    /// Bytes of answers that wait here, and of output.
    unread: AtomicUsize,
}

/// Everything that has come since the last look.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) messages: Vec<Message>,
    /// Long operations that changed.
    pub(crate) jobs: BTreeSet<JobNumber>,
    pub(crate) watermarks_moved: bool,
    pub(crate) is_draining: bool,
    /// The time for the drain is over.
    pub(crate) is_cut_off: bool,
    /// A token was withdrawn.
    pub(crate) is_withdrawn: bool,
}

/// A result from the pool. `id` and `ticket` name the flight that it is for.
#[derive(Debug)]
pub(crate) enum Message {
    /// The request was cancelled before a thread came to it.
    Cancelled,
    /// The last packet for a request.
    Answer { id: u64, ticket: u64, made: EncodedAnswer },
    /// No answer was made, because too much is unread already (BUDGET-2, BUDGET-5).
    Deferred(QueuedRequest, DeferReason),
    /// The write of this number has ended.
    Wrote { number: u64, id: u64, ticket: u64, outcome: WriteOutcome },
    /// No thread has this run any more. Writes that are left in it were deferred (BUDGET-2).
    RunEnded(Arc<WriteRun>),
    /// A part of a stream. The last part brings no stream back.
    Part { id: u64, ticket: u64, made: EncodedAnswer, stream: Option<Box<Stream>> },
    /// The next part of this stream was not made (BUDGET-2).
    PartDeferred { id: u64, ticket: u64, stream: Box<Stream> },
    /// The states of watched jobs of former lives.
    Judged { id: u64, ticket: u64, jobs: Vec<Judged> },
}

/// A job of a former life with its state, or why that is unknown.
pub(crate) type Judged = (String, Result<JobState<'static>, Failure<'static>>);

/// Bytes of an answer that is being made.
pub(crate) struct Reserved<'a>(&'a Mailbox, usize);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.0.reserved.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Mailbox {
    pub(crate) fn of(peer: Peer) -> Mailbox {
        Mailbox { peer, ..Mailbox::default() }
    }

    /// The other end of the connection.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Registers the task to wake when something comes.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes everything out.
    pub(crate) fn take(&self) -> Option<Inbox> {
        if !self.has_mail.load(Ordering::Acquire) {
            return None;
        }
        let mut inbox = self.inbox.lock();
        self.has_mail.store(false, Ordering::Release);
        Some(std::mem::take(&mut *inbox))
    }

    pub(crate) fn send(&self, message: Message) {
        if let Message::Answer { made, .. } = &message {
            // It is unread already while it waits for the session.
            self.unread.fetch_add(made.packet.len(), Ordering::Relaxed);
        }
        self.put(|inbox| inbox.messages.push(message));
    }

    pub(crate) fn watermarks_moved(&self) {
        self.put(|inbox| inbox.watermarks_moved = true);
    }

    /// Asks the connection to come to an end.
    pub(crate) fn drain(&self) {
        self.put(|inbox| inbox.is_draining = true);
    }

    /// Ends the connection, whatever is in flight.
    pub(crate) fn cut_off(&self) {
        self.put(|inbox| inbox.is_cut_off = true);
    }

    /// Tells the connection to check whether its token was withdrawn.
    pub(crate) fn withdrawn(&self) {
        self.put(|inbox| inbox.is_withdrawn = true);
    }

    /// The socket takes nothing more.
    pub(crate) fn sticks(&self) {
        self.is_stuck.store(true, Ordering::Relaxed);
    }

    /// The socket has taken all there was.
    pub(crate) fn flows(&self) {
        self.is_stuck.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// Notes how many bytes of output the socket has yet to take.
    pub(crate) fn set_unread(&self, bytes: usize) {
        if self.unread.load(Ordering::Relaxed) != bytes {
            self.unread.store(bytes, Ordering::Relaxed);
        }
    }

    /// Counts an answer of `bytes` bytes that is being made.
    pub(crate) fn reserve(&self, bytes: usize) -> Reserved<'_> {
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
        Reserved(self, bytes)
    }

    /// Bytes that the client has yet to read, those in the making included.
    pub(crate) fn unread(&self) -> usize {
        self.reserved.load(Ordering::Relaxed) + self.unread.load(Ordering::Relaxed)
    }

    fn put(&self, change: impl FnOnce(&mut Inbox)) {
        {
            let mut inbox = self.inbox.lock();
            change(&mut inbox);
            self.has_mail.store(true, Ordering::Release);
        }
        self.waker.wake();
    }
}

impl JobListener for Mailbox {
    fn changed(&self, job: JobNumber) {
        self.put(|inbox| {
            inbox.jobs.insert(job);
        });
    }
}
