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
//! A request that need not wait is answered at once, into the output. Every other request becomes a
//! *flight*, named by its id, and waits for one of these:
//!
//! | [`Awaits`](flight::Awaits) | for | then |
//! |---|---|---|
//! | `Pool` | a thread of the pool; a write also for those before it | its answer, or it awaits the sync line |
//! | `Writes` | writes that were sent before it | it begins as if it came then |
//! | `Durable` | the sync line | the answer to a write in mode `Sync`, or to a flush |
//! | `Job` | a job's end, or a time | the answer to a long poll |
//! | `Operation` | a long operation's end | the answer to a checkpoint or check |
//! | `JobsWatch`, `MarksWatch` | jobs' ends, moving watermarks | pushes, under credit |
//! | `Stream` | the pool, and credit | parts |
//!
//! Each part of its state is a type of its own, which knows nothing of the session. The session
//! itself only routes between them:
//!
//! ```text
//!   turn        dispatch, reads, writes, durable, jobs, marks, streams, ending     what happens
//!                  |
//!   session                                                                        routes
//!      |
//!   flights, write_queue, held_reads, pool_queue, sync_waiters, gather, look_ahead, outbox    state
//!      |
//!   task                                                        what a thread of the pool does
//! ```
//!
//! - SESSION-3 memory is bounded: above their caps neither input is taken nor do streams and pushes
//!   go on;
//! - SESSION-4 nothing here blocks: a request that may block goes to the pool.
//!
//! SESSION-1 and SESSION-2 are in [`flights`].

mod dispatch;
mod durable;
mod ending;
mod flight;
mod flights;
mod gather;
mod handshake;
mod held_reads;
mod jobs;
mod look_ahead;
mod marks;
mod outbox;
mod pool_queue;
mod reads;
#[expect(clippy::module_inception, reason = "the noun of the layer")]
mod session;
mod streams;
mod subscription;
mod sync_waiters;
mod task;
mod time;
mod turn;
mod write_queue;
mod writes;

pub(crate) use session::Session;
