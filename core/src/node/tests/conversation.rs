//! A driver in virtual time for tests: it carries out the node's outputs, wakes the node exactly
//! when the node asks for it, and records the outputs.

use super::*;
use crate::chain::{GapEnd, SkipReason};
use crate::peers::PeerEvent;
use crate::sequencer::LocalSigner;
use crate::trouble::TroubleChange;
use std::collections::{BTreeMap, VecDeque};

/// An output of a node, without the parts that no test checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The message was accepted as this block.
    Accepted(u64, BlockId),
    /// The message failed this check.
    Refused(u64, Reason),
    /// Store this block as the head.
    Store(BlockId),
    /// This block is the store's head again.
    Rewind(BlockId),
    Block(BlockId),
    Reorg {
        ancestor: BlockId,
        abandoned: Vec<BlockId>,
        adopted: Vec<BlockId>,
    },
    Equivocation(BlockId, BlockId),
    /// A gap, and the block that is needed.
    GapOpened(BlockId),
    GapChanged(BlockId),
    GapClosed(GapEnd),
    Skipped(BlockId, BlockId, SkipReason),
    Contended(BlockId, BlockId),
    Signer(Option<Address>, Option<Address>),
    /// The signer is asked for this publication's signature.
    Sign(u64),
    /// The publication is sent on this topic.
    Send(u64, PayloadVersion),
    Published(u64, Result<B256, PublishError>),
    Dial(PeerId),
    Disconnect(PeerId),
    /// This connection is to be closed.
    Close(u64),
    /// A peer is banned until this second.
    Banned(PeerId, u64),
    /// A peer serves this other chain.
    OtherChain(PeerId, u64),
    ScheduleInDoubt(ScheduleDoubt),
    ScheduleDoubtEnded(ScheduleDoubt),
    /// An unknown fork's name and time, and whether it is active.
    UnknownFork(String, u64, bool),
}

/// Outcome of a request to sign.
#[derive(Debug)]
pub(super) enum Signing {
    With(LocalSigner),
    Fails(&'static str),
    Silent,
}

/// Outcome of sending a message of the node's own.
#[derive(Clone, Debug)]
pub(super) enum Network {
    Answers(SendOutcome),
    Silent,
}

/// The driver: see the module's documentation.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) node: Node,
    pub(super) now: Now,
    pub(super) signing: Signing,
    pub(super) network: Network,
    /// Whether jobs are left in `jobs` for the test to run.
    pub(super) hold_jobs: bool,
    pub(super) jobs: VecDeque<Job>,
    /// Contents of the sent messages, by publication.
    pub(super) sent: Vec<(u64, Vec<u8>)>,
    /// The store's peer memory.
    pub(super) memory: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The live topics.
    pub(super) live: [bool; PayloadVersion::ALL.len()],
    said: Vec<Said>,
    /// Changes of the trouble list since the test last took them.
    pub(super) changes: Vec<TroubleChange>,
    messages: u64,
    /// The sender of each message.
    senders: Vec<u8>,
    publications: u64,
}

impl Conversation {
    /// Starts at [`NOW`] of the wall clock, and at another reading of the monotonic one.
    pub(super) fn with(config: NodeConfig) -> Self {
        let now = Now::new(Duration::from_secs(5000), Duration::from_secs(NOW));
        let mut conversation = Self {
            node: Node::new(now, config).expect("a good configuration"),
            now,
            signing: Signing::With(sequencer()),
            network: Network::Answers(SendOutcome::Sent),
            hold_jobs: false,
            jobs: VecDeque::new(),
            sent: Vec::new(),
            memory: BTreeMap::new(),
            live: Default::default(),
            said: Vec::new(),
            changes: Vec::new(),
            messages: 0,
            senders: Vec::new(),
            publications: 0,
        };
        conversation.carry_on(VecDeque::new());
        conversation
    }

    pub(super) fn on(version: PayloadVersion) -> Self {
        Self::with(config(version))
    }

    /// Passes an input to the node, and carries out all outputs.
    pub(super) fn tell(&mut self, input: Input) {
        self.carry_on(VecDeque::from([input]));
    }

