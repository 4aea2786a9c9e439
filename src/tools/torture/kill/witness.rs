//! The witness: memory shared with the process that is killed, which holds its acknowledgements.
//!
//! ```text
//!   words   what                                      written by
//!   0       phase                                     the child
//!   1       beats: grows with each step of progress   all threads of the child
//!   2       highest LSN acknowledged                  all threads of the child
//!   3       highest LSN reported durable              all threads of the child
//!   4, 5    sync and async commits acknowledged       all threads of the child
//!   6       how grave a fault this life has met       the tracer
//!   7       errors seen that faults caused            all threads of the child
//!   8, 9    length of the verdict; verdicts given     all threads of the child
//!   10, 11  rounds of the reader; whether it ended    the reader of the child
//!   16..    per thread: commits acknowledged; the last that wrote the shared key (number
//!           plus one, LSN; two places, and the one in use); tokens; calls that returned;
//!           whether it has ended                      that thread of the child
//!   ..end   the verdict, text                         the child
//! ```
//!
//! - WITNESS-1 Telling the witness is a store to memory, not a system call, so it does not shift the
//!   moments of kills. Stores before the kill are there after it, in program order.
//! - WITNESS-2 A thread stores an acknowledgement right after the call returned, before it begins the
//!   next commit. So n commits acknowledged means that n or n + 1 are in the store.
//! - WITNESS-3 A value of several words goes to the place that is not in use; one store then makes it
//!   the one in use.
//!
//! The server relies on the words only after the child has ended.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::os;
use super::workload::THREADS;

const WORDS: usize = 2048;
const PHASE: usize = 0;
const BEATS: usize = 1;
const ACKED_LSN: usize = 2;
const DURABLE_LSN: usize = 3;
const SYNC: usize = 4;
const ASYNC: usize = 5;
const INJECTED: usize = 6;
const ERRORS: usize = 7;
const VERDICT_BYTES: usize = 8;
const VERDICTS: usize = 9;
const READS: usize = 10;
const READS_ENDED: usize = 11;
const THREAD_0: usize = 16;
const WORDS_OF_THREAD: usize = 64;
const VERDICT: usize = THREAD_0 + THREADS * WORDS_OF_THREAD;

// Within the words of a thread.
const ACKED: usize = 0;
const LAST_IN_USE: usize = 1;
const LAST: usize = 2;
const TOKENS: usize = 8;
const CALLS: usize = 32;
const CALLS_ENDED: usize = 33;

/// Tokens kept per thread.
const TOKENS_KEPT: u64 = 16;
/// A token in one word: the incarnation above, the LSN below.
const LSN_BITS: u32 = 40;

/// The phase of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
pub(super) enum Phase {
    /// Not yet begun.
    Start,
    /// Makes a store.
    Create,
    /// Opens a store, which recovers it.
    Open,
    /// Checks the store.
    Check,
    /// Writes and makes checkpoints.
    Write,
    /// Closes.
    Close,
    /// Has done all its work.
    Done,
    /// Ended with an error after an injected fault.
    Refused,
}

impl Phase {
    pub(super) const ALL: [Phase; 8] = [
        Phase::Start,
        Phase::Create,
        Phase::Open,
        Phase::Check,
        Phase::Write,
        Phase::Close,
        Phase::Done,
        Phase::Refused,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Start => "start",
            Phase::Create => "create",
            Phase::Open => "recover",
            Phase::Check => "check",
            Phase::Write => "write",
            Phase::Close => "close",
            Phase::Done => "done",
            Phase::Refused => "refused",
        }
    }
}

/// How far the fault that was injected in a life excuses errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
pub(super) enum Gravity {
    Nothing,
    /// The call was short, or a signal interrupted it: the store repeats it.
    Passing,
    /// There was no space for the call. This poisons nothing.
    Full,
    /// The call failed, and the contents of the device are known.
    Error,
    /// A flush failed, or the device failed a write, perhaps of the superblock. This may poison the
    /// store.
    Grave,
}

impl Gravity {
    const ALL: [Gravity; 5] =
        [Gravity::Nothing, Gravity::Passing, Gravity::Full, Gravity::Error, Gravity::Grave];
}

/// A token without its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) incarnation: u64,
    pub(super) lsn: u64,
}

/// The shared memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Witness {
    words: &'static [AtomicU64],
}

impl Witness {
    pub(super) fn new() -> io::Result<Witness> {
        Ok(Witness { words: os::shared_words(WORDS)? })
    }

