//! What others tell a connection: pool threads with answers, jobs that changed, the drain.
//!
//! A connection is one task that waits for everything at once. Whoever has something for it puts a
//! letter into its mailbox and wakes it. What may come again and again (a job changed, the
//! watermarks moved) is a set or a flag, so that nothing piles up for a connection that is slow to
//! look.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::budget::Made;
use super::peer::Peer;
use super::session::{Run, Waiting, Why, Wrote};
use crate::net::proto::{Failure, JobState};
use crate::net::service::{JobListener, JobNumber, Stream};

/// Where a connection is told things.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// Whose it is, for the log.
    peer: Peer,
    post: Mutex<Post>,
    /// Whether there is post, readable without the lock.
    has_post: AtomicBool,
    waker: AtomicWaker,
    /// The socket takes nothing more: for whoever is about to make more for it.
    is_stuck: AtomicBool,
    /// Bytes of answers in the making, of answers that wait here, and of output.
    reserved: AtomicUsize,
    unread: AtomicUsize,
}

/// What has come since the last look.
#[derive(Debug, Default)]
pub(crate) struct Post {
    pub(crate) letters: Vec<Letter>,
    /// Long operations that changed.
    pub(crate) jobs: BTreeSet<JobNumber>,
    pub(crate) watermarks_moved: bool,
    pub(crate) is_draining: bool,
    /// The time for that is over.
    pub(crate) is_cut_off: bool,
    /// A token has been withdrawn.
    pub(crate) is_withdrawn: bool,
}

/// An answer from the pool.
#[derive(Debug)]
pub(crate) enum Letter {
    /// It was given up before a thread came to it.
    Unwanted,
    /// The last packet for a request.
    Answer { id: u64, ticket: u64, made: Made },
    /// It was not made, since too much is unread already (BUDGET-2, BUDGET-5).
    Later(Waiting, Why),
    /// The write of this number has ended; it is that of this id and ticket.
    Wrote { number: u64, of: (u64, u64), wrote: Wrote },
    /// No thread has this run any more. What is left of it was put off (BUDGET-2).
    RunEnded(Arc<Run>),
    /// A part of a stream; no stream comes back with the last.
    Part { id: u64, ticket: u64, made: Made, stream: Option<Box<Stream>> },
    /// The stream whose next part was not made, for the same reason.
    Standing { id: u64, ticket: u64, stream: Box<Stream> },
    /// The states of watched jobs of former lives.
    Judged { id: u64, ticket: u64, jobs: Vec<Judged> },
}

/// A job of a former life, and its state if that can be told.
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

    /// Who is at the other end of the connection.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Has this task woken when something comes.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes everything out.
    pub(crate) fn take(&self) -> Option<Post> {
        if !self.has_post.load(Ordering::Acquire) {
            return None;
        }
        let mut post = self.post.lock();
        self.has_post.store(false, Ordering::Release);
        Some(std::mem::take(&mut *post))
    }

    pub(crate) fn send(&self, letter: Letter) {
        if let Letter::Answer { made, .. } = &letter {
            // Until the session has looked, it is unread as well.
            self.unread.fetch_add(made.packet.len(), Ordering::Relaxed);
        }
        self.put(|post| post.letters.push(letter));
    }

    pub(crate) fn watermarks_moved(&self) {
        self.put(|post| post.watermarks_moved = true);
    }

    /// Asks the connection to come to an end.
    pub(crate) fn drain(&self) {
        self.put(|post| post.is_draining = true);
    }

    /// Ends the connection, whatever is in flight.
    pub(crate) fn cut_off(&self) {
        self.put(|post| post.is_cut_off = true);
    }

    /// Has the connection look whether its token has been withdrawn.
    pub(crate) fn withdrawn(&self) {
        self.put(|post| post.is_withdrawn = true);
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

    /// What of the output is not taken by the socket.
    pub(crate) fn set_unread(&self, bytes: usize) {
        if self.unread.load(Ordering::Relaxed) != bytes {
            self.unread.store(bytes, Ordering::Relaxed);
        }
    }

    /// An answer of so many bytes is being made.
    pub(crate) fn reserve(&self, bytes: usize) -> Reserved<'_> {
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
        Reserved(self, bytes)
    }

    /// Bytes that the client has yet to read, as far as they are known.
    pub(crate) fn unread(&self) -> usize {
        self.reserved.load(Ordering::Relaxed) + self.unread.load(Ordering::Relaxed)
    }

    fn put(&self, change: impl FnOnce(&mut Post)) {
        {
            let mut post = self.post.lock();
            change(&mut post);
            self.has_post.store(true, Ordering::Release);
        }
        self.waker.wake();
    }
}

impl JobListener for Mailbox {
    fn changed(&self, job: JobNumber) {
        self.put(|post| {
            post.jobs.insert(job);
        });
    }
}