    /// Delivers a message with these contents; returns its number.
    pub(super) fn hear(&mut self, topic: PayloadVersion, contents: &[u8]) -> u64 {
        self.hear_unpacked(topic, Unpacked::from_contents(contents))
    }

    pub(super) fn hear_unpacked(&mut self, topic: PayloadVersion, message: Unpacked) -> u64 {
        self.hear_from(1, topic, message)
    }

    /// Delivers a message from this peer.
    pub(super) fn hear_from(
        &mut self,
        number: u8,
        topic: PayloadVersion,
        message: Unpacked,
    ) -> u64 {
        self.messages += 1;
        self.senders.push(number);
        let mut id = [0; 20];
        id[..8].copy_from_slice(&self.messages.to_be_bytes());
        self.tell(Input::Gossip { from: peer(number), topic, id, message });
        self.messages
    }

    /// Delivers a block of the sequencer on the topic of its version.
    pub(super) fn hear_block(&mut self, envelope: &Envelope) -> u64 {
        self.hear(envelope.payload.version().expect("a version"), &signed(envelope))
    }

    /// Asks the node to publish a block; returns the publication's number.
    pub(super) fn publish(&mut self, envelope: &Envelope) -> u64 {
        self.submit(Publication::Envelope(Box::new(envelope.clone())))
    }

    pub(super) fn submit(&mut self, publication: Publication) -> u64 {
        self.publications += 1;
        self.tell(Input::Publish { id: PublishId(self.publications), publication });
        self.publications
    }

    /// Runs the job that was held longest and returns its result to the node.
    pub(super) fn run_job(&mut self) {
        let job = self.jobs.pop_front().expect("a job is held");
        self.tell(Input::JobDone(job.run()));
    }

    pub(super) fn run_all_jobs(&mut self) {
        while !self.jobs.is_empty() {
            self.run_job();
        }
    }

    /// Lets time pass. The node is woken exactly when it asked for it.
    pub(super) fn pass(&mut self, by: Duration) {
        let end = self.now.monotonic + by;
        while let Some(due) = self.node.next_wakeup().filter(|due| *due <= end) {
            self.move_to(due);
            self.tell(Input::Wake);
            let next = self.node.next_wakeup();
            assert!(next.is_none_or(|next| next > due), "woken at {due:?}, it asks for {next:?}");
        }
        self.move_to(end);
    }

    /// Returns the node's outputs since the last call.
    pub(super) fn said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    fn move_to(&mut self, at: Instant) {
        let elapsed = at.since(self.now.monotonic);
        self.now = Now { monotonic: self.now.monotonic + elapsed, unix: self.now.unix + elapsed };
    }

    fn carry_on(&mut self, mut inputs: VecDeque<Input>) {
        loop {
            while let Some(output) = self.node.poll() {
                inputs.extend(self.perform(output));
            }
            let Some(input) = inputs.pop_front() else { break };
            self.node.handle(self.now, input);
        }
    }

