//! Tasks that move about among three workers at random: moves, moves that are called off or made
//! hard, and launches that are lost, in an order and at times that a seed decides.

use super::*;

/// How many numbers there are.
const NUMBERS: i64 = 30_000;
const ROUNDS: usize = 8;

/// Emits the numbers that were not acked before it was opened, and again those that failed: as a
/// spout does that reads from something that lasts.
struct Lasting {
    acked: Arc<Mutex<BTreeSet<i64>>>,
    known: BTreeSet<i64>,
    next: i64,
    again: VecDeque<i64>,
}

impl Spout for Lasting {
    type MessageId = i64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn open(&mut self, _: &TopologyContext) -> Result<()> {
        self.known = self.acked.lock().expect("not poisoned").clone();
        Ok(())
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
        while self.known.remove(&self.next) {
            self.next += 1;
        }
        let n = match self.again.pop_front() {
            Some(n) => n,
            None if self.next == NUMBERS => return Ok(Next::Exhausted),
            None => {
                self.next += 1;
                self.next - 1
            }
        };
        out.emit(n, values![n]);
        Ok(Next::Emitted)
    }
    async fn ack(&mut self, n: i64, _: &TopologyContext) -> Result<()> {
        self.acked.lock().expect("not poisoned").insert(n);
        Ok(())
    }
    async fn fail(&mut self, n: i64, _: &Failure, _: &TopologyContext) -> Result<()> {
        self.again.push_back(n);
        Ok(())
    }
}

/// Three workers that are told plans.
struct Trial {
    random: fastrand::Rng,
    seen: Seen,
    acked: Arc<Mutex<BTreeSet<i64>>>,
    ports: [u16; 3],
    /// Which worker runs each task; the first is none.
    owners: [usize; 5],
    current: WorkerPlan,
    incarnations: [u64; 3],
    nodes: Vec<Node>,
}

impl Trial {
    async fn start(seed: u64) -> Self {
        let mut trial = Self {
            random: fastrand::Rng::with_seed(seed),
            seen: Seen::default(),
            acked: Arc::default(),
            ports: free_ports(),
            owners: [0, 0, 0, 1, 1],
            current: WorkerPlan::default(),
            incarnations: [1; 3],
            nodes: Vec::new(),
        };
        trial.plan(&[]);
        for place in 0..3 {
            let node = trial.launch(place).await;
            trial.nodes.push(node);
        }
        trial
    }

    fn topology(&self) -> Topology {
        let (acked, seen) = (self.acked.clone(), self.seen.clone());
        let mut builder = TopologyBuilder::new("numbers");
        // Nothing may have to time out.
        builder.config("topology.message.timeout.secs", 600);
        builder.spout("numbers", move || Lasting {
            acked: acked.clone(),
            known: BTreeSet::new(),
            next: 0,
            again: VecDeque::new(),
        });
        builder.bolt("pass", || Pass).parallelism(2).fields("numbers", ["n"]);
        builder.bolt("note", move || Note(seen.clone(), Arc::default())).global("pass");
        builder.build().expect("valid")
    }

    async fn launch(&self, place: usize) -> Node {
        Node::launch_of(self.topology(), self.ports[place], self.incarnations[place], &self.current).await
    }

    fn generation(&self) -> u64 {
        self.current.version
    }

    /// Makes the next plan. What is handed over comes from the worker beside it.
    fn plan(&mut self, handovers: &[(u32, usize)]) {
        let executors = |place: usize| -> Vec<(u32, u32)> {
            (1..5).filter(|task| self.owners[*task as usize] == place).map(|task| (task, task)).collect()
        };
        let workers = (0..3).map(|place| worker(self.ports[place].into(), &executors(place))).collect();
        let handovers = handovers.iter().map(|(task, from)| (*task, self.ports[*from].into())).collect();
        self.current = plan(self.generation() + 1, workers, handovers);
    }

    async fn pause(&mut self, most: Duration) {
        tokio::time::sleep(most.mul_f64(self.random.f64())).await;
    }

    /// Tells the plan to all, one after another.
    async fn tell(&mut self) {
        let mut order = [0, 1, 2];
        self.random.shuffle(&mut order);
        for place in order {
            self.nodes[place].tell(&self.current);
            if self.random.bool() {
                self.pause(Duration::from_millis(3)).await;
            }
        }
    }

    /// Ends a worker at once, and launches it anew.
    async fn lose(&mut self) {
        self.pause(Duration::from_millis(20)).await;
        let place = self.random.usize(0..3);
        self.nodes.remove(place).die().await;
        self.incarnations[place] += 1;
        let node = self.launch(place).await;
        self.nodes.insert(place, node);
    }

    /// Moves some tasks; some of the moves are not waited for, some of those called off.
    async fn round(&mut self) {
        let mut handovers = Vec::new();
        for task in 1..5u32 {
            let (from, to) = (self.owners[task as usize], self.random.usize(0..3));
            if from != to && self.random.bool() {
                handovers.push((task, from));
                self.owners[task as usize] = to;
            }
        }
        self.plan(&handovers);
        self.tell().await;
        if self.random.u8(0..3) == 0 {
            self.lose().await;
        }
        if self.random.u8(0..3) > 0 {
            let generation = self.generation();
            for node in &mut self.nodes {
                node.until("settled", |report| report.settled_generation == generation).await;
            }
        } else {
            self.pause(Duration::from_millis(30)).await;
            for (task, from) in handovers {
                if self.random.bool() {
                    self.owners[task as usize] = from;
                }
            }
        }
        self.plan(&[]);
        self.tell().await;
        self.pause(Duration::from_millis(40)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_moves_or_is_lost_everything_is_processed_and_ends() {
    for seed in 1..=4 {
        let mut trial = Trial::start(seed).await;
        for _ in 0..ROUNDS {
            trial.round().await;
        }
        for node in &mut trial.nodes {
            node.finished().await;
        }
        assert_eq!(trial.acked.lock().expect("not poisoned").len(), NUMBERS as usize, "acked with seed {seed}");
        assert_eq!(trial.seen.lock().expect("not poisoned").len(), NUMBERS as usize, "seen with seed {seed}");
    }
}
