//! The stage: makes the sequencer's blocks, and plays scenarios on the network.
//!
//! Scenarios run one after another, each after the number of blocks that its cue names. Those of
//! the chain take the place of the sequencer's usual blocks. Those of the network run beside them.
//!
//! # Bounds
//! The newest [`KEPT`] blocks of the run as ids, and [`WAITING`] scenarios that wait.

use super::liar::Liar;
use super::scenario::FAST;
use super::{
    BlockMaker, Cue, Member, Network, NetworkConfig, NetworkError, Publication, Scenario,
    unix_seconds,
};
use crate::sequencer::SequencerHandle;
use crate::text::count;
use opp2p_core::chain::{BlockId, ChainEvent};
use opp2p_core::node::Event;
use opp2p_node::clock::since_epoch;
use opp2p_node::host::{HostEvent, HostEventKind};
use std::collections::VecDeque;
use std::fmt;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::{Interval, MissedTickBehavior, interval_at, sleep, timeout};

/// Maximum number of remembered blocks: more than a rewind goes back.
const KEPT: usize = 512;
/// Maximum number of scenarios that wait for their turn.
const WAITING: usize = 16;
/// Number of blocks that a reorg reverts.
const REORG: usize = 2;
/// Number of blocks that the lying peer holds.
const FALSE_BLOCKS: usize = 32;
/// Number of blocks that come every 200 ms.
const FAST_BLOCKS: usize = 25;
/// Number of blocks by which a rewound chain is still lower when the followers move to it.
const LOWER: usize = 5;
/// Minimum silence of a branch after which followers leave it for a lower one: as the chain view.
const MIN_SILENCE: Duration = Duration::from_secs(3);
/// The same silence in block intervals.
const SILENCE: u32 = 4;
/// Minimum length of a partition.
const MIN_PARTITION: Duration = Duration::from_secs(4);
/// Time limit for an execution client to stop building.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for the follower to fill its gap after a partition.
const FILL_TIMEOUT: Duration = Duration::from_secs(30);

/// What happened on the stage.
#[derive(Debug)]
pub enum News {
    /// The sequencer published the next block, or failed to.
    Published(Publication),
    /// The sequencer left its blocks above this number. The next one builds on the block with it.
    Branched(u64),
    /// A scenario began; the text says what happens.
    Began(Scenario, String),
    /// A scenario has more to say.
    Remark(Scenario, String),
}

/// Blocks that an execution client builds.
struct Built {
    client: SequencerHandle,
    /// The sequencer's events.
    heard: broadcast::Receiver<HostEvent>,
}

/// Maker of the sequencer's blocks and player of scenarios.
pub struct Stage<'a> {
    network: &'a Network,
    config: &'a NetworkConfig,
    maker: BlockMaker,
    /// The newest blocks of the sequencer's chain in this run, with their timestamps.
    blocks: VecDeque<(BlockId, u64)>,
    /// Number of blocks of the sequencer's chain in this run.
    made: u64,
    /// Highest number of a block that the sequencer left for another.
    left: u64,
    /// The usual turns.
    ticks: Interval,
    /// The turns of a scenario; `None` for the usual ones.
    pace: Option<Interval>,
    /// Source of the blocks, if the stage does not make them.
    built: Option<Built>,
    beside: Beside<'a>,
    cues: Vec<(Scenario, u64)>,
    /// Whether the last follower is killed and restarted during the run.
    has_outage: bool,
    waiting: VecDeque<Scenario>,
    news: mpsc::Sender<News>,
}

impl fmt::Debug for Stage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("made", &self.made).finish_non_exhaustive()
    }
}

