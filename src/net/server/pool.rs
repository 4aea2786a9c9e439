//! The thread pool for blocking work: reads from the device, commits that have to wait, long ranges.
//!
//! The number of threads is configured, and the queue is bounded. A request that finds it full is
//! refused at once (`TooBusy`), so that requests do not pile up behind a slow device.
//!
//! ```text
//!   lane of a connection    w w w --.
//!   lane of another         w ------+--> ring: a task of each lane in turn --> threads
//!   lane of a third         w w ----'
//! ```
//!
//! Each connection has a lane, and lanes share the pool fairly:
//!
//! - POOL-1 round robin: lanes take turns, however many tasks each has waiting;
//! - POOL-2 one lane never has all threads (unless there is only one), so a lane that stalls blocks no other;
//! - POOL-3 the second half of the queue takes a task only from a lane that has none waiting.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

type Task = Box<dyn FnOnce() + Send>;

/// The threads, until [`Pool::close`].
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next_lane: AtomicU64,
}

/// Identifies the owner of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lane(u64);

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    longest: usize,
    /// Threads per lane (POOL-2).
    most: usize,
}

/// `waiting` is the sum of all lanes' tasks.
#[derive(Default)]
struct State {
    /// Lanes with tasks that wait or run.
    lanes: HashMap<Lane, Tasks>,
    /// Lanes with a waiting task that may have one more thread, each once.
    ring: VecDeque<Lane>,
    waiting: usize,
    idle: usize,
    is_closed: bool,
}

#[derive(Default)]
struct Tasks {
    waiting: VecDeque<Task>,
    running: usize,
    is_in_ring: bool,
}

