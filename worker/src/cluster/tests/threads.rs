//! On which threads a worker runs the tasks of its executors.

use std::thread::{ThreadId, current};

use super::*;

/// The most threads for executors that do not block.
const MOST: u32 = 8;

/// The thread that each task was prepared on.
type Threads = Arc<Mutex<BTreeMap<TaskId, ThreadId>>>;

struct Where(Threads);
impl Bolt for Where {
    async fn prepare(&mut self, context: &TopologyContext) -> Result<()> {
        self.0.lock().expect("not poisoned").insert(context.task_id(), current().id());
        Ok(())
    }
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_executors_have_threads_of_their_own_however_many_others_there_are() {
    let (threads, [port]) = (Threads::default(), free_ports());
    let (plain, blocking) = (threads.clone(), threads.clone());
    let count = MOST + 2;
    let mut builder = TopologyBuilder::new("numbers");
    builder.config("topology.worker.lanes", MOST);
    builder.spout("numbers", || Numbers {
        next: 0,
        end: 0,
        failed: VecDeque::new(),
        open: BTreeSet::new(),
        failures: Arc::default(),
        acked: Arc::default(),
    });
    builder.bolt("plain", move || Where(plain.clone())).parallelism(count).tasks(2 * count).shuffle("numbers");
    builder.bolt("blocking", move || Where(blocking.clone())).parallelism(3).tasks(6).blocking().shuffle("numbers");
    let pairs = |first: u32, count: u32| (0..count).map(move |at| (first + 2 * at, first + 2 * at + 1));
    let (plain, blocking) = (pairs(2, count), pairs(2 + 2 * count, 3));
    let executors: Vec<(u32, u32)> = [(1, 1)].into_iter().chain(plain.clone()).chain(blocking.clone()).collect();
    let plan = plan(1, vec![worker(port.into(), &executors)], vec![]);
    let mut node = Node::launch_of(builder.build().expect("valid"), port, 1, &plan).await;
    node.finished().await;

    let threads = threads.lock().expect("not poisoned").clone();
    assert!(plain.clone().chain(blocking.clone()).all(|(first, last)| threads[&first] == threads[&last]));
    for (first, last) in blocking {
        let company: Vec<_> = threads.iter().filter(|(_, thread)| **thread == threads[&first]).collect();
        assert_eq!(company.into_iter().map(|(task, _)| *task).collect::<Vec<_>>(), [first, last]);
    }
    // The lane of the spout is among those that are shared.
    let shared: BTreeSet<_> = plain.map(|(first, _)| format!("{:?}", threads[&first])).collect();
    assert!((MOST - 1..=MOST).contains(&(shared.len() as u32)), "{shared:?}");
}
