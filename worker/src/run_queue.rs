//! Which lane threads run: a few more than there are cores, in the order in which they got work.
//!
//! Without it, the operating system runs a thread that mostly sleeps as soon as something comes for it. Where many
//! lanes share few cores, lanes then wake each other for one or two rows at a time, and the change from thread to
//! thread costs more than the rows. A lane that waits for its turn gathers rows, and processes them together.
//!
//! A thread may block, or compute for long, in user code. Such a thread counts as running no longer, so that others
//! get their turns. Go's scheduler takes processors back from blocked threads in the same way (`retake` in its
//! `proc.go`). A thread that has blocked runs without waiting for turns for a while: it is likely to block again.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::Instant;

/// How long a thread keeps its turn while others wait.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Blocked, that is asleep in the operating system.
    blocked: Duration,
    /// Ready to run, or not known to be blocked.
    busy: Duration,
}

/// Turns of lanes that do not block take some 100 µs. Short waits, for example for a lock, are no reason to run more
/// threads.
const LIMITS: Limits = Limits { blocked: Duration::from_millis(1), busy: Duration::from_millis(5) };
/// For how long a thread that has blocked runs without waiting for turns.
const FREE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct RunQueue {
    /// The number of threads that run at the same time.
    most: usize,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Threads that run, and since when.
    running: Vec<(Arc<LaneThread>, Instant)>,
    /// Threads that wait for their turn, those that wait for longest first.
    waiting: VecDeque<Arc<LaneThread>>,
    /// Threads that have blocked in a turn, and until when they run without waiting for turns.
    free: Vec<(Arc<LaneThread>, Instant)>,
}

/// The thread of a lane.
#[derive(Debug, Default)]
struct LaneThread {
    /// Set by the thread itself, before the first turn that it waits for.
    handle: OnceLock<Handle>,
    /// Whether the turn that the thread waits for has come.
    may_run: AtomicBool,
}

#[derive(Debug)]
struct Handle {
    thread: Thread,
    /// What the operating system says of the thread, where there is such a file.
    stat: Option<Mutex<File>>,
}

impl LaneThread {
    /// Called on the thread.
    fn handle(&self) -> &Handle {
        self.handle.get_or_init(|| {
            let stat = File::open("/proc/thread-self/stat").ok();
            Handle { thread: thread::current(), stat: stat.map(Mutex::new) }
        })
    }

    /// Whether the thread sleeps in the operating system; `false` where that is not known.
    fn is_blocked(&self) -> bool {
        let Some(stat) = self.handle.get().and_then(|handle| handle.stat.as_ref()) else { return false };
        let mut stat = stat.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = [0; 128];
        let read = read_from_start(&mut stat, &mut line).unwrap_or_default();
        is_asleep(&line[..read])
    }
}

fn read_from_start(file: &mut File, line: &mut [u8]) -> std::io::Result<usize> {
    std::io::Seek::rewind(file)?;
    file.read(line)
}

/// Whether a line of `/proc/…/stat` is about a thread that sleeps. The state stands behind the name in brackets, which
/// may contain brackets.
fn is_asleep(line: &[u8]) -> bool {
    let name_end = line.iter().rposition(|byte| *byte == b')');
    let state = name_end.and_then(|end| line.get(end + 2));
    matches!(state, Some(b'S' | b'D'))
}

