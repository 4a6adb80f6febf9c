//! Whose plans a worker follows.

use galerna_protocol::{LinkHello, LinkStream, LinkWelcome};
use tokio::sync::oneshot;

use super::*;
use crate::cluster::incoming::Accepted;
use crate::wire::WIRE_VERSION;

/// Two workers and the plan that both know. Only the first runs; the test speaks for the other.
struct Talk {
    node: Node,
    ports: [u16; 3],
}

impl Talk {
    async fn start() -> Self {
        let ports = free_ports();
        let node = Node::launch(&Shape::default(), ports[0], 1, &plan_of(&ports[..2], 1)).await;
        Self { node, ports }
    }

    fn plan(&self, generation: u64) -> WorkerPlan {
        plan_of(&self.ports[..2], generation)
    }

    /// What the third incarnation of the second worker says, which knows the first plan.
    fn hello(&self) -> LinkHello {
        LinkHello {
            topology_id: "numbers-1".to_owned(),
            from: Some(WorkerId::new("here", self.ports[1].into())),
            incarnation: 3,
            to: Some(WorkerId::new("here", self.ports[0].into())),
            artifact: String::new(),
            wire_version: WIRE_VERSION,
            address: String::new(),
            plan: Some(self.plan(1)),
            stream: LinkStream::Data.into(),
        }
    }

    async fn greet(&self, hello: LinkHello) -> Result<Accepted, LinkWelcome> {
        let (reply, answer) = oneshot::channel();
        self.node.events.send(Event::Hello { hello: Box::new(hello), reply });
        timeout(Duration::from_secs(10), answer).await.expect("in time").expect("the worker lives")
    }

    async fn tell(&self, plan: WorkerPlan, by: &Accepted) {
        let (done, is_done) = oneshot::channel();
        self.node.events.send(Event::Told { plan, by: by.connection.clone(), done });
        timeout(Duration::from_secs(10), is_done).await.expect("in time").expect("the worker lives");
    }

    /// The generation of the plan that the worker tells a peer that knows an old one.
    async fn generation(&self) -> u64 {
        let old = WorkerPlan { version: 0, ..self.plan(0) };
        let accepted = self.greet(LinkHello { plan: Some(old), ..self.hello() }).await.expect("accepted");
        accepted.welcome.plan.and_then(|plan| plan.assignment).expect("a plan").generation
    }
}

/// The first worker runs the first two tasks, the second the others, a third none.
fn plan_of(ports: &[u16], generation: u64) -> WorkerPlan {
    let executors = [&[(1, 1), (2, 2)][..], &[(3, 3), (4, 4)], &[]];
    let workers = ports.iter().zip(executors).map(|(port, executors)| worker((*port).into(), executors));
    plan(generation, workers.collect(), vec![])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_of_a_stranger_or_of_an_older_launch_is_not_followed() {
    let talk = Talk::start().await;
    talk.greet(talk.hello()).await.expect("accepted");
    let newer = || LinkHello { plan: Some(talk.plan(2)), ..talk.hello() };
    let elsewhere = Some(WorkerId::new("elsewhere", 1));
    let bad = [
        LinkHello { topology_id: "numbers-2".to_owned(), ..newer() },
        LinkHello { to: elsewhere.clone(), ..newer() },
        LinkHello { wire_version: WIRE_VERSION + 1, ..newer() },
        LinkHello { artifact: "another".to_owned(), ..newer() },
        LinkHello { incarnation: 2, ..newer() },
        LinkHello { stream: LinkStream::Unspecified.into(), ..newer() },
    ];
    for hello in bad {
        let is_older = hello.incarnation == 2;
        let welcome = talk.greet(hello.clone()).await.expect_err("refused");
        let refusal = welcome.refusal.expect("a refusal");
        assert_eq!((refusal.is_fenced, welcome.plan.is_some()), (is_older, false), "{hello:?}");
        assert_eq!(talk.generation().await, 1, "{hello:?}");
    }
    // It is not even part of the plan that it brings.
    let welcome = talk.greet(LinkHello { from: elsewhere, ..newer() }).await.expect_err("refused");
    assert!(welcome.refusal.is_some_and(|refusal| !refusal.is_fenced));
    assert_eq!(talk.generation().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_that_is_behind_catches_up_by_the_handshake_of_a_peer() {
    let talk = Talk::start().await;
    let newer = LinkHello { plan: Some(talk.plan(2)), ..talk.hello() };
    assert!(talk.greet(newer).await.expect("accepted").welcome.plan.is_none());
    assert_eq!(talk.generation().await, 2);
    // A worker that this one has not heard of.
    let third = LinkHello {
        from: Some(WorkerId::new("here", talk.ports[2].into())),
        plan: Some(plan_of(&talk.ports, 3)),
        stream: LinkStream::Control.into(),
        ..talk.hello()
    };
    talk.greet(third).await.expect("accepted");
    assert_eq!(talk.generation().await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_that_is_told_on_a_connection_of_a_replaced_launch_is_not_followed() {
    let talk = Talk::start().await;
    let older = talk.greet(talk.hello()).await.expect("accepted");
    let newer = talk.greet(LinkHello { incarnation: 4, ..talk.hello() }).await.expect("accepted");
    talk.tell(talk.plan(2), &older).await;
    let known = |plan: &Accepted| plan.welcome.plan.is_some();
    let again = || LinkHello { incarnation: 4, stream: LinkStream::Control.into(), ..talk.hello() };
    assert!(!known(&talk.greet(again()).await.expect("accepted")));
    talk.tell(talk.plan(2), &newer).await;
    assert!(known(&talk.greet(again()).await.expect("accepted")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_of_another_topology_is_not_followed() {
    let talk = Talk::start().await;
    talk.node.tell(&WorkerPlan { topology_id: "numbers-2".to_owned(), ..talk.plan(2) });
    assert_eq!(talk.generation().await, 1);
}