    fn perform(&mut self, output: Output) -> Option<Input> {
        let said = match output {
            Output::Job(job) if self.hold_jobs => {
                self.jobs.push_back(job);
                return None;
            }
            Output::Job(job) => return Some(Input::JobDone(job.run())),
            Output::Sign(SignRequest { id, domain, chain_id, payload_hash, signing_hash }) => {
                assert_eq!((domain, chain_id), (BLOCK_DOMAIN, CHAIN_ID));
                assert_eq!(
                    signing_hash,
                    crate::gossip::signing_hash(domain, chain_id.into(), payload_hash)
                );
                self.said.push(Said::Sign(id.0));
                let result = match &self.signing {
                    Signing::With(signer) => Ok(signer.sign(&signing_hash)),
                    Signing::Fails(error) => Err((*error).to_owned()),
                    Signing::Silent => return None,
                };
                return Some(Input::Signed { id, result });
            }
            Output::Send { id, topic, contents } => {
                self.said.push(Said::Send(id.0, topic));
                self.sent.push((id.0, contents.to_vec()));
                return match &self.network {
                    Network::Answers(outcome) => Some(Input::Sent { id, outcome: outcome.clone() }),
                    Network::Silent => None,
                };
            }
            Output::Verdict(Verdict { from, id, result, .. }) => {
                let message = u64::from_be_bytes(*id.first_chunk().expect("20 bytes"));
                assert_eq!(from, peer(self.senders[message as usize - 1]));
                match result {
                    Ok(block) => Said::Accepted(message, block),
                    Err(reason) => Said::Refused(message, reason),
                }
            }
            Output::Dial { peer, .. } => Said::Dial(peer),
            Output::Disconnect(peer) => Said::Disconnect(peer),
            Output::Close(connection) => Said::Close(connection.0),
            // Most tests connect no peer, and none of those checks a ban.
            Output::Event(Event::Peers(PeerEvent::Banned { peer, .. }))
                if self.node.peers().is_inbound(&peer).is_none() =>
            {
                return None;
            }
            Output::Event(Event::Peers(PeerEvent::Banned { peer, until, .. })) => {
                Said::Banned(peer, until)
            }
            Output::Event(Event::Peers(PeerEvent::OtherChain { peer, chain_id })) => {
                Said::OtherChain(peer, chain_id)
            }
            Output::Remember(changes) => {
                for change in changes {
                    match change.value {
                        Some(value) => self.memory.insert(change.key, value),
                        None => self.memory.remove(&change.key),
                    };
                }
                return None;
            }
            // Outputs that concern only gossip, or do not matter here.
            Output::LiveTopics(live) => {
                self.live = live;
                return None;
            }
            Output::TakeScores | Output::ReadSigner | Output::ApplicationScore(..) => return None,
            Output::Event(Event::Peers(_) | Event::Commanded { .. } | Event::Configured { .. }) => {
                return None;
            }
            Output::Event(Event::TroubleBegan(entry)) => {
                self.changes.push(TroubleChange::Began(entry));
                return None;
            }
            Output::Event(Event::TroubleEnded(entry)) => {
                self.changes.push(TroubleChange::Ended(entry));
                return None;
            }
            Output::Store { change: StoreChange::Extend(block), .. } => {
                Said::Store(BlockId::of(&block))
            }
            Output::Store { change: StoreChange::Rewind(to), .. } => Said::Rewind(to),
            Output::Event(event) => said_of(event),
            other => panic!("unexpected output of a node that does not fetch: {other:?}"),
        };
        self.said.push(said);
        None
    }
}

fn said_of(event: Event) -> Said {
    match event {
        Event::Chain(event) => said_of_chain(event),
        Event::Published { id, result } => Said::Published(id.0, result),
        Event::SignerChanged { current, previous } => Said::Signer(current, previous),
        Event::ScheduleInDoubt(doubt) => Said::ScheduleInDoubt(doubt),
        Event::ScheduleDoubtEnded(doubt) => Said::ScheduleDoubtEnded(doubt),
        Event::UnknownFork(UnknownFork { name, time, is_active }) => {
            Said::UnknownFork(name, time, is_active)
        }
        Event::Peers(_)
        | Event::Commanded { .. }
        | Event::Configured { .. }
        | Event::TroubleBegan(_)
        | Event::TroubleEnded(_) => panic!("handled by the caller"),
        Event::Sync(event) => panic!("unexpected event of a node that does not fetch: {event:?}"),
    }
}

fn said_of_chain(event: ChainEvent<Block>) -> Said {
    match event {
        ChainEvent::Extended(block) => Said::Block(BlockId::of(&block)),
        ChainEvent::Reorg { ancestor, abandoned, adopted } => {
            Said::Reorg { ancestor, abandoned, adopted }
        }
        ChainEvent::Equivocation { number, first, second } => {
            assert_eq!((first.number, second.number), (number, number));
            Said::Equivocation(first, second)
        }
        ChainEvent::GapOpened(gap) => Said::GapOpened(gap.wanted),
        ChainEvent::GapChanged(gap) => Said::GapChanged(gap.wanted),
        ChainEvent::GapClosed { end, .. } => Said::GapClosed(end),
        ChainEvent::Contended { shown, other } => Said::Contended(shown, other),
        ChainEvent::Skipped { from, to, reason, .. } => Said::Skipped(from, to, reason),
    }
}
