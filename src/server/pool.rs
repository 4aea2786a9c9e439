//! Threads for what may block: reads from the device, commits that have to wait, long ranges.
//!
//! As many threads as the configuration says, and a queue with a bound: what finds it full is
//! refused at once, which a client hears as `TooBusy`, rather than piling up behind a slow device.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

type Task = Box<dyn FnOnce() + Send>;

/// The threads, until [`Pool::close`].
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    longest: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Task>,
    idle: usize,
    is_closed: bool,
}

/// The queue is full, or the pool is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Pool {
    /// Starts `threads` threads, in whose queue `longest` tasks may wait.
    pub(crate) fn start(threads: usize, longest: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), longest });
        let pool = Pool { shared, threads: Mutex::default() };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let name = format!("syncline-work-{number}");
            let thread = std::thread::Builder::new().name(name).spawn(move || shared.run())?;
            pool.threads.lock().push(thread);
        }
        Ok(pool)
    }

    /// Has a task done.
    ///
    /// # Errors
    /// [`Busy`]: it will not be done.
    pub(crate) fn submit(&self, task: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        let mut state = self.shared.state.lock();
        if state.is_closed || state.queue.len() >= self.shared.longest {
            return Err(Busy);
        }
        state.queue.push_back(Box::new(task));
        if state.idle > 0 {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    /// How many tasks wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.state.lock().queue.len()
    }

    /// Takes no more tasks, and waits until all that were taken are done.
    pub(crate) fn close(&self) {
        self.shared.state.lock().is_closed = true;
        self.shared.work.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread of the pool panicked");
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        while let Some(task) = self.next() {
            // A mistake in one request must not take the thread from all others.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(task)).is_err() {
                tracing::error!("a request panicked");
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let mut state = self.state.lock();
        loop {
            if let Some(task) = state.queue.pop_front() {
                return Some(task);
            }
            if state.is_closed {
                return None;
            }
            state.idle += 1;
            self.work.wait(&mut state);
            state.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_full_queue_refuses_and_what_was_taken_is_done() {
        let pool = Pool::start(1, 2).unwrap();
        let (begun, has_begun) = mpsc::channel();
        let (let_go, held) = mpsc::channel::<()>();
        pool.submit(move || {
            begun.send(()).unwrap();
            held.recv().unwrap();
        })
        .unwrap();
        has_begun.recv().unwrap();
        let (done, results) = mpsc::channel();
        for number in 0..2 {
            let done = done.clone();
            pool.submit(move || done.send(number).unwrap()).unwrap();
        }
        assert_eq!(pool.submit(|| unreachable!()), Err(Busy));
        assert_eq!(pool.waiting(), 2);
        let_go.send(()).unwrap();
        pool.close();
        assert_eq!(results.try_iter().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(pool.submit(|| unreachable!()), Err(Busy), "closed");
    }

    #[test]
    fn a_task_that_panics_takes_no_thread_with_it() {
        let pool = Pool::start(1, 9).unwrap();
        pool.submit(|| panic!("on purpose")).unwrap();
        let (done, results) = mpsc::channel();
        pool.submit(move || done.send(()).unwrap()).unwrap();
        results.recv().unwrap();
    }
}
