//! A world of random events around a node, for the property tests: messages, jobs that end in any
//! order or panic, signers and networks that answer, fail, answer twice or never, and clocks that
//! jump.

use super::*;
use crate::gossip::Signature;
use crate::sequencer::SendOutcome;
use crate::trouble::{Report, TroubleEntry, TroubleKind};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// One event. Indices into lists are resolved when the event happens.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A message of the pool arrives, on this topic or its own.
    Message(Index, Option<PayloadVersion>),
    /// This many bad messages of this many bytes arrive on one topic.
    Flood(PayloadVersion, u16, usize),
    JobDone(Index),
    JobPanicked(Index),
    /// An earlier result arrives again.
    JobAgain(Index),
    Publish(Index),
    /// Every block of the pool is published, more than the queue holds.
    PublishAll,
    PublishSigned(Index),
    Signed(Index, SignOutcome),
    Sent(Index, SendOutcome),
    SetSigner(Option<u8>),
    Connected(u8),
    Disconnected(u8),
    DialFailed(u8),
    Pass(u32),
    ClockJumps(i8),
    Report(Report),
    Wake,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum SignOutcome {
    Right,
    WrongKey,
    Nonsense,
    Fails,
}

pub(super) fn any_happening() -> impl Strategy<Value = Happening> {
    let index = any::<Index>;
    let version = || prop::sample::select(&PayloadVersion::ALL);
    let sign = prop_oneof![
        6 => Just(SignOutcome::Right),
        1 => Just(SignOutcome::WrongKey),
        1 => Just(SignOutcome::Nonsense),
        2 => Just(SignOutcome::Fails),
    ];
    let sent = prop_oneof![
        4 => Just(SendOutcome::Sent),
        1 => Just(SendOutcome::AlreadySent),
        3 => Just(SendOutcome::NoPeers),
        1 => Just(SendOutcome::Failed("full".to_owned())),
    ];
    let size = prop_oneof![4 => Just(66_usize), 1 => Just(2_usize << 20)];
    prop_oneof![
        16 => (index(), prop::option::weighted(0.1, version()))
            .prop_map(|(at, on)| Happening::Message(at, on)),
        1 => (version(), 1_u16..300, size)
            .prop_map(|(on, count, size)| Happening::Flood(on, count, size)),
        16 => index().prop_map(Happening::JobDone),
        1 => index().prop_map(Happening::JobPanicked),
        1 => index().prop_map(Happening::JobAgain),
        4 => index().prop_map(Happening::Publish),
        1 => Just(Happening::PublishAll),
        1 => index().prop_map(Happening::PublishSigned),
        5 => (index(), sign).prop_map(|(at, outcome)| Happening::Signed(at, outcome)),
        5 => (index(), sent).prop_map(|(at, outcome)| Happening::Sent(at, outcome)),
        2 => prop::option::weighted(0.8, 7_u8..10).prop_map(Happening::SetSigner),
        1 => (0_u8..3).prop_map(Happening::Connected),
        1 => (0_u8..3).prop_map(Happening::Disconnected),
        2 => (0_u8..3).prop_map(Happening::DialFailed),
        4 => (0_u32..20_000).prop_map(Happening::Pass),
        1 => any::<i8>().prop_map(Happening::ClockJumps),
        1 => prop::sample::select(reports()).prop_map(Happening::Report),
        1 => Just(Happening::Wake),
    ]
}

fn reports() -> Vec<Report> {
    let text = || Some("full".to_owned());
    vec![
        Report::Store(text()),
        Report::Store(None),
        Report::L1(text()),
        Report::L1(None),
        Report::Mesh([1; 4]),
        Report::Mesh([0; 4]),
        Report::Panics(1),
    ]
}

pub(super) fn any_happenings() -> impl Strategy<Value = Vec<Happening>> {
    prop::collection::vec(any_happening(), 0..120)
}

