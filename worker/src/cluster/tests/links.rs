//! Links over loopback without the workers around them.

use std::pin::Pin;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use galerna_protocol::link_server::{self, LinkServer};
use galerna_protocol::{
    LinkAnswer, LinkHello, LinkPacket, LinkStream as StreamName, LinkWelcome, LocateRequest, Server,
};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use super::parts::{ack, arrivals, encoded, exchange, graph, row, run};
use super::*;
use crate::cluster::incoming::{Accepted, Inbound};
use crate::cluster::link_stream::LinkStream;
use crate::cluster::outgoing::{Outgoing, Place};
use crate::inbox::Arrivals;
use crate::link::{Link, QueueLink};
use crate::message::Message;

/// A link that is kept up, to a launch of a worker at `address`.
struct Sender {
    link: Arc<Outgoing>,
    _around: JoinSet<()>,
}

impl Sender {
    fn start(address: String) -> Self {
        let link = Arc::new(Outgoing::new(WorkerId::new("there", 1), exchange().fenced_batches.clone(), run()));
        let (events, mut heard) = Events::new();
        let (mut around, to_begin) = (JoinSet::new(), link.clone());
        let place = Place { address, supervisor: "127.0.0.1:1".to_owned(), request: LocateRequest::default() };
        around.spawn(link.clone().run(LinkHello::default, place, events));
        around.spawn(async move {
            let mut known = None;
            while let Some(event) = heard.recv().await {
                if let Event::PeerSeen { incarnation, done, .. } = event {
                    if known.replace(incarnation) != Some(incarnation) {
                        to_begin.begin_anew(incarnation);
                    }
                    let _ = done.send(());
                }
            }
        });
        Self { link, _around: around }
    }

    fn unconfirmed_rows(&self) -> usize {
        self.link.unconfirmed(&BTreeSet::from([2])).len()
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.expect(what);
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

/// A receiver that lets everyone in and reads no data.
struct Stuck {
    /// How many data streams were opened.
    opened: Arc<AtomicUsize>,
    /// How many control frames have come.
    came: Arc<AtomicUsize>,
}

type Answers = Pin<Box<dyn Stream<Item = Result<LinkAnswer, Status>> + Send>>;

#[tonic::async_trait]
impl link_server::Link for Stuck {
    type OpenStream = Answers;

    async fn open(&self, request: Request<Streaming<LinkPacket>>) -> Result<Response<Answers>, Status> {
        let mut packets = request.into_inner();
        let hello = packets.message().await?.and_then(|packet| packet.hello).expect("a hello");
        let welcome = LinkWelcome { incarnation: 1, ..LinkWelcome::default() };
        let first = stream::iter([Ok(LinkAnswer { welcome: Some(welcome), confirmed: 0 })]);
        if hello.stream() == StreamName::Data {
            self.opened.fetch_add(1, Ordering::Relaxed);
            let unread = stream::once(async move {
                let _packets = packets;
                std::future::pending().await
            });
            return Ok(Response::new(Box::pin(first.chain(unread))));
        }
        let came = self.came.clone();
        let answers = packets.filter_map(move |packet| {
            let packet = packet.ok();
            let confirmed = packet.map(|packet| {
                came.fetch_add(packet.frames.len(), Ordering::Relaxed);
                packet.first + packet.frames.len() as u64 - 1
            });
            async move { confirmed.map(|confirmed| Ok(LinkAnswer { welcome: None, confirmed })) }
        });
        Ok(Response::new(Box::pin(first.chain(answers))))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_pass_while_the_peer_reads_no_data_and_releases_wait_behind_the_data() {
    const BATCHES: usize = 64;
    let (listener, address) = listener().await;
    let (opened, came) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let stuck = Stuck { opened: opened.clone(), came: came.clone() };
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let server = Server::builder().add_service(LinkServer::new(stuck).max_decoding_message_size(16 << 20));
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("served");
    });
    let sender = Sender::start(address);
    // More than all windows and buffers on the way hold.
    let megabyte = "x".repeat(1 << 20);
    for slot in 0..BATCHES {
        sender.link.send(row(2, megabyte.clone(), slot as u32));
    }
    until("a data stream", || opened.load(Ordering::Relaxed) > 0).await;
    for round in 1..=20 {
        sender.link.send(Frame::Released { task: 1, generation: round as u64 });
        for slot in 0..100 {
            sender.link.send(ack(slot));
        }
        until("acks alone", || came.load(Ordering::Relaxed) == round * 100).await;
    }
    assert_eq!(sender.unconfirmed_rows(), BATCHES);
    assert_eq!(opened.load(Ordering::Relaxed), 1, "the data stream stands");
}

/// Passes bytes on, and breaks connections one by one.
struct Proxy {
    address: String,
    passing: Arc<Mutex<Vec<AbortHandle>>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    async fn start(to: String) -> Self {
        let (listener, address) = listener().await;
        let passing = Arc::new(Mutex::new(Vec::new()));
        let (handles, mut accepting) = (passing.clone(), JoinSet::new());
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let to = to.clone();
                let handle = connections.spawn(async move {
                    let mut to = TcpStream::connect(to).await.expect("the receiver lives");
                    let _ = copy_bidirectional(&mut from, &mut to).await;
                });
                handles.lock().expect("not poisoned").push(handle);
            }
        });
        Self { address, passing, _accepting: accepting }
    }

    /// Breaks a connection.
    fn break_one(&self, random: &mut fastrand::Rng) {
        let mut passing = self.passing.lock().expect("not poisoned");
        passing.retain(|handle| !handle.is_finished());
        if let Some(handle) = random.choice(&*passing) {
            handle.abort();
        }
    }
}

