//! The whole node: gossip, publishing, blocks by number in both directions, peers, clocks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use opp2p_core::chain::{BlockId, ChainEvent, ChainViewConfig};
use opp2p_core::gossip::{MessageId, Unpacked, VALIDATION_CONCURRENCY, VALIDATION_QUEUE};
use opp2p_core::node::{
    Event, Input, Job, JobKind, JobResult, Node, NodeConfig, Output, SignRequest, StoreChange,
    StoreId, SyncConfig,
};
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::peers::{CommandId, PeerCommand, PeerLists, PeerNews};
use opp2p_core::sequencer::{Publication, PublishId, QUEUE_LENGTH, SendOutcome};
use opp2p_core::sync::{
    ClientConfig, FillConfig, LOAD_BLOCKS, RangeId, RequestFailure, RequestId, ServeId,
    ServerConfig, SyncEvent, encode_response,
};

use crate::chain::Listener;
use crate::material::{
    Clock, POOL, any_peer, any_span, any_version, chain, key, peer, play, sequencer, signed_by,
};
use crate::peers::any_command;

const PEERS: u8 = 8;

/// A node, and the state of its driver.
struct World {
    node: Node,
    clock: Clock,
    /// Next id for an input that needs one; each is used once.
    next: u64,
    jobs: Vec<Job>,
    done: Vec<JobResult>,
    to_sign: Vec<SignRequest>,
    to_send: Vec<PublishId>,
    requests: BTreeMap<RequestId, u64>,
    used: BTreeSet<RequestId>,
    serving: BTreeSet<ServeId>,
    loads: Vec<Vec<BlockId>>,
    to_hold: Vec<(StoreId, BlockId)>,
    /// The pending area of the store.
    pending: BTreeMap<BlockId, Block>,
    /// Canonical blocks of the store.
    stored: Vec<BlockId>,
    skipped: bool,
    listener: Listener,
    unjudged: BTreeSet<MessageId>,
    unpublished: BTreeSet<PublishId>,
    unserved: BTreeSet<ServeId>,
    unranged: BTreeSet<RangeId>,
    uncommanded: BTreeSet<CommandId>,
}

/// Runs any events in any order, with answers that are right, wrong, late or never arrive.
pub(crate) fn node(bytes: &[u8]) {
    play(bytes, |from| {
        let mut world = World::new(from)?;
        let course = world.course(from);
        world.run_out();
        course
    });
}

impl World {
    fn new(from: &mut Unstructured<'_>) -> Result<Self> {
        let client = ClientConfig {
            in_flight: from.int_in_range(1..=9)?,
            window: from.int_in_range(1..=20)?,
            ..ClientConfig::default()
        };
        let fill = FillConfig {
            client,
            pending_blocks: from.int_in_range(1..=30)?,
            ..FillConfig::default()
        };
        let serve = ServerConfig { waiting: 12, active: 6, peers: 6, ..ServerConfig::default() };
        let view = ChainViewConfig {
            max_blocks: from.int_in_range(2..=40)?,
            ..ChainViewConfig::default()
        };
        let clock = Clock::new();
        let head = from.ratio(1, 2)?.then(|| BlockId::of(&POOL[0].block));
        let config = NodeConfig {
            can_sign: true,
            view,
            head,
            reads_signer: from.arbitrary()?,
            sync: from.ratio(7, 8)?.then_some(SyncConfig { fill, serve, ..SyncConfig::default() }),
            static_peers: vec![peer(0).into(), peer(1).into()],
            ..NodeConfig::new(chain())
        };
        let node = Node::new(clock.0, config).expect("the configuration is good");
        let mut world = Self {
            node,
            clock,
            next: 0,
            jobs: Vec::new(),
            done: Vec::new(),
            to_sign: Vec::new(),
            to_send: Vec::new(),
            requests: BTreeMap::new(),
            used: BTreeSet::new(),
            serving: BTreeSet::new(),
            loads: Vec::new(),
            to_hold: Vec::new(),
            pending: BTreeMap::new(),
            stored: head.into_iter().collect(),
            skipped: false,
            listener: Listener::at(head),
            unjudged: BTreeSet::new(),
            unpublished: BTreeSet::new(),
            unserved: BTreeSet::new(),
            unranged: BTreeSet::new(),
            uncommanded: BTreeSet::new(),
        };
        world.drain();
        Ok(world)
    }

    fn course(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        while !from.is_empty() {
            self.happen(from)?;
            self.check();
        }
        Ok(())
    }