    /// Forgets everything, before another store.
    pub(super) fn clear(&self) {
        self.words.iter().for_each(|word| word.store(0, Ordering::SeqCst));
    }

    /// Prepares for another life of the same store.
    pub(super) fn begin_life(&self) {
        for word in [PHASE, INJECTED, VERDICT_BYTES, VERDICTS] {
            self.words[word].store(0, Ordering::SeqCst);
        }
        for word in [READS, READS_ENDED] {
            self.words[word].store(0, Ordering::SeqCst);
        }
        for thread in 0..THREADS {
            self.of(thread, CALLS).store(0, Ordering::SeqCst);
            self.of(thread, CALLS_ENDED).store(0, Ordering::SeqCst);
        }
    }

    // --- the child ---

    pub(super) fn enter(&self, phase: Phase) {
        self.words[PHASE].store(phase as u64, Ordering::SeqCst);
        self.beat();
    }

    pub(super) fn beat(&self) {
        self.words[BEATS].fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that the thread's next commit is acknowledged (WITNESS-2).
    pub(super) fn acknowledge(&self, thread: usize, told: Told, is_sync: bool) {
        let number = self.acked(thread);
        let token = TOKENS + (number % TOKENS_KEPT) as usize;
        assert!(told.lsn < 1 << LSN_BITS, "stores are renewed before they are that old");
        let word = told.incarnation << LSN_BITS | told.lsn;
        self.of(thread, token).store(word, Ordering::SeqCst);
        self.words[ACKED_LSN].fetch_max(told.lsn, Ordering::SeqCst);
        if is_sync {
            self.durable(told.lsn);
        }
        self.of(thread, ACKED).store(number + 1, Ordering::SeqCst);
        self.words[if is_sync { SYNC } else { ASYNC }].fetch_add(1, Ordering::SeqCst);
        self.beat();
    }

    /// Notes a commit of `thread` that wrote the shared key, before its acknowledgement. The LSN is 0
    /// if it is unknown and another commit has overwritten the key.
    pub(super) fn wrote_last(&self, thread: usize, number: u64, lsn: u64) {
        let place = 1 - self.of(thread, LAST_IN_USE).load(Ordering::SeqCst) as usize;
        self.of(thread, LAST + 2 * place).store(number + 1, Ordering::SeqCst);
        self.of(thread, LAST + 2 * place + 1).store(lsn, Ordering::SeqCst);
        self.of(thread, LAST_IN_USE).store(place as u64, Ordering::SeqCst);
    }

    /// Counts commits as acknowledged that were found in the store.
    pub(super) fn adopt(&self, thread: usize, commits: u64) {
        self.of(thread, ACKED).store(commits, Ordering::SeqCst);
    }

    /// Notes that everything up to `lsn` was reported durable.
    pub(super) fn durable(&self, lsn: u64) {
        self.words[DURABLE_LSN].fetch_max(lsn, Ordering::SeqCst);
    }

    /// Notes that a call of `thread` returned, with any result.
    pub(super) fn returned(&self, thread: usize) {
        self.of(thread, CALLS).fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that `thread` makes no more calls.
    pub(super) fn ended(&self, thread: usize) {
        self.of(thread, CALLS_ENDED).store(1, Ordering::SeqCst);
    }

    /// Notes a round of the reader.
    pub(super) fn has_read(&self) {
        self.words[READS].fetch_add(1, Ordering::SeqCst);
        self.beat();
    }

    /// Notes that the reader has ended, or that there is none.
    pub(super) fn reads_no_more(&self) {
        self.words[READS_ENDED].store(1, Ordering::SeqCst);
    }

    pub(super) fn note_error(&self) {
        self.words[ERRORS].fetch_add(1, Ordering::SeqCst);
    }

    /// Stores the first verdict. Returns false for a later one.
    pub(super) fn give_verdict(&self, text: &str) -> bool {
        if self.words[VERDICTS].fetch_add(1, Ordering::SeqCst) != 0 {
            return false;
        }
        let room = (WORDS - VERDICT) * size_of::<u64>();
        let bytes = &text.as_bytes()[..text.len().min(room)];
        for (word, chunk) in self.words[VERDICT..].iter().zip(bytes.chunks(8)) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_le_bytes(eight), Ordering::SeqCst);
        }
        self.words[VERDICT_BYTES].store(bytes.len() as u64, Ordering::SeqCst);
        true
    }

    // --- the tracer ---

    pub(super) fn note_injected(&self, gravity: Gravity) {
        self.words[INJECTED].store(gravity as u64, Ordering::SeqCst);
    }

