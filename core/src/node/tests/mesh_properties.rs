//! Properties of a node with a router that hold for any sequence of streams' events.

use super::frames::{WINDOW, bytes_of, data, routing, topic, who};
use super::*;
use crate::gossip::VALIDATION_QUEUE;
use crate::mesh::wire::ControlWriter;
use crate::mesh::{
    Frame, Id, MAX_CACHED, MAX_CACHED_BYTES, MAX_ENTRIES, MAX_HELD, MAX_UNWANTED,
    PROMISES_PER_PEER, StreamAction, StreamEvent, Version,
};
use alloy_primitives::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Number of peers. The last one is static.
const PEERS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    Disconnect(usize),
    Supports(usize),
    WriterOpened(usize, usize),
    WriterClosed(usize, bool),
    ReaderOpened(usize),
    Malformed(usize),
    Bytes(usize, Vec<u8>),
    Words(usize, Vec<(u8, u8, u64)>),
    Message(usize, Index),
    Job(Index),
    Panic(Index),
    Again(Index),
    Publish(Index),
    Pull(usize, u32),
    Written(usize, u32),
    Pass(u32),
    Signer(Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..PEERS;
    let index = any::<Index>;
    prop_oneof![
        4 => who().prop_map(Step::Connect),
        1 => who().prop_map(Step::Disconnect),
        1 => who().prop_map(Step::Supports),
        3 => (who(), 0_usize..5).prop_map(|(a, b)| Step::WriterOpened(a, b)),
        1 => (who(), any::<bool>()).prop_map(|(a, b)| Step::WriterClosed(a, b)),
        1 => who().prop_map(Step::ReaderOpened),
        1 => who().prop_map(Step::Malformed),
        1 => (who(), vec(any::<u8>(), 0..30)).prop_map(|(a, b)| Step::Bytes(a, b)),
        8 => (who(), vec((0_u8..10, any::<u8>(), any::<u64>()), 1..6))
            .prop_map(|(a, b)| Step::Words(a, b)),
        12 => (who(), index()).prop_map(|(a, b)| Step::Message(a, b)),
        12 => index().prop_map(Step::Job),
        1 => index().prop_map(Step::Panic),
        1 => index().prop_map(Step::Again),
        2 => index().prop_map(Step::Publish),
        5 => (who(), 0_u32..100_000).prop_map(|(a, b)| Step::Pull(a, b)),
        3 => (who(), 0_u32..100_000).prop_map(|(a, b)| Step::Written(a, b)),
        4 => (0_u32..20_000).prop_map(Step::Pass),
        1 => prop::option::of(7_u8..9).prop_map(Step::Signer),
    ]
}

/// Blocks of the sequencer, and messages that are no such blocks, each with its name.
static POOL: LazyLock<Vec<(Envelope, Bytes, Id)>> = LazyLock::new(|| {
    let mut blocks = chain(V4, 6);
    blocks.extend([child(&blocks[2], 5), block_at(V4, NOW - 50), block_at(V4, NOW + 60)]);
    let mut contents: Vec<(Envelope, Vec<u8>)> =
        blocks.into_iter().map(|block| (block.clone(), signed(&block))).collect();
    let block = block(V4);
    contents.push((block.clone(), signed_by(&key(8), &body(&block))));
    contents.push((block.clone(), vec![7; 90]));
    contents.push((block, vec![7; 9000]));
    let named = contents.into_iter().map(|(block, contents)| {
        let name = Unpacked::from_contents(&contents).message_id(&topic()).into();
        (block, data(&contents), name)
    });
    named.collect()
});

struct World {
    node: Node,
    now: Now,
    jobs: Vec<Job>,
    done: Vec<JobResult>,
    connected: BTreeSet<PeerId>,
    publications: u64,
    unpublished: BTreeSet<u64>,
    log: Vec<String>,
}

impl World {
    fn new() -> Self {
        let now = Now::new(Duration::from_secs(5000), Duration::from_secs(NOW));
        let config = NodeConfig { static_peers: vec![who(PEERS - 1).into()], ..routing(3) };
        let mut world = Self {
            node: Node::new(now, config).expect("a good configuration"),
            now,
            jobs: Vec::new(),
            done: Vec::new(),
            connected: BTreeSet::new(),
            publications: 0,
            unpublished: BTreeSet::new(),
            log: Vec::new(),
        };
        world.drain();
        world
    }