/// Blocks of a v4 chain's sequencer: a chain with branches, and some invalid blocks.
static POOL: LazyLock<Vec<(Envelope, Vec<u8>)>> = LazyLock::new(|| {
    let mut envelopes = chain(V4, 8);
    for at in [1, 3, 5] {
        let mut branch = child(&envelopes[at], 1);
        for salt in 1..4 {
            envelopes.push(branch.clone());
            branch = child(&branch, salt);
        }
    }
    // More blocks of one height than are accepted.
    let crowd: Vec<Envelope> = (10..18).map(|salt| child(&envelopes[0], salt)).collect();
    envelopes.extend(crowd);
    envelopes.extend([block_at(V4, NOW + 30), block_at(V4, NOW - 50), block(V3), block(V1)]);
    let mut pool: Vec<(Envelope, Vec<u8>)> = envelopes
        .into_iter()
        .map(|envelope| {
            let contents = signed(&envelope);
            (envelope, contents)
        })
        .collect();
    let by_others =
        [signed_by(&key(8), &body(&chain(V4, 2)[1])), signed_by(&key(9), &body(&block(V4)))];
    pool.extend(by_others.into_iter().map(|contents| (block(V4), contents)));
    pool
});

/// Everything around one node, and the invariants that are checked after every event.
#[derive(Debug)]
pub(super) struct World {
    node: Node,
    now: Now,
    /// Interval at which the node is woken in addition to its own requests, or `None` for no more.
    eager: Option<Duration>,
    jobs: Vec<Job>,
    given_back: Vec<JobResult>,
    to_sign: Vec<SignRequest>,
    to_send: Vec<PublishId>,
    messages: u64,
    publications: u64,
    unjudged: BTreeSet<u64>,
    unpublished: BTreeSet<u64>,
    /// The chain as known to a store and to a listener, lowest first.
    stored: Vec<BlockId>,
    told: Vec<BlockId>,
    /// Whether the next block does not link to the one before.
    skipped: bool,
    /// The troubles that began and did not end.
    troubles: BTreeSet<TroubleKind>,
    /// All outputs of the node, with their times.
    pub(super) log: Vec<String>,
}

impl World {
    pub(super) fn new(eager: Option<Duration>) -> Self {
        let now = Now::new(Duration::from_secs(5000), Duration::from_secs(NOW));
        let config =
            NodeConfig { static_peers: [0, 1].map(|byte| peer(byte).into()).into(), ..config(V4) };
        let mut world = Self {
            node: Node::new(now, config).expect("a good configuration"),
            now,
            eager,
            jobs: Vec::new(),
            given_back: Vec::new(),
            to_sign: Vec::new(),
            to_send: Vec::new(),
            messages: 0,
            publications: 0,
            unjudged: BTreeSet::new(),
            unpublished: BTreeSet::new(),
            stored: Vec::new(),
            told: Vec::new(),
            skipped: false,
            troubles: BTreeSet::new(),
            log: Vec::new(),
        };
        world.drain();
        world
    }