    // --- everybody ---

    pub(super) fn phase(&self) -> Phase {
        Phase::ALL[self.words[PHASE].load(Ordering::SeqCst) as usize]
    }

    pub(super) fn beats(&self) -> u64 {
        self.words[BEATS].load(Ordering::SeqCst)
    }

    /// The calls of each thread, the reader last. None if it makes no more calls.
    pub(super) fn progress(&self) -> [Option<u64>; THREADS + 1] {
        let word = |word: &AtomicU64| word.load(Ordering::SeqCst);
        std::array::from_fn(|thread| {
            let (calls, ended) = match thread {
                THREADS => (&self.words[READS], &self.words[READS_ENDED]),
                thread => (self.of(thread, CALLS), self.of(thread, CALLS_ENDED)),
            };
            (word(ended) == 0).then(|| word(calls))
        })
    }

    /// How many commits of `thread` are known to be in the store.
    pub(super) fn acked(&self, thread: usize) -> u64 {
        self.of(thread, ACKED).load(Ordering::SeqCst)
    }

    pub(super) fn acked_lsn(&self) -> u64 {
        self.words[ACKED_LSN].load(Ordering::SeqCst)
    }

    pub(super) fn durable_lsn(&self) -> u64 {
        self.words[DURABLE_LSN].load(Ordering::SeqCst)
    }

    pub(super) fn sync_commits(&self) -> u64 {
        self.words[SYNC].load(Ordering::SeqCst)
    }

    pub(super) fn async_commits(&self) -> u64 {
        self.words[ASYNC].load(Ordering::SeqCst)
    }

    pub(super) fn gravity(&self) -> Gravity {
        Gravity::ALL[self.words[INJECTED].load(Ordering::SeqCst) as usize]
    }

    pub(super) fn errors(&self) -> u64 {
        self.words[ERRORS].load(Ordering::SeqCst)
    }

    /// The last commit of `thread` that wrote the shared key, with its LSN.
    pub(super) fn last(&self, thread: usize) -> Option<(u64, u64)> {
        let place = self.of(thread, LAST_IN_USE).load(Ordering::SeqCst) as usize;
        let number = self.of(thread, LAST + 2 * place).load(Ordering::SeqCst);
        let lsn = self.of(thread, LAST + 2 * place + 1).load(Ordering::SeqCst);
        Some((number.checked_sub(1)?, lsn))
    }

    /// The last tokens of all threads.
    pub(super) fn tokens(&self) -> Vec<Told> {
        let all = (0..THREADS).flat_map(|thread| (0..TOKENS_KEPT).map(move |at| (thread, at)));
        let words = all.map(|(t, at)| self.of(t, TOKENS + at as usize).load(Ordering::SeqCst));
        let told =
            |word: u64| Told { incarnation: word >> LSN_BITS, lsn: word & ((1 << LSN_BITS) - 1) };
        words.filter(|word| *word != 0).map(told).collect()
    }

    pub(super) fn verdict(&self) -> Option<String> {
        let len = self.words[VERDICT_BYTES].load(Ordering::SeqCst) as usize;
        let words = self.words[VERDICT..].iter().take(len.div_ceil(8));
        let mut bytes: Vec<u8> =
            words.flat_map(|word| word.load(Ordering::SeqCst).to_le_bytes()).collect();
        bytes.truncate(len);
        (len > 0).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn of(&self, thread: usize, word: usize) -> &'static AtomicU64 {
        &self.words[THREAD_0 + thread * WORDS_OF_THREAD + word]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_witness_returns_what_it_was_told() {
        let witness = Witness::new().unwrap();
        assert_eq!((witness.last(3), witness.tokens().len(), witness.verdict()), (None, 0, None));
        for number in 0..20 {
            witness.wrote_last(3, number, 100 + number);
            witness.acknowledge(3, Told { incarnation: 2, lsn: 100 + number }, number < 5);
        }
        assert_eq!(witness.acked(3), 20);
        assert_eq!(witness.last(3), Some((19, 119)));
        assert_eq!((witness.acked_lsn(), witness.durable_lsn()), (119, 104));
        assert_eq!((witness.sync_commits(), witness.async_commits()), (5, 15));
        assert_eq!(witness.tokens().len(), 16);
        assert!(witness.give_verdict("not so"));
        assert!(!witness.give_verdict("second"));
        assert_eq!(witness.verdict().as_deref(), Some("not so"));
        witness.begin_life();
        assert_eq!((witness.verdict(), witness.acked(3)), (None, 20));
    }
}