impl<'a> Stage<'a> {
    /// Creates a stage whose first block follows the sequencer's stored head, in a run with this
    /// many blocks, and with or without an outage of the last follower. It reports to `news`, which
    /// another task must read.
    ///
    /// # Errors
    /// If the sequencer's store can't be read.
    pub fn new(
        network: &'a Network,
        config: &'a NetworkConfig,
        cues: &[Cue],
        blocks: Option<u64>,
        has_outage: bool,
        news: mpsc::Sender<News>,
    ) -> Result<Self, NetworkError> {
        Ok(Self {
            network,
            config,
            maker: network.maker(0)?,
            blocks: VecDeque::new(),
            made: 0,
            left: 0,
            ticks: every(config.block_time, tokio::time::Instant::now()),
            pace: None,
            built: None,
            beside: Beside(None),
            cues: cues.iter().map(|cue| (cue.scenario, cue.after(blocks))).collect(),
            has_outage,
            waiting: VecDeque::new(),
            news,
        })
    }

    /// Lets the stage report the blocks that an execution client builds, and make none. `heard` has
    /// the sequencer's events from before the first of them.
    pub fn following(
        mut self,
        client: SequencerHandle,
        heard: broadcast::Receiver<HostEvent>,
    ) -> Self {
        self.built = Some(Built { client, heard });
        self
    }

    /// Makes blocks until there are `blocks` of them and every scenario has ended, or until
    /// `enough`. Scenarios come from the cues and from `asked`.
    pub async fn run(mut self, blocks: u64, enough: &Notify, asked: mpsc::Receiver<Scenario>) {
        self.act(blocks, enough, asked).await;
        self.end_building().await;
    }