    fn name(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn happen(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        match from.int_in_range(0..=31)? {
            0..=4 => {
                let contents = &from.choose(&POOL)?.contents;
                let topic =
                    if from.ratio(1, 16)? { any_version(from)? } else { PayloadVersion::V4 };
                self.gossip(from, topic, Unpacked::from_contents(contents))?;
            }
            5 => {
                let body = &from.choose(&POOL)?.contents[65..];
                let contents = signed_by(&key(from.int_in_range(8..=9)?), body);
                self.gossip(from, PayloadVersion::V4, Unpacked::from_contents(&contents))?;
            }
            6 => {
                let topic = any_version(from)?;
                for _ in 0..from.int_in_range(1..=300)? {
                    let rubbish = Unpacked::new(&[0xff; 2]);
                    self.gossip(from, topic, rubbish)?;
                }
            }
            7..=12 if !self.jobs.is_empty() => {
                let job = self.jobs.swap_remove(from.choose_index(self.jobs.len())?);
                let result =
                    if from.ratio(1, 32)? { JobResult::panicked(job.id()) } else { job.run() };
                self.done.push(result.clone());
                self.tell(Input::JobDone(result));
            }
            13 if !self.done.is_empty() => {
                let again = from.choose(&self.done)?.clone();
                self.tell(Input::JobDone(again));
            }
            14 => {
                let id = PublishId(self.name());
                let pooled = from.choose(&POOL)?;
                self.unpublished.insert(id);
                let publication = if from.arbitrary()? {
                    Publication::Envelope(Box::new(pooled.envelope.clone()))
                } else {
                    Publication::Signed {
                        version: PayloadVersion::V4,
                        contents: pooled.contents.clone().into(),
                    }
                };
                self.tell(Input::Publish { id, publication });
            }
            15 if !self.to_sign.is_empty() => {
                let SignRequest { id, signing_hash, .. } = *from.choose(&self.to_sign)?;
                let result = match from.int_in_range(0..=4)? {
                    0 => Ok(key(9).sign(&signing_hash)),
                    1 => Ok([0xff; 65]),
                    2 => Err("locked".to_owned()),
                    _ => Ok(sequencer().sign(&signing_hash)),
                };
                self.tell(Input::Signed { id, result });
            }
            16 if !self.to_send.is_empty() => {
                let id = *from.choose(&self.to_send)?;
                let outcome = match from.int_in_range(0..=3)? {
                    0 => SendOutcome::NoPeers,
                    1 => SendOutcome::Failed("full".to_owned()),
                    2 => SendOutcome::AlreadySent,
                    _ => SendOutcome::Sent,
                };
                self.tell(Input::Sent { id, outcome });
            }
            17 => {
                let signer = from
                    .choose(&[None, Some(7), Some(7), Some(7), Some(8)])?
                    .map(|byte| key(byte).address());
                self.tell(Input::SetSigner(signer));
            }
            18 => self.tell(Input::Connected(any_peer(from, PEERS)?)),
            19 => {
                let input = match from.int_in_range(0..=3)? {
                    0 => Input::Disconnected(any_peer(from, PEERS)?),
                    1 => Input::DialFailed(any_peer(from, PEERS)?),
                    2 => Input::NetworkChanged,
                    _ => Input::Stopping,
                };
                self.tell(input);
            }
            20 => {
                let (who, topic) = (any_peer(from, PEERS)?, any_version(from)?);
                let news = match from.int_in_range(0..=2)? {
                    0 => PeerNews::Subscribed(topic, from.arbitrary()?),
                    1 => PeerNews::Mesh(topic, from.arbitrary()?),
                    _ => PeerNews::Pinged(any_span(from)?),
                };
                self.tell(Input::Peer(who, news));
            }
            21 => {
                let id = CommandId(self.name());
                self.uncommanded.insert(id);
                let command = any_command(from)?;
                if let (PeerCommand::Block(entry), true) = (command, from.ratio(1, 4)?) {
                    let static_peers = vec![any_peer(from, PEERS)?.into()];
                    let lists = PeerLists { static_peers, blocked: vec![entry] };
                    self.tell(Input::Configure { id, lists });
                } else {
                    self.tell(Input::Command { id, command });
                }
            }
            22 => {
                let (who, id) = (any_peer(from, PEERS)?, ServeId(self.name()));
                let number = if from.ratio(1, 4)? {
                    from.arbitrary()?
                } else {
                    1000 + from.int_in_range(0..=20)?
                };
                self.unserved.insert(id);
                self.tell(Input::Requested { from: who, id, number });
            }
            23 if !self.serving.is_empty() => {
                let at = from.choose_index(self.serving.len())?;
                let id = *self.serving.iter().nth(at).expect("an index below the length");
                self.serving.remove(&id);
                self.tell(Input::Responded(id));
            }
            24 | 25 if !self.requests.is_empty() => {
                let at = from.choose_index(self.requests.len())?;
                let (id, number) = self
                    .requests
                    .iter()
                    .nth(at)
                    .map(|(id, number)| (*id, *number))
                    .expect("as above");
                self.requests.remove(&id);
                let result = match from.int_in_range(0..=5)? {
                    0 => Err(*from.choose(&[RequestFailure::Timeout, RequestFailure::TooLong])?),
                    1 => Ok(encode_response(&from.choose(&POOL)?.block).into()),
                    _ => {
                        let all = POOL.iter().filter(|pooled| pooled.block.number() == number);
                        let all: Vec<&Block> = all.map(|pooled| &pooled.block).collect();
                        let code = from.arbitrary::<u8>()?;
                        Ok(if all.is_empty() {
                            vec![code]
                        } else {
                            encode_response(from.choose(&all)?)
                        }
                        .into())
                    }
                };
                self.tell(Input::Response { id, result });
            }
            26 if !self.to_hold.is_empty() => {
                let (id, block) = self.to_hold.swap_remove(from.choose_index(self.to_hold.len())?);
                let is_stored = from.ratio(7, 8)?;
                if !is_stored {
                    self.pending.remove(&block);
                }
                self.tell(Input::Stored { id, is_stored });
            }
            27 if !self.loads.is_empty() => {
                let ids = self.loads.remove(0);
                let lose = from.ratio(1, 8)?;
                let found = ids.iter().map(|id| self.pending.get(id).filter(|_| !lose).cloned());
                let blocks = found.collect();
                self.tell(Input::Loaded(blocks));
            }
            28 => {
                let id = RangeId(self.name());
                let to = BlockId::of(&from.choose(&POOL)?.block);
                self.unranged.insert(id);
                self.tell(Input::FetchRange { id, to });
            }
            29 => {
                let jump = i64::from(from.arbitrary::<i8>()?) * 30;
                let unix = self.clock.0.unix.as_secs().saturating_add_signed(jump);
                self.clock.0.unix = Duration::from_secs(unix);
                self.tell(Input::Wake);
            }
            _ => {
                let end = self.clock.at() + any_span(from)?;
                self.pass_to(end);
            }
        }
        Ok(())
    }

    fn gossip(
        &mut self,
        from: &mut Unstructured<'_>,
        topic: PayloadVersion,
        message: Unpacked,
    ) -> Result<()> {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&self.name().to_be_bytes());
        self.unjudged.insert(id);
        let from = any_peer(from, PEERS)?;
        self.tell(Input::Gossip { from, topic, id, message });
        Ok(())
    }

