//! Asynchronous commits and their receipts: `cargo run --example receipts`
//!
//! An `Async` commit returns as soon as it would survive a kill of the process. Its receipt tells whether
//! it would survive a power loss: by asking, by blocking, by `.await` on any runtime or none, and by a
//! token that any later process can use.

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use syncline::{CommitMode, Options, Status};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // An hour between background flushes: here a commit becomes durable only when somebody asks.
    let options =
        || Options::new().commit_mode(CommitMode::Async).flush_interval(Duration::from_secs(3600));
    let store = options().open(dir.path())?;
    let jobs = store.keyspace("jobs")?;

    // 1. A thousand commits, and no wait for the device.
    let begun = Instant::now();
    let mut receipts = Vec::new();
    for number in 0..1000u32 {
        receipts.push(jobs.put(number.to_be_bytes(), "queued")?);
    }
    let durable = receipts.iter().filter(|receipt| receipt.is_durable()).count();
    println!("1000 commits in {:?}, {durable} of them durable so far", begun.elapsed());

    // 2. Waiting for one asks for a flush at once, which flushes the commits before it too.
    receipts[499].wait()?;
    let durable = receipts.iter().filter(|receipt| receipt.is_durable()).count();
    println!("the 500th is durable, and with it {durable} of the 1000");

    // 3. `.await` works too: a synchronous commit that blocks no thread.
    block_on(async {
        let receipt = jobs.put("awaited", "done")?;
        println!("awaiting LSN {}", receipt.lsn());
        receipt.await
    })?;

    // 4. The token outlives the process: it asks about a commit without a table of commits.
    let token = jobs.put("last", "queued")?.token();
    println!("{token} is {:?}", store.status(&token)?);
    drop(jobs);
    store.close()?;

    let store = options().open(dir.path())?;
    let status = store.status(&token)?;
    println!("{token} is {status:?} after the store was closed and opened again");
    assert_eq!(status, Status::Durable);
    Ok(store.close()?)
}

/// A minimal runtime: the thread sleeps until it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