    async fn act(&mut self, blocks: u64, enough: &Notify, mut asked: mpsc::Receiver<Scenario>) {
        loop {
            if !self.collect(&mut asked).await {
                return;
            }
            let is_idle = self.cues.is_empty() && self.waiting.is_empty() && self.beside.is_free();
            if self.made >= blocks && is_idle {
                return;
            }
            let goes_on = match self.take_next() {
                Some(scenario) => self.play(scenario, enough).await,
                None => self.step(enough).await,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Adds the scenarios whose time has come to those that wait.
    async fn collect(&mut self, asked: &mut mpsc::Receiver<Scenario>) -> bool {
        let (made, waiting) = (self.made, &mut self.waiting);
        self.cues.retain(|(scenario, block)| {
            let is_due = *block <= made;
            if is_due {
                waiting.push_back(*scenario);
            }
            !is_due
        });
        while let Ok(scenario) = asked.try_recv() {
            let NetworkConfig { followers, fork, block_time, genesis, .. } = *self.config;
            let missing = self.missing(scenario);
            let has_engines = genesis.is_some();
            let obstacle =
                scenario.obstacle(followers, fork, block_time, has_engines, self.has_outage);
            let said = match obstacle {
                Some(obstacle) => obstacle,
                None if self.waiting.len() >= WAITING => "too many scenarios wait already".into(),
                None => {
                    self.waiting.push_back(scenario);
                    match (missing, self.beside.is_free() && self.waiting.len() == 1) {
                        (0, true) => continue,
                        (0, false) => "it waits until the one before has ended".to_owned(),
                        (missing, _) => {
                            format!("it waits for {}", count(missing as u64, "more block"))
                        }
                    }
                }
            };
            if !self.tell(News::Remark(scenario, said)).await {
                return false;
            }
        }
        true
    }

    /// Takes the first scenario that waits, if it can begin.
    fn take_next(&mut self) -> Option<Scenario> {
        let first = *self.waiting.front()?;
        let is_ready = self.beside.is_free() && self.missing(first) == 0;
        if is_ready { self.waiting.pop_front() } else { None }
    }

    /// Returns the number of blocks that a scenario goes back.
    fn depth(&self, scenario: Scenario) -> usize {
        match scenario {
            Scenario::Reorg => REORG,
            Scenario::Equivocation => 1,
            Scenario::Rewind => {
                let block_time = self.config.block_time.as_nanos().max(1);
                let blocks = self.silence().as_nanos().div_ceil(block_time);
                usize::try_from(blocks).unwrap_or(KEPT).saturating_add(LOWER).min(KEPT - 1)
            }
            Scenario::Partition | Scenario::LyingPeer | Scenario::Fast => 0,
        }
    }

    /// Returns the number of blocks that the chain must grow before a scenario can begin. A branch
    /// that was left does not get another rival, since nodes refuse a seventh block of one height.
    fn missing(&self, scenario: Scenario) -> usize {
        let depth = self.depth(scenario);
        let newest = self.blocks.iter().rev();
        let fresh = newest.take_while(|(block, _)| depth == 0 || block.number >= self.left).count();
        (depth + 1).saturating_sub(fresh)
    }

    /// Returns the silence of a branch after which followers leave it.
    fn silence(&self) -> Duration {
        let interval = self.network.chain().schedule().shortest_interval();
        interval.saturating_mul(SILENCE).max(MIN_SILENCE)
    }

    /// Plays a scenario, or lets it begin beside the blocks. Returns `false` if the run is to end.
    async fn play(&mut self, scenario: Scenario, enough: &Notify) -> bool {
        match scenario {
            Scenario::Reorg | Scenario::Rewind => self.leave(scenario, enough).await,
            Scenario::Equivocation => self.equivocate(enough).await,
            Scenario::Fast => self.hurry(enough).await,
            Scenario::Partition => self.divide().await,
            Scenario::LyingPeer => self.invite_liar().await,
        }
    }

    /// Leaves the newest blocks, and signs others in their place until the followers have moved to
    /// them.
    async fn leave(&mut self, scenario: Scenario, enough: &Notify) -> bool {
        let depth = self.depth(scenario);
        let head = self.blocks.back().map_or(0, |(head, _)| head.number);
        self.left = self.left.max(head);
        self.blocks.truncate(self.blocks.len().saturating_sub(depth));
        let Some((base, timestamp)) = self.blocks.back().copied() else { return true };
        self.made = self.made.saturating_sub(depth as u64);
        self.maker.branch(base, timestamp);
        let (next, base) = (base.number.saturating_add(1), base.number);
        let text = match scenario {
            Scenario::Rewind => {
                format!("the sequencer goes back from block {head} to {base}, and signs on there")
            }
            _ => format!("the sequencer signs other blocks from {next} on, and more of them"),
        };
        if !self.tell(News::Began(scenario, text)).await || !self.tell(News::Branched(base)).await {
            return false;
        }
        let block_time = self.config.block_time;
        // By the schedule these blocks are late, and would all come at once.
        self.pace = self.maker.due().map(|_| pace(block_time));
        // Followers leave the old branch only when it has been silent for some time.
        let patience = self.silence() + block_time * 2;
        let (begun, mut signed) = (Instant::now(), 0);
        while begun.elapsed() < patience || (scenario == Scenario::Reorg && signed <= depth) {
            if !self.step(enough).await {
                return false;
            }
            signed += 1;
        }
        self.pace = None;
        true
    }

    /// Signs a second block of the height that comes next.
    async fn equivocate(&mut self, enough: &Notify) -> bool {
        let Some((parent, timestamp)) = self.blocks.back().copied() else { return true };
        let number = parent.number.saturating_add(1);
        let text = format!("the sequencer signs two blocks {number}");
        if !self.tell(News::Began(Scenario::Equivocation, text)).await || !self.step(enough).await {
            return false;
        }
        // Every follower has the first one by then, which is the one that the chain goes on from.
        self.beside.during(sleep((self.config.block_time / 2).min(FAST))).await;
        let mut twin = self.maker.clone();
        twin.branch(parent, timestamp);
        let network = self.network;
        let published = network.publish(twin.next(unix_seconds()));
        let result = self.beside.during(published).await.result;
        match result {
            Ok(()) => true,
            Err(error) => {
                let text = format!("the second block was not published: {error}");
                self.tell(News::Remark(Scenario::Equivocation, text)).await
            }
        }
    }

    /// Makes some blocks every 200 ms.
    async fn hurry(&mut self, enough: &Notify) -> bool {
        let block_time = self.config.block_time.as_secs_f64();
        let text = format!("the next {FAST_BLOCKS} blocks come every 0.2 s");
        if !self.tell(News::Began(Scenario::Fast, text)).await {
            return false;
        }
        self.pace = Some(pace(FAST));
        for _ in 0..FAST_BLOCKS {
            if !self.step(enough).await {
                return false;
            }
        }
        self.pace = None;
        self.ticks.reset();
        let text = format!("a block comes every {block_time} s again");
        self.tell(News::Remark(Scenario::Fast, text)).await
    }

    /// Lets the last follower be cut off beside the blocks.
    async fn divide(&mut self) -> bool {
        let Some(last) = self.config.followers.checked_sub(1) else { return true };
        let length = (self.config.block_time * 4).max(MIN_PARTITION);
        let seconds = length.as_secs_f64();
        let member = Member::Follower(last);
        let text = format!("{member} is cut off from all others for {seconds} s");
        self.beside.start(divide(self.network, last, length, self.news.clone()));
        self.tell(News::Began(Scenario::Partition, text)).await
    }

    /// Lets the lying peer join beside the blocks.
    async fn invite_liar(&mut self) -> bool {
        let oldest = self.blocks.len().saturating_sub(FALSE_BLOCKS);
        let (Some(base), Some((head, _))) = (self.blocks.get(oldest), self.blocks.back()) else {
            return true;
        };
        self.beside.start(lie(self.network, *base, head.number, self.news.clone()));
        let text = "a peer joins that signs blocks with its own key and answers with them";
        self.tell(News::Began(Scenario::LyingPeer, text.into())).await
    }

    /// Makes the next block in its turn. Returns `false` if the run is to end.
    async fn step(&mut self, enough: &Notify) -> bool {
        match self.built {
            Some(_) => self.follow(enough).await,
            None => self.turn(enough).await && self.publish().await,
        }
    }

    /// Waits for the sequencer's next event, and reports its block. Returns `false` if the run is
    /// to end.
    async fn follow(&mut self, enough: &Notify) -> bool {
        let Self { built: Some(Built { heard, .. }), beside, .. } = self else { return false };
        let event = tokio::select! {
            biased;
            () = enough.notified() => return false,
            event = beside.during(heard.recv()) => event,
        };
        match event {
            Ok(event) => self.report(&event).await,
            Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => false,
        }
    }

    /// Reports the block of an event, if it has one.
    async fn report(&mut self, event: &HostEvent) -> bool {
        let HostEventKind::Core(Event::Chain(ChainEvent::Extended(block))) = &event.kind else {
            return true;
        };
        let id = BlockId::of(block);
        self.keep(id, block.timestamp());
        let transactions = block.payload().transactions().len();
        let (bytes, at) = (block.body().len(), event.at);
        let publication = Publication { block: id, transactions, bytes, at, result: Ok(()) };
        self.tell(News::Published(publication)).await
    }

    /// Stops the execution client's building, and reports its last blocks.
    async fn end_building(&mut self) {
        let Some(Built { client, .. }) = &self.built else { return };
        // If it does not stop in time, its last block may be missing in the record.
        let _ = timeout(STOP_TIMEOUT, client.stop()).await;
        while let Some(event) = self.built.as_mut().and_then(|built| built.heard.try_recv().ok()) {
            if !self.report(&event).await {
                return;
            }
        }
    }

    /// Waits until the next block may be made. Returns `false` if the run is to end.
    async fn turn(&mut self, enough: &Notify) -> bool {
        let Self { ticks, pace, maker, beside, .. } = self;
        let due = maker.due();
        let turn = async {
            match (pace.as_mut(), due) {
                (Some(pace), _) => {
                    pace.tick().await;
                }
                (None, Some(due)) => sleep(due.saturating_sub(since_epoch())).await,
                (None, None) => {
                    ticks.tick().await;
                }
            }
        };
        // Only between two blocks: a block under way would be missing in the record.
        tokio::select! {
            biased;
            () = enough.notified() => false,
            () = beside.during(turn) => true,
        }
    }

    /// Publishes the next block. Returns `false` if the run is to end.
    async fn publish(&mut self) -> bool {
        let network = self.network;
        let envelope = self.maker.next(unix_seconds());
        let timestamp = envelope.payload.timestamp;
        let publication = self.beside.during(network.publish(envelope)).await;
        let is_published = publication.result.is_ok();
        if is_published {
            self.keep(publication.block, timestamp);
        }
        // A chain can't continue after a failed block.
        self.tell(News::Published(publication)).await && is_published
    }

    fn keep(&mut self, block: BlockId, timestamp: u64) {
        if self.blocks.len() == KEPT {
            self.blocks.pop_front();
        }
        self.blocks.push_back((block, timestamp));
        self.made += 1;
    }

    /// Reports the news. Returns `false` if the receiver is gone.
    async fn tell(&self, news: News) -> bool {
        self.news.send(news).await.is_ok()
    }
}

/// A scenario that goes on while blocks are made.
struct Beside<'a>(Option<Pin<Box<dyn Future<Output = ()> + 'a>>>);

impl<'a> Beside<'a> {
    const fn is_free(&self) -> bool {
        self.0.is_none()
    }

    fn start(&mut self, scenario: impl Future<Output = ()> + 'a) {
        self.0 = Some(Box::pin(scenario));
    }

    /// Waits for `one` while the scenario goes on.
    async fn during<T>(&mut self, one: impl Future<Output = T>) -> T {
        let mut one = pin!(one);
        loop {
            tokio::select! {
                biased;
                done = &mut one => return done,
                () = self.end() => {}
            }
        }
    }

    /// Waits until the scenario ends. Never returns without a scenario.
    async fn end(&mut self) {
        match &mut self.0 {
            Some(scenario) => scenario.as_mut().await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}

/// Cuts the follower off for this time, then waits until it has filled its gap.
async fn divide(network: &Network, follower: usize, length: Duration, news: mpsc::Sender<News>) {
    let member = Member::Follower(follower);
    network.cut_off(follower, true).await;
    sleep(length).await;
    let goal = network.head(Member::Sequencer);
    network.reunite(follower).await;
    let begun = Instant::now();
    let filled = async {
        while network.head(member) < goal {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let text = match timeout(FILL_TIMEOUT, filled).await {
        Ok(()) => {
            let seconds = begun.elapsed().as_secs_f64();
            format!("{member} is back, and filled its gap in {seconds:.2} s")
        }
        Err(_) => format!("{member} has not filled its gap within 30 s"),
    };
    // Without a reader the run is over.
    let _ = news.send(News::Remark(Scenario::Partition, text)).await;
}

/// Lets a lying peer join, and waits until the followers have banned it.
async fn lie(network: &Network, base: (BlockId, u64), head: u64, news: mpsc::Sender<News>) {
    let tell = async |text: String| {
        // Without a reader the run is over.
        let _ = news.send(News::Remark(Scenario::LyingPeer, text)).await;
    };
    let mut liar = match Liar::join(network, base, head).await {
        Ok(liar) => liar,
        Err(error) => return tell(error.to_string()).await,
    };
    tell(format!("the peer is {}", liar.peer_id())).await;
    let begun = Instant::now();
    let is_banned = liar.lie(network).await;
    liar.leave().await;
    let seconds = begun.elapsed().as_secs_f64();
    tell(match is_banned {
        true => format!("every follower has banned the peer after {seconds:.1} s"),
        false => "some followers have not banned the peer within 30 s".to_owned(),
    })
    .await;
}

/// Returns turns of a scenario with this time between two blocks.
fn pace(block_time: Duration) -> Interval {
    every(block_time, tokio::time::Instant::now() + block_time)
}

/// Returns turns with this time between two blocks, the first at `first`.
fn every(block_time: Duration, first: tokio::time::Instant) -> Interval {
    let mut ticks = interval_at(first, block_time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