impl RunQueue {
    /// A queue for as many threads as this machine needs to keep its cores busy: while one thread gives its turn to the
    /// next, a core has another one to run.
    pub(crate) fn for_cores() -> Arc<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Arc::new(Self::new((cores * 3).div_ceil(2), LIMITS))
    }

    fn new(most: usize, limits: Limits) -> Self {
        Self { most, limits, state: Mutex::default() }
    }

    /// Has the thread that will drive a runtime run only in its turns. A turn ends when the runtime has nothing to do.
    /// The thread is to drop the value at its end.
    pub(crate) fn schedule(self: &Arc<Self>, runtime: &mut Builder) -> Turns {
        let turns = Turns { queue: self.clone(), thread: Arc::default() };
        let (queue, thread) = (turns.queue.clone(), turns.thread.clone());
        runtime.on_thread_unpark(move || queue.begin(&thread));
        let (queue, thread) = (turns.queue.clone(), turns.thread.clone());
        runtime.on_thread_park(move || queue.end(&thread));
        turns
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a thread, on the thread itself.
    fn begin(&self, thread: &Arc<LaneThread>) {
        let handle = thread.handle();
        debug_assert_eq!(handle.thread.id(), thread::current().id(), "a thread waits for its own turn");
        let mut patience;
        {
            let mut state = self.lock();
            if state.is_free(thread) {
                return;
            }
            if state.waiting.is_empty() && state.running.len() < self.most {
                state.running.push((thread.clone(), Instant::now()));
                return;
            }
            thread.may_run.store(false, Ordering::Relaxed);
            state.waiting.push_back(thread.clone());
            patience = self.limits.blocked * state.waiting.len() as u32;
        }
        loop {
            thread::park_timeout(patience);
            if thread.may_run.load(Ordering::Acquire) {
                return;
            }
            patience = self.pass_overdue(thread);
        }
    }

    /// Ends the turns of threads that have had theirs for too long. Returns how long a waiting thread should wait before
    /// the next look.
    fn pass_overdue(&self, thread: &Arc<LaneThread>) -> Duration {
        let (mut guard, now) = (self.lock(), Instant::now());
        let state = &mut *guard;
        state.running.retain(|(running, since)| {
            let had = now - *since;
            let has_blocked = had >= self.limits.blocked && running.is_blocked();
            if has_blocked {
                state.free.push((running.clone(), now + FREE));
            }
            !has_blocked && had < self.limits.busy
        });
        while state.admit(self.most).is_some_and(|next| next.wake()) {}
        let ahead = state.waiting.iter().position(|waiting| Arc::ptr_eq(waiting, thread));
        self.limits.blocked * (ahead.unwrap_or(0) as u32 + 1)
    }

    /// Ends the turn of a thread, if it has not ended already.
    fn end(&self, thread: &Arc<LaneThread>) {
        let next = {
            let mut state = self.lock();
            let running = state.running.iter().position(|(running, _)| Arc::ptr_eq(running, thread));
            let Some(place) = running else { return };
            state.running.swap_remove(place);
            state.admit(self.most)
        };
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl State {
    /// Whether a thread runs without waiting for turns.
    fn is_free(&mut self, thread: &Arc<LaneThread>) -> bool {
        if self.free.is_empty() {
            return false;
        }
        let now = Instant::now();
        self.free.retain(|(_, until)| now < *until);
        self.free.iter().any(|(free, _)| Arc::ptr_eq(free, thread))
    }

    /// The next thread to run, if there is one; it is to be woken.
    fn admit(&mut self, most: usize) -> Option<Arc<LaneThread>> {
        if self.running.len() >= most {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.running.push((next.clone(), Instant::now()));
        Some(next)
    }
}

impl LaneThread {
    /// Tells the thread that its turn has come. Always `true`.
    fn wake(&self) -> bool {
        self.may_run.store(true, Ordering::Release);
        if let Some(handle) = self.handle.get() {
            handle.thread.unpark();
        }
        true
    }
}

/// The turns of a thread; the last one ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turns {
    queue: Arc<RunQueue>,
    thread: Arc<LaneThread>,
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.queue.end(&self.thread);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn queue(blocked: Duration, busy: Duration) -> Arc<RunQueue> {
        Arc::new(RunQueue::new(1, Limits { blocked, busy }))
    }

    /// Starts a thread that begins its turn, says so, and ends it.
    fn spawn(queue: &Arc<RunQueue>, name: usize, begun: mpsc::Sender<usize>) -> thread::JoinHandle<()> {
        let queue = queue.clone();
        thread::spawn(move || {
            let thread = Arc::default();
            queue.begin(&thread);
            begun.send(name).unwrap();
            queue.end(&thread);
        })
    }

    fn await_waiting(queue: &RunQueue, count: usize) {
        while queue.lock().waiting.len() < count {
            thread::yield_now();
        }
    }

    #[test]
    fn threads_run_in_the_order_in_which_they_came() {
        let queue = queue(LONG, LONG);
        let first = Arc::default();
        queue.begin(&first);
        let (begun, order) = mpsc::channel();
        let threads = [0, 1, 2].map(|name| {
            let thread = spawn(&queue, name, begun.clone());
            await_waiting(&queue, name + 1);
            thread
        });
        assert_eq!(order.try_recv(), Err(mpsc::TryRecvError::Empty), "the first one runs");
        queue.end(&first);
        assert_eq!([(); 3].map(|()| order.recv().unwrap()), [0, 1, 2]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(queue.lock().running.is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn thread_that_blocks_does_not_hold_up_others() {
        let queue = queue(Duration::from_micros(1), LONG);
        let blocked = Arc::default();
        queue.begin(&blocked);
        let (begun, order) = mpsc::channel();
        let other = spawn(&queue, 1, begun);
        // This blocks the thread that has its turn.
        assert_eq!(order.recv(), Ok(1));
        other.join().unwrap();
        queue.end(&blocked);
        assert!(queue.lock().running.is_empty(), "the turn had ended before");
        queue.begin(&Arc::default());
        queue.begin(&blocked);
        assert_eq!(queue.lock().running.len(), 1, "the blocked thread waits for no turn");
    }

    #[test]
    fn thread_that_computes_for_long_does_not_hold_up_others() {
        let queue = queue(Duration::from_micros(1), Duration::from_millis(1));
        queue.begin(&Arc::default());
        let (begun, order) = mpsc::channel();
        let other = spawn(&queue, 1, begun);
        while order.try_recv().is_err() {
            thread::yield_now();
        }
        other.join().unwrap();
    }

    #[test]
    fn state_is_read_behind_a_name_with_brackets() {
        assert!(is_asleep(b"12 (a) R (b)) S 1 2"));
        assert!(is_asleep(b"12 (a) D 1"));
        assert!(!is_asleep(b"12 (a) S (b)) R 1 2"));
        assert!(!is_asleep(b"12 (a)"));
        assert!(!is_asleep(b""));
    }
}