/// The queue is full, or the pool is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Pool {
    /// Starts `threads` threads, and a queue for `longest` tasks.
    pub(crate) fn start(threads: usize, longest: usize) -> std::io::Result<Pool> {
        let threads = threads.max(1);
        let (state, work) = (Mutex::default(), Condvar::new());
        let most = (threads * 3 / 4).max(1);
        let shared = Arc::new(Shared { state, work, longest, most });
        let pool = Pool { shared, threads: Mutex::default(), next_lane: AtomicU64::new(0) };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let name = format!("syncline-work-{number}");
            let thread = std::thread::Builder::new().name(name).spawn(move || shared.run())?;
            pool.threads.lock().push(thread);
        }
        Ok(pool)
    }

    /// A new lane. It takes no memory while it is empty.
    pub(crate) fn lane(&self) -> Lane {
        Lane(self.next_lane.fetch_add(1, Ordering::Relaxed))
    }

    /// Queues a task.
    ///
    /// # Errors
    /// [`Busy`] if the task was refused.
    pub(crate) fn submit(
        &self,
        lane: Lane,
        task: impl FnOnce() + Send + 'static,
    ) -> Result<(), Busy> {
        let mut state = self.shared.state.lock();
        if !self.shared.has_room(&state, lane) {
            return Err(Busy);
        }
        state.waiting += 1;
        state.lanes.entry(lane).or_default().waiting.push_back(Box::new(task));
        state.list(lane, self.shared.most);
        if state.idle > 0 {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    /// Whether [`submit`](Self::submit) would accept a task of this lane now.
    pub(crate) fn has_room(&self, lane: Lane) -> bool {
        self.shared.has_room(&self.shared.state.lock(), lane)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.shared.state.lock().waiting
    }

    /// Accepts no more tasks, and waits for those that were accepted.
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

impl State {
    /// Puts a lane into the ring if it belongs there.
    fn list(&mut self, lane: Lane, most: usize) {
        let Some(tasks) = self.lanes.get_mut(&lane) else { return };
        if !tasks.waiting.is_empty() && tasks.running < most && !tasks.is_in_ring {
            tasks.is_in_ring = true;
            self.ring.push_back(lane);
        }
    }

    /// Takes the next task, of the first lane in the ring (POOL-1).
    fn take(&mut self, most: usize) -> Option<(Lane, Task)> {
        let lane = self.ring.pop_front()?;
        let tasks = self.lanes.get_mut(&lane).expect("a lane in the ring has tasks");
        let task = tasks.waiting.pop_front().expect("a lane in the ring has tasks");
        tasks.is_in_ring = false;
        tasks.running += 1;
        self.waiting -= 1;
        self.list(lane, most);
        Some((lane, task))
    }

    /// A task of this lane is done.
    fn done(&mut self, lane: Lane, most: usize) {
        let tasks = self.lanes.get_mut(&lane).expect("its task was running");
        tasks.running -= 1;
        if tasks.running == 0 && tasks.waiting.is_empty() {
            self.lanes.remove(&lane);
        }
        self.list(lane, most);
    }
}

impl Shared {
    fn has_room(&self, state: &State, lane: Lane) -> bool {
        let has_some = || state.lanes.get(&lane).is_some_and(|tasks| !tasks.waiting.is_empty());
        let is_half = state.waiting >= self.longest / 2;
        !state.is_closed && state.waiting < self.longest && !(is_half && has_some())
    }

    fn run(&self) {
        let mut done = None;
        while let Some((lane, task)) = self.next(done.take()) {
            // A bug in one request must not cost the pool a thread.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(task)).is_err() {
                tracing::error!("a request panicked");
            }
            done = Some(lane);
        }
    }

    fn next(&self, done: Option<Lane>) -> Option<(Lane, Task)> {
        let mut state = self.state.lock();
        if let Some(lane) = done {
            state.done(lane, self.most);
        }
        loop {
            if let Some(taken) = state.take(self.most) {
                if state.idle > 0 && !state.ring.is_empty() {
                    self.work.notify_one();
                }
                return Some(taken);
            }
            if state.is_closed && state.waiting == 0 {
                self.work.notify_all();
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

    /// Occupies a thread until the sender is dropped.
    fn occupy(pool: &Pool, lane: Lane) -> mpsc::Sender<()> {
        let (begun, has_begun) = mpsc::channel();
        let (let_go, held) = mpsc::channel::<()>();
        pool.submit(lane, move || {
            begun.send(()).unwrap();
            let _ = held.recv();
        })
        .unwrap();
        has_begun.recv().unwrap();
        let_go
    }

    #[test]
    fn a_full_queue_refuses_and_accepted_tasks_are_done() {
        let pool = Pool::start(1, 2).unwrap();
        let held = occupy(&pool, pool.lane());
        let (done, results) = mpsc::channel();
        for number in 0..2 {
            let done = done.clone();
            pool.submit(pool.lane(), move || done.send(number).unwrap()).unwrap();
        }
        assert_eq!(pool.submit(pool.lane(), || unreachable!()), Err(Busy));
        assert_eq!(pool.waiting(), 2);
        drop(held);
        pool.close();
        assert_eq!(results.try_iter().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(pool.submit(pool.lane(), || unreachable!()), Err(Busy), "closed");
    }

    #[test]
    fn a_lane_has_its_share_of_threads_turns_and_queue() {
        let pool = Pool::start(2, 8).unwrap();
        let (much, little) = (pool.lane(), pool.lane());
        let (done, results) = mpsc::channel();
        let tell = |lane, number: u32| {
            let done = done.clone();
            pool.submit(lane, move || done.send(number).unwrap())
        };
        // POOL-2: a stalled lane leaves a thread to the others.
        let stalled = occupy(&pool, much);
        tell(much, 1).unwrap();
        tell(little, 10).unwrap();
        assert_eq!(results.recv().unwrap(), 10);
        // POOL-3: half of the queue, and no more.
        let other = occupy(&pool, little);
        for number in 2..5 {
            tell(much, number).unwrap();
        }
        assert_eq!(tell(much, 5), Err(Busy));
        assert!(!pool.has_room(much) && pool.has_room(little));
        tell(little, 11).unwrap();
        assert_eq!(tell(little, 12), Err(Busy));
        // POOL-1: a lane's task need not wait for all earlier tasks.
        drop(stalled);
        let order: Vec<u32> = results.iter().take(4).collect();
        assert_eq!(order, [1, 2, 3, 4], "the other lane's thread is taken");
        drop(other);
        assert_eq!(results.recv().unwrap(), 11);
        let stalled = [occupy(&pool, much), occupy(&pool, little)];
        for number in 20..23 {
            tell(much, number).unwrap();
        }
        let third = pool.lane();
        tell(third, 30).unwrap();
        drop(stalled);
        let order: Vec<u32> = results.iter().take(4).collect();
        assert!(order.iter().position(|number| *number == 30) < Some(3), "{order:?}");
        pool.close();
        assert!(pool.shared.state.lock().lanes.is_empty());
    }

    #[test]
    fn a_task_that_panics_takes_no_thread_with_it() {
        let pool = Pool::start(1, 9).unwrap();
        pool.submit(pool.lane(), || panic!("on purpose")).unwrap();
        let (done, results) = mpsc::channel();
        pool.submit(pool.lane(), move || done.send(()).unwrap()).unwrap();
        results.recv().unwrap();
    }
}