    /// Wakes the node when it asks for that, but no more often than a patient driver would.
    fn pass_to(&mut self, end: opp2p_core::time::Instant) {
        for _ in 0..300 {
            let Some(due) = self.node.next_wakeup().filter(|due| *due <= end) else { break };
            self.clock.pass_to(due);
            self.tell(Input::Wake);
            let next = self.node.next_wakeup();
            assert!(next.is_none_or(|next| next > due), "woken at {due:?}, it asks for {next:?}");
        }
        self.clock.pass_to(end);
        self.tell(Input::Wake);
    }

    fn tell(&mut self, input: Input) {
        self.node.handle(self.clock.0, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.node.poll() {
            outputs += 1;
            assert!(outputs < 5000, "it has ever more to say");
            self.take(output);
        }
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Job(job) => self.jobs.push(job),
            Output::Verdict(verdict) => {
                assert!(self.unjudged.remove(&verdict.id), "a second verdict");
                if let Ok(id) = verdict.result {
                    assert!(
                        POOL.iter().any(|pooled| BlockId::of(&pooled.block) == id),
                        "a block of no peer"
                    );
                }
            }
            Output::Sign(request) => self.to_sign.push(request),
            Output::Send { id, .. } => self.to_send.push(id),
            Output::Request { id, number, limit, .. } => {
                assert!(self.used.insert(id), "the name of an earlier request");
                assert!(limit <= 10 << 20);
                self.requests.insert(id, number);
            }
            Output::RequestRpc { .. } => unreachable!("no endpoint is configured"),
            Output::Recall(_) => unreachable!("no history is fetched"),
            Output::Serve { id, number, held } => {
                assert!(self.unserved.remove(&id), "a second answer");
                assert!(held.is_none_or(|block| block.number() == number));
                self.serving.insert(id);
            }
            Output::Refuse { id, .. } => assert!(self.unserved.remove(&id), "a second answer"),
            Output::Load(ids) => {
                assert!(!ids.is_empty() && ids.len() <= LOAD_BLOCKS);
                self.loads.push(ids);
            }
            Output::Store { id, change } => self.store(id, change),
            Output::Event(Event::Chain(event)) => {
                self.skipped |= matches!(event, ChainEvent::Skipped { .. });
                self.listener.hear(&event);
            }
            Output::Event(Event::Published { id, .. }) => {
                assert!(self.unpublished.remove(&id), "a second end");
            }
            Output::Event(Event::Commanded { id, .. } | Event::Configured { id, .. }) => {
                assert!(self.uncommanded.remove(&id));
            }
            Output::Event(Event::Sync(SyncEvent::Range { id, .. })) => {
                assert!(self.unranged.remove(&id), "a second end of a range");
            }
            Output::Event(_)
            | Output::Dial { .. }
            | Output::Disconnect(_)
            | Output::Close(_)
            | Output::ApplicationScore(..)
            | Output::LiveTopics(_)
            | Output::Mesh(_)
            | Output::ReadSigner
            | Output::TakeScores
            | Output::Range(_)
            | Output::Remember(_) => {}
        }
    }