    fn take(&mut self, step: &Step) {
        let input = match step {
            Step::Connect(n) => {
                self.connected.insert(who(*n));
                Input::Connected(who(*n))
            }
            Step::Disconnect(n) => {
                self.connected.remove(&who(*n));
                Input::Disconnected(who(*n))
            }
            Step::Job(at) | Step::Panic(at) if !self.jobs.is_empty() => {
                let job = self.jobs.remove(at.index(self.jobs.len()));
                let panics = matches!(step, Step::Panic(_));
                let result = if panics { JobResult::panicked(job.id()) } else { job.run() };
                self.done.push(result.clone());
                Input::JobDone(result)
            }
            Step::Again(at) if !self.done.is_empty() => Input::JobDone(at.get(&self.done).clone()),
            Step::Job(_) | Step::Panic(_) | Step::Again(_) => Input::Wake,
            Step::Publish(at) => {
                self.publications += 1;
                self.unpublished.insert(self.publications);
                let publication = Publication::Envelope(Box::new(at.get(&POOL).0.clone()));
                Input::Publish { id: PublishId(self.publications), publication }
            }
            Step::Pull(n, window) => {
                let frame = self.node.transmit(self.now, &who(*n), *window as usize);
                assert!(frame.is_none() || self.connected.contains(&who(*n)));
                self.log.push(format!("{frame:?}"));
                Input::Wake
            }
            Step::Pass(millis) => return self.pass(Duration::from_millis((*millis).into())),
            Step::Signer(byte) => Input::SetSigner(byte.map(|byte| key(byte).address())),
            stream => Input::Mesh(stream_event(stream)),
        };
        self.tell(input);
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now.monotonic + by;
        while let Some(due) = self.node.next_wakeup().filter(|due| *due <= end) {
            self.move_to(due);
            self.tell(Input::Wake);
            let next = self.node.next_wakeup();
            assert!(next.is_none_or(|next| next > due), "woken at {due:?}, it asks for {next:?}");
        }
        self.move_to(end);
    }

    fn move_to(&mut self, at: Instant) {
        let elapsed = at.since(self.now.monotonic);
        self.now = Now { monotonic: self.now.monotonic + elapsed, unix: self.now.unix + elapsed };
    }

    fn tell(&mut self, input: Input) {
        self.node.handle(self.now, input);
        self.drain();
        self.check();
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.node.poll() {
            outputs += 1;
            assert!(outputs < 2000, "it has ever more to say");
            match output {
                Output::Job(job) => {
                    self.log.push(format!("{:?}", job.id()));
                    self.jobs.push(job);
                    continue;
                }
                Output::Sign(SignRequest { id, signing_hash, .. }) => {
                    let result = Ok(sequencer().sign(&signing_hash));
                    self.node.handle(self.now, Input::Signed { id, result });
                }
                Output::Store { id, .. } => {
                    self.node.handle(self.now, Input::Stored { id, is_stored: true });
                }
                Output::Event(Event::Published { id, .. }) => {
                    assert!(self.unpublished.remove(&id.0), "a second end");
                }
                Output::Mesh(StreamAction::OpenWriter(peer) | StreamAction::Transmit(peer)) => {
                    assert!(self.connected.contains(&peer), "a peer that is not there");
                }
                Output::Send { .. }
                | Output::ApplicationScore(..)
                | Output::LiveTopics(_)
                | Output::TakeScores => panic!("{output:?} of a node with a router"),
                _ => {}
            }
            self.log.push(format!("{output:?}"));
        }
    }

    fn check(&self) {
        let node = &self.node;
        node.validator.check();
        let mesh = node.mesh.as_ref().expect("a router");
        let validating = node.validator.waiting() + node.validator.running();
        assert!(mesh.judging() <= validating, "a validation without a message");
        assert!(node.validator.waiting() <= VALIDATION_QUEUE);
        let sizes = node.router().expect("a router").sizes();
        assert_eq!(sizes.peers, self.connected.len());
        assert!(sizes.scored <= PEERS && sizes.mesh <= PEERS && sizes.turns <= PEERS);
        assert!(sizes.judging <= MAX_ENTRIES && sizes.held <= MAX_HELD);
        assert!(sizes.cached <= MAX_CACHED && sizes.cached_bytes <= MAX_CACHED_BYTES);
        assert!(sizes.promises <= PEERS * PROMISES_PER_PEER && sizes.unwanted <= MAX_UNWANTED);
        for peer in &self.connected {
            for version in PayloadVersion::ALL {
                let topic = crate::mesh::Topic::new(version.index()).expect("few");
                let is_member = mesh_has(node, topic, peer);
                assert_eq!(node.peers().is_in_mesh(peer, version), is_member);
            }
        }
    }