    pub(super) fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Message(at, topic) => {
                let (envelope, contents) = at.get(&POOL);
                let own = envelope.payload.version().expect("a version");
                self.message(topic.unwrap_or(own), Unpacked::from_contents(contents));
            }
            Happening::Flood(topic, count, size) => {
                for _ in 0..*count {
                    // A broken snappy block, so that no job hashes it.
                    self.message(*topic, Unpacked::new(&vec![0xff; *size]));
                }
            }
            Happening::JobDone(at) => {
                if !self.jobs.is_empty() {
                    let job = self.jobs.remove(at.index(self.jobs.len()));
                    self.give_back(job.run());
                }
            }
            Happening::JobPanicked(at) => {
                if !self.jobs.is_empty() {
                    let job = self.jobs.remove(at.index(self.jobs.len()));
                    self.give_back(JobResult::panicked(job.id()));
                }
            }
            Happening::JobAgain(at) => {
                if !self.given_back.is_empty() {
                    self.tell(Input::JobDone(at.get(&self.given_back).clone()));
                }
            }
            Happening::Publish(at) => {
                let (envelope, _) = at.get(&POOL);
                self.publish(Publication::Envelope(Box::new(envelope.clone())));
            }
            Happening::PublishAll => {
                for (envelope, _) in POOL.iter() {
                    self.publish(Publication::Envelope(Box::new(envelope.clone())));
                }
            }
            Happening::PublishSigned(at) => {
                let (envelope, contents) = at.get(&POOL);
                let version = envelope.payload.version().expect("a version");
                self.publish(Publication::Signed { version, contents: contents.clone().into() });
            }
            Happening::Signed(at, outcome) => {
                if !self.to_sign.is_empty() {
                    let SignRequest { id, signing_hash, .. } = *at.get(&self.to_sign);
                    let result: Result<Signature, String> = match outcome {
                        SignOutcome::Right => Ok(sequencer().sign(&signing_hash)),
                        SignOutcome::WrongKey => Ok(key(9).sign(&signing_hash)),
                        SignOutcome::Nonsense => Ok([0xff; 65]),
                        SignOutcome::Fails => Err("locked".to_owned()),
                    };
                    self.tell(Input::Signed { id, result });
                }
            }
            Happening::Sent(at, outcome) => {
                if !self.to_send.is_empty() {
                    let id = *at.get(&self.to_send);
                    self.tell(Input::Sent { id, outcome: outcome.clone() });
                }
            }
            Happening::SetSigner(signer) => {
                self.tell(Input::SetSigner(signer.map(|byte| key(byte).address())));
            }
            Happening::Connected(byte) => self.tell(Input::Connected(peer(*byte))),
            Happening::Disconnected(byte) => self.tell(Input::Disconnected(peer(*byte))),
            Happening::DialFailed(byte) => self.tell(Input::DialFailed(peer(*byte))),
            Happening::Pass(millis) => self.pass(Duration::from_millis(u64::from(*millis))),
            Happening::ClockJumps(seconds) => {
                let unix = self.now.unix.as_secs().saturating_add_signed(i64::from(*seconds));
                self.now.unix = Duration::from_secs(unix);
                // Nothing is due because of a jump, but the next call notices it.
                self.tell(Input::Wake);
            }
            Happening::Report(report) => self.tell(Input::Report(report.clone())),
            Happening::Wake => self.tell(Input::Wake),
        }
    }

    /// Ends all jobs, and lets time run out for everything that waits for an answer that never
    /// comes.
    pub(super) fn run_out(&mut self) {
        self.now.unix = self.now.unix.max(Duration::from_secs(NOW));
        // This may be a jump too.
        self.tell(Input::Wake);
        for _ in 0..100 {
            if self.jobs.is_empty() && self.unpublished.is_empty() {
                break;
            }
            while let Some(job) = self.jobs.pop() {
                self.give_back(job.run());
            }
            self.pass(Duration::from_secs(7));
        }
        assert_eq!(self.unjudged, BTreeSet::new(), "messages without a verdict");
        assert_eq!(self.unpublished, BTreeSet::new(), "publications without an end");
        let Node { validator, jobs, .. } = &self.node;
        let left = (validator.waiting(), validator.waiting_bytes(), validator.running());
        assert_eq!((left, jobs.len()), ((0, 0, 0), 0));
    }

    fn message(&mut self, topic: PayloadVersion, message: Unpacked) {
        self.messages += 1;
        self.unjudged.insert(self.messages);
        let mut id = [0; 20];
        id[..8].copy_from_slice(&self.messages.to_be_bytes());
        self.tell(Input::Gossip { from: peer(1), topic, id, message });
    }

    fn publish(&mut self, publication: Publication) {
        self.publications += 1;
        self.unpublished.insert(self.publications);
        self.tell(Input::Publish { id: PublishId(self.publications), publication });
    }

    fn give_back(&mut self, result: JobResult) {
        self.given_back.push(result.clone());
        self.tell(Input::JobDone(result));
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now.monotonic + by;
        loop {
            let asked = self.node.next_wakeup();
            let early = self.eager.map(|every| self.now.monotonic + every);
            let Some(due) = asked.into_iter().chain(early).min().filter(|due| *due <= end) else {
                break;
            };
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
        while let Some(output) = self.node.poll() {
            let said = match &output {
                // Its bytes are those of an input, and may be many.
                Output::Job(job) => format!("{:?}", job.id()),
                // Details such as the length of a silence are as of the last update.
                Output::Event(Event::TroubleBegan(TroubleEntry { trouble, since, last })) => {
                    format!("began {} {since} {last}", trouble.kind())
                }
                Output::Event(Event::TroubleEnded(TroubleEntry { trouble, since, last })) => {
                    format!("ended {} {since} {last}", trouble.kind())
                }
                other => format!("{other:?}"),
            };
            self.log.push(format!("{:?}: {said}", self.now.monotonic));
            match output {
                Output::Job(job) => self.jobs.push(job),
                Output::Sign(request) => self.to_sign.push(request),
                Output::Send { id, .. } => self.to_send.push(id),
                Output::Verdict(verdict) => {
                    let message = u64::from_be_bytes(*verdict.id.first_chunk().expect("20 bytes"));
                    assert!(
                        self.unjudged.remove(&message),
                        "a second verdict on message {message}"
                    );
                }
                Output::Event(Event::Published { id, .. }) => {
                    assert!(
                        self.unpublished.remove(&id.0),
                        "publication {} ends a second time",
                        id.0
                    );
                }
                Output::Store { id, change } => {
                    self.store(change);
                    self.node.handle(self.now, Input::Stored { id, is_stored: true });
                }
                Output::Event(Event::Chain(ChainEvent::Extended(block))) => {
                    self.told.push(BlockId::of(&block));
                }
                Output::Event(Event::Chain(ChainEvent::Reorg { ancestor, abandoned, adopted })) => {
                    let kept = self.told.len() - abandoned.len();
                    assert_eq!(self.told.split_off(kept), abandoned);
                    let lowest = self.told.last();
                    assert!(self.skipped || lowest.is_none_or(|head| *head == ancestor));
                    assert!(!adopted.is_empty());
                }
                Output::Event(Event::Chain(ChainEvent::Skipped { from, to, .. })) => {
                    assert!(self.told.is_empty() || self.told.last() == Some(&from));
                    self.told.retain(|told| told.number < to.number);
                    self.skipped = true;
                }
                Output::Event(Event::TroubleBegan(entry)) => {
                    assert!(self.troubles.insert(entry.trouble.kind()), "it has begun before");
                }
                Output::Event(Event::TroubleEnded(entry)) => {
                    assert!(self.troubles.remove(&entry.trouble.kind()), "it never began");
                }
                Output::Dial { .. }
                | Output::Event(_)
                | Output::Remember(_)
                | Output::LiveTopics(_) => {}
                Output::Disconnect(_)
                | Output::ApplicationScore(..)
                | Output::TakeScores
                | Output::ReadSigner => {}
                other => panic!("unexpected output of a node that does not fetch: {other:?}"),
            }
        }
    }

    fn store(&mut self, change: StoreChange) {
        match change {
            StoreChange::Extend(block) => {
                if !std::mem::take(&mut self.skipped) {
                    let parent = self.stored.last();
                    assert!(parent.is_none_or(|parent| parent.hash == block.parent_hash()));
                }
                self.stored.retain(|stored| stored.number < block.number());
                self.stored.push(BlockId::of(&block));
            }
            StoreChange::Rewind(to) => {
                // By number: the parent of the very first block was never stored.
                self.stored.retain(|block| block.number <= to.number);
                assert!(self.skipped || self.stored.last().is_none_or(|head| *head == to));
            }
            StoreChange::Detach => {
                self.stored.clear();
                self.told.clear();
            }
            other => panic!("a node that fetches nothing stores {other:?}"),
        }
    }

    /// Checks the invariants that hold after every event.
    fn check(&self) {
        let node = &self.node;
        node.validator.check();
        assert_eq!(node.validator.running() + node.jobs.len(), self.jobs.len());
        assert_eq!(self.stored, self.told);
        assert_eq!(self.stored.last().copied(), node.view().head());
        assert!(node.trouble_kinds().eq(self.troubles.iter().copied()));
    }
}