/// A worker's receiving end. It lets in everyone.
struct Receiver {
    address: String,
    /// What came for the spout, task 1.
    acks: Arrivals,
    /// What came for the bolt, task 2.
    rows: Arrivals,
    run: Arc<RunShared>,
    /// How often the data and the control stream were opened.
    opened: Arc<[AtomicUsize; 2]>,
    _around: JoinSet<()>,
}

impl Receiver {
    async fn start() -> Self {
        let (listener, address) = listener().await;
        let (exchange, run) = (exchange(), run());
        let (acks, rows) = (arrivals(&exchange, 1), arrivals(&exchange, 2));
        let back: Arc<dyn Link> = Arc::new(QueueLink::new().0);
        let inbound = Arc::new(Inbound::new(WorkerId::new("there", 2), exchange, graph(), back, run.clone()));
        inbound.begin_anew();
        let (events, mut heard) = Events::new();
        let opened = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let (mut around, counts) = (JoinSet::new(), opened.clone());
        around.spawn(accept_links(listener, Incoming { events }));
        around.spawn(async move {
            while let Some(event) = heard.recv().await {
                if let Event::Hello { hello, reply } = event {
                    let stream = LinkStream::try_from(hello.stream()).expect("a stream");
                    counts[usize::from(stream == LinkStream::Control)].fetch_add(1, Ordering::Relaxed);
                    let (connection, last) = inbound.connect(stream);
                    let welcome = LinkWelcome { incarnation: 1, ..LinkWelcome::default() };
                    let _ = reply.send(Ok(Accepted { connection, last, welcome }));
                }
            }
        });
        Self { address, acks, rows, run, opened, _around: around }
    }

    /// The numbers of the rows and acks that have come since the last call, which both count from 0.
    fn take(&mut self) -> (Vec<u32>, Vec<u32>) {
        let rows = std::iter::from_fn(|| self.rows.try_next()).flat_map(|message| match message {
            Message::Data(delivery) => delivery.batch.anchors.into_iter().map(|anchor| anchor.root.slot),
            other => panic!("{other:?}"),
        });
        let acks = std::iter::from_fn(|| self.acks.try_next()).flat_map(|message| match message {
            Message::Acks(acks) => acks.deltas.into_iter().map(|delta| delta.slot),
            other => panic!("{other:?}"),
        });
        (rows.collect(), acks.collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_one_by_one_lose_and_duplicate_nothing() {
    const FRAMES: u32 = 20_000;
    let mut receiver = Receiver::start().await;
    let proxy = Proxy::start(receiver.address.clone()).await;
    let sender = Sender::start(proxy.address.clone());
    let mut random = fastrand::Rng::with_seed(7);
    let text = "x".repeat(1000);
    for number in 0..FRAMES {
        sender.link.send(row(2, text.clone(), number));
        sender.link.send(ack(number));
        if number % 1000 == 999 {
            proxy.break_one(&mut random);
            // The next connection is to deliver something.
            tokio::time::sleep(Duration::from_millis(random.u64(1..30))).await;
        }
    }
    let (mut rows, mut acks) = (Vec::new(), Vec::new());
    until("all frames", || {
        let (more_rows, more_acks) = receiver.take();
        rows.extend(more_rows);
        acks.extend(more_acks);
        rows.len() >= FRAMES as usize && acks.len() >= FRAMES as usize
    })
    .await;
    assert!(rows.into_iter().eq(0..FRAMES), "rows, once and in order");
    assert!(acks.into_iter().eq(0..FRAMES), "acks, once and in order");
    for opened in &*receiver.opened {
        assert!(opened.load(Ordering::Relaxed) > 1, "each stream had a connection that broke: {:?}", receiver.opened);
    }
    until("all is confirmed", || sender.unconfirmed_rows() == 0).await;
    assert_eq!(receiver.take(), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frame_that_cannot_be_read_is_not_sent_again_for_ever() {
    let mut receiver = Receiver::start().await;
    let channel = galerna_protocol::endpoint(&receiver.address).expect("valid").connect().await.expect("connected");
    let mut client = galerna_protocol::link_client::LinkClient::new(channel);
    let hello = LinkHello { stream: StreamName::Data.into(), ..LinkHello::default() };
    let hello = LinkPacket { hello: Some(hello), ..LinkPacket::default() };
    let frames = vec![encoded(&row(2, 1, 0)), Bytes::from_static(&[99]), encoded(&row(2, 1, 1))];
    let packets =
        stream::iter([hello, LinkPacket { first: 1, frames, ..LinkPacket::default() }]).chain(stream::pending());
    let mut answers = client.open(packets).await.expect("opened").into_inner();
    let mut confirmed = 0;
    while confirmed < 3 {
        let answer = timeout(Duration::from_secs(10), answers.message()).await.expect("in time");
        let answer = answer.expect("no error").expect("the stream stands");
        assert!(answer.welcome.is_none_or(|welcome| welcome.refusal.is_none()));
        confirmed = answer.confirmed;
    }
    assert_eq!(receiver.take().0, [0, 1]);
    assert_eq!(receiver.run.errors().len(), 1);
}