    /// Ends all jobs, and lets time run out for what waits.
    fn run_out(&mut self) {
        for _ in 0..60 {
            while let Some(job) = self.jobs.pop() {
                self.tell(Input::JobDone(job.run()));
            }
            if self.unpublished.is_empty() && self.jobs.is_empty() {
                break;
            }
            self.pass(7 * SECOND);
        }
        assert_eq!(self.unpublished, BTreeSet::new(), "publications without an end");
        let validator = &self.node.validator;
        assert_eq!((validator.waiting(), validator.running(), self.node.jobs.len()), (0, 0, 0));
        assert_eq!(self.node.mesh.as_ref().expect("a router").judging(), 0);
        assert_eq!(self.node.router().expect("a router").sizes().judging, 0);
    }
}

fn mesh_has(node: &Node, topic: crate::mesh::Topic, peer: &PeerId) -> bool {
    node.router().is_some_and(|router| router.mesh_of(topic).any(|member| member == peer))
}

fn stream_event(step: &Step) -> StreamEvent {
    match step {
        Step::Supports(n) => StreamEvent::Supports(who(*n)),
        Step::WriterOpened(n, version) => {
            let all =
                [Version::Floodsub, Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];
            StreamEvent::WriterOpened(who(*n), all[*version])
        }
        Step::WriterClosed(n, is_refused) => {
            StreamEvent::WriterClosed { peer: who(*n), is_refused: *is_refused }
        }
        Step::ReaderOpened(n) => StreamEvent::ReaderOpened(who(*n)),
        Step::Malformed(n) => StreamEvent::Malformed(who(*n)),
        Step::Bytes(n, bytes) => StreamEvent::Frame(who(*n), bytes.clone().into()),
        Step::Words(n, words) => StreamEvent::Frame(who(*n), speak(words)),
        Step::Message(n, at) => {
            let frame = Frame::message(&topic(), at.get(&POOL).1.clone());
            StreamEvent::Frame(who(*n), bytes_of(&frame))
        }
        Step::Written(n, bytes) => StreamEvent::Written(who(*n), *bytes as usize),
        other => panic!("{other:?} is no event of a stream"),
    }
}

fn speak(words: &[(u8, u8, u64)]) -> Bytes {
    let mut writer = ControlWriter::default();
    let topics = [topic(), crate::gossip::block_topic(CHAIN_ID, V3), "else".to_owned()];
    for (kind, about, number) in words {
        let topic = &topics[usize::from(about % 3)];
        let ids = [POOL[usize::from(*about) % POOL.len()].2, Id::from([*number as u8; 20])];
        match kind {
            0 => writer.subscription(topic, number % 4 > 0),
            1 => writer.graft(topic),
            2 => writer.prune(topic, Some(*number).filter(|number| number % 3 > 0)),
            3 => writer.ihave(topic, &ids),
            4 => writer.iwant(&ids),
            5 => writer.idontwant(&ids),
            6 => writer.speaks(),
            7 => writer.sending(&ids),
            8 => writer.receiving(&ids),
            _ => writer.received(&ids),
        }
    }
    bytes_of(&writer.finish().expect("something to say"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_sequence_keeps_all_bounds_and_everything_ends(steps in vec(step(), 0..120)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.take(step));
        world.run_out();
    }

    #[test]
    fn the_same_streams_give_the_same_frames(steps in vec(step(), 0..60)) {
        let [one, other] = [(); 2].map(|()| {
            let mut world = World::new();
            steps.iter().for_each(|step| world.take(step));
            world.run_out();
            for n in 0..PEERS {
                while let Some(frame) = world.node.transmit(world.now, &who(n), WINDOW) {
                    world.log.push(format!("{n}: {frame:?}"));
                }
            }
            world.log
        });
        prop_assert_eq!(one, other);
    }
}