    fn store(&mut self, id: StoreId, change: StoreChange) {
        if let StoreChange::Hold(block) = change {
            self.to_hold.push((id, BlockId::of(&block)));
            self.pending.insert(BlockId::of(&block), block);
            return;
        }
        match change {
            StoreChange::Extend(block) => self.extend(&block),
            StoreChange::Promote(id) => {
                let block = self.pending.remove(&id).expect("what is promoted was held");
                self.extend(&block);
            }
            StoreChange::Rewind(to) => {
                self.stored.retain(|stored| stored.number <= to.number);
                assert!(self.skipped || self.stored.last().is_none_or(|head| *head == to));
            }
            StoreChange::Detach => self.stored.clear(),
            StoreChange::Hold(_) | StoreChange::Prepend(_) => {}
            StoreChange::Release(ids) => ids.iter().for_each(|id| {
                self.pending.remove(id);
            }),
        }
        self.node.handle(self.clock.0, Input::Stored { id, is_stored: true });
    }

    fn extend(&mut self, block: &Block) {
        self.stored.retain(|stored| stored.number < block.number());
        self.stored.push(BlockId::of(block));
        // The pool contains only the sequencer's blocks, and no other block may ever be delivered.
        assert!(POOL.iter().any(|pooled| pooled.block.hash() == block.hash()));
    }

    fn check(&self) {
        self.listener.agree(self.node.view());
        assert_eq!(self.stored.last(), self.listener.chain.last(), "the store has another head");
        assert!(self.node.waiting() <= VALIDATION_QUEUE);
        assert!(self.node.publishing().len() <= QUEUE_LENGTH);
        assert_eq!(self.node.publishing().len(), self.unpublished.len());
        assert!(self.serving.len() <= 6 && self.unserved.len() <= 12);
        let validating = self.jobs.iter().filter(|job| job.kind() == JobKind::Validate).count();
        assert!(validating <= PayloadVersion::ALL.len() * VALIDATION_CONCURRENCY + 1);
        assert_eq!(
            self.unranged.len(),
            usize::from(!self.unranged.is_empty()),
            "two ranges at once"
        );
        assert_eq!(self.uncommanded, BTreeSet::new());
        if let Some(status) = self.node.sync_status() {
            assert!(
                status.in_flight <= 9 && status.slots <= 20 && status.pending <= 30 + 20,
                "{status:?}"
            );
        }
    }

    /// Ends all jobs, and checks that waits for answers that never arrive end in time.
    fn run_out(&mut self) {
        for _ in 0..200 {
            while let Some(job) = self.jobs.pop() {
                self.tell(Input::JobDone(job.run()));
            }
            for id in std::mem::take(&mut self.serving) {
                self.tell(Input::Responded(id));
            }
            if self.jobs.is_empty() && self.unpublished.is_empty() && self.unserved.is_empty() {
                break;
            }
            let end = self.clock.at() + Duration::from_secs(7);
            self.clock.0.unix = self.clock.0.unix.max(Duration::from_secs(crate::material::NOW));
            self.pass_to(end);
        }
        self.check();
        assert_eq!(self.unjudged, BTreeSet::new(), "messages without a verdict");
        assert_eq!(self.unpublished, BTreeSet::new(), "publications without an end");
        assert_eq!(self.unserved, BTreeSet::new(), "requests without an answer");
        assert_eq!(self.node.waiting(), 0);
    }
}
