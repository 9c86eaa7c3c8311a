//! The events of a run: derived from a seed, or written by hand.

use super::chain::Pace;
use super::liar::{LIARS, Liar};
use super::rng::Rng;
use opp2p_core::chain::ChainViewConfig;
use opp2p_core::sync::{FillConfig, Rate, ServerConfig};

/// A fault at some time.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A node is down for this long. `keeps_disk` says whether its disk survives.
    Crash { node: usize, milliseconds: u64, keeps_disk: bool },
    /// These nodes are cut off from all others for this long.
    Partition { nodes: Vec<usize>, milliseconds: u64 },
    /// The sequencer drops this many of its newest blocks and continues below them.
    Reorg { depth: usize },
    /// A node's disk takes no more writes to the pending area for this long.
    FullDisk { node: usize, milliseconds: u64 },
    /// A node's wall clock is set, so that it is this many seconds ahead.
    Clock { node: usize, seconds: i64 },
    /// The sequencer signs with another key from now on.
    Rotate,
    /// A node is commanded to fetch up to the tip, or, if `above` is not 0, up to a block this far
    /// above it, which does not exist.
    Command { node: usize, above: u64 },
}

/// A signer outside the first node, which then publishes the blocks. All times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signing {
    /// The usual time of a signature.
    pub(crate) usual: u64,
    /// The time of every signature of a block whose number is divisible by `every`.
    pub(crate) slow: u64,
    pub(crate) every: u64,
}

/// Answers of honest nodes to requests for blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// The blocks that they have.
    All,
    /// The protocol is unsupported.
    Unsupported,
    /// Block not found, for any block.
    NotFound,
}

/// A JSON-RPC endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Answers with the sequencer's block.
    Honest,
    /// Answers with a valid block that is not the sequencer's.
    Lies,
    /// Never answers.
    Silent,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) pace: Pace,
    /// Number of nodes that run the core. The first is the sequencer's own.
    pub(crate) honest: usize,
    /// Number of these that are observers: the last ones. They have no disk, and are connected to
    /// the gateways alone.
    pub(crate) observers: usize,
    /// Nodes that accept observers.
    pub(crate) gateways: Vec<usize>,
    pub(crate) liars: Vec<Liar>,
    /// Whether a liar leaves each time its answer has arrived, before it is checked.
    pub(crate) liars_leave: bool,
    /// Nodes whose clock is wrong at first, and by how many seconds it is ahead.
    pub(crate) clocks: Vec<(usize, i64)>,
    /// Time by which the nodes' L1 nodes are late, except for the first node's, in milliseconds.
    pub(crate) l1_lag: u64,
    /// `None`: the sequencer hands signed blocks to the first node.
    pub(crate) signing: Option<Signing>,
    /// Number of blocks that the sequencer makes, one each block time, before the faults end.
    pub(crate) blocks: u64,
    pub(crate) block_bytes: usize,
    /// One-way latency, in milliseconds.
    pub(crate) latency: (u64, u64),
    /// Lost gossip messages, requests and answers, in per cent.
    pub(crate) lost: u64,
    /// Duplicated gossip messages, in per cent.
    pub(crate) doubled: u64,
    /// Blocks that only the first node gets by gossip, and that no peer serves.
    pub(crate) gone: Vec<u64>,
    pub(crate) serving: Serving,
    /// Whether all peers claim the range protocol, and honest ones serve it.
    pub(crate) ranges: bool,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Maximum time of a job and of a write, in milliseconds.
    pub(crate) job: u64,
    pub(crate) write: u64,
    /// Faults by their time in milliseconds.
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) server: ServerConfig,
    pub(crate) fill: FillConfig,
    pub(crate) view: ChainViewConfig,
    /// Whether positions may be left out.
    pub(crate) may_skip: bool,
    /// Maximum time for the nodes to catch up in the end, in milliseconds.
    pub(crate) patience: u64,
    /// Whether disks keep ids only, for runs that measure memory.
    pub(crate) disks_forget: bool,
}

impl Plan {
    /// Makes a plan without faults.
    pub(crate) fn calm(seed: u64, honest: usize) -> Self {
        let fill = FillConfig { max_age: None, ..FillConfig::default() };
        Self {
            seed,
            pace: Pace::Slow,
            honest,
            observers: 0,
            gateways: Vec::new(),
            liars: Vec::new(),
            liars_leave: false,
            clocks: Vec::new(),
            l1_lag: 0,
            signing: None,
            blocks: 20,
            block_bytes: 100,
            latency: (10, 60),
            lost: 0,
            doubled: 0,
            gone: Vec::new(),
            serving: Serving::All,
            ranges: false,
            endpoints: Vec::new(),
            job: 1,
            write: 5,
            faults: Vec::new(),
            server: ServerConfig::default(),
            fill,
            view: ChainViewConfig::default(),
            may_skip: false,
            patience: 600_000,
            disks_forget: false,
        }
    }

    /// Makes a plan in which anything may go wrong.
    pub(crate) fn random(seed: u64, pace: Pace) -> Self {
        let mut rng = Rng::new(seed ^ 0x0070_6c61_6e00);
        let honest = rng.range(2, 6) as usize;
        let liars = (0..rng.range(0, 6)).map(|_| rng.pick(&LIARS)).collect();
        let blocks = rng.range(5, 50) * if pace == Pace::Denim { 4 } else { 1 };
        let latency = rng.range(1, 200);
        let end = blocks * pace.interval();
        let mut faults = Vec::new();
        for _ in 0..rng.range(0, 5) {
            let at = rng.range(0, end);
            let node = rng.range(0, honest as u64) as usize;
            let milliseconds = rng.range(100, 40_000);
            faults.push((
                at,
                match rng.range(0, 8) {
                    0..=2 => {
                        Fault::Crash { node: node.max(1), milliseconds, keeps_disk: rng.chance(70) }
                    }
                    3..=5 => {
                        let nodes = (0..honest).filter(|_| rng.chance(40)).collect();
                        Fault::Partition { nodes, milliseconds }
                    }
                    6 => Fault::Reorg { depth: rng.range(1, 6) as usize },
                    _ => Fault::FullDisk { node, milliseconds },
                },
            ));
        }
        faults.sort_by_key(|(at, _)| *at);
        let mut plan = Self {
            pace,
            liars,
            blocks,
            block_bytes: rng.pick(&[0, 100, 3000]),
            latency: (latency, latency + rng.range(1, 300)),
            lost: rng.pick(&[0, 0, 2, 10, 30]),
            doubled: rng.pick(&[0, 5, 30]),
            job: rng.range(1, 50),
            write: rng.range(1, 200),
            faults,
            ..Self::calm(seed, honest)
        };
        if rng.chance(30) {
            plan.server.total = Rate::UNLIMITED;
            plan.server.per_peer = Rate::UNLIMITED;
        }
        // Small bounds are reached, large ones are not.
        plan.fill.client.in_flight = rng.pick(&[1, 4, 64]);
        plan.fill.client.window = rng.pick(&[1, 8, 256]);
        plan.view.max_blocks = rng.pick(&[16, 1024]);
        if pace == Pace::Denim {
            // A smaller view drops more than a server at the default rate gives.
            plan.view = pace.view();
            // One request at a time is slower than the chain when messages overtake each other:
            // each short gap that opens above the long one is requested first.
            plan.fill.client.in_flight = plan.fill.client.in_flight.max(4);
            // A disk slower than the sequencer would fall behind for ever.
            plan.write = plan.write.min(60);
        }
        if plan.view.max_blocks == 16 {
            // What such a view drops while the disk is full is lost, and may have been the last
            // copy.
            for (_, fault) in &mut plan.faults {
                if let Fault::FullDisk { milliseconds, .. } = fault {
                    *milliseconds = (*milliseconds).min(4 * pace.interval());
                }
            }
        }
        plan.add_troubles(&mut rng);
        plan.ranges = rng.chance(50);
        // A branch that leaves the chain below the 8 blocks that such a view is sure to keep can't
        // be followed.
        plan.may_skip = plan.view.max_blocks == 16 && plan.has_reorgs();
        plan
    }

    /// Adds what goes wrong on single machines: clocks, L1 nodes, signers and operators.
    fn add_troubles(&mut self, rng: &mut Rng) {
        let end = self.blocks * self.pace.interval();
        let honest = self.honest as u64;
        let other = |rng: &mut Rng| rng.range(1, honest) as usize;
        if rng.chance(20) {
            let node = other(rng);
            let seconds = rng.pick(&[-86_400, -3600, -300, -90, -8, 8, 70, 300, 3600]);
            self.clocks.push((node, seconds));
            self.faults.push((rng.range(0, end), Fault::Clock { node, seconds: 0 }));
        }
        if rng.chance(15) {
            self.l1_lag = rng.range(0, 60_000);
            self.faults.push((rng.range(0, end), Fault::Rotate));
        }
        for _ in 0..rng.range(0, 3) {
            let node = other(rng);
            // A block of a branch that was left is never found, and these runs have no patience.
            let above = match self.has_reorgs() {
                true => rng.pick(&[100_000, u64::MAX / 2]),
                false => rng.pick(&[0, 0, 100_000, u64::MAX / 2]),
            };
            self.faults.push((rng.range(0, end), Fault::Command { node, above }));
        }
        if self.pace == Pace::Slow && rng.chance(15) {
            let usual = rng.range(1, 300);
            self.signing = Some(Signing { usual, slow: 5_500, every: rng.range(6, 12) });
        }
        self.liars_leave = rng.chance(20);
        self.faults.sort_by_key(|(at, _)| *at);
    }

    /// Random losses, crashes and partitions make honest peers fail as well.
    pub(crate) fn is_clean(&self) -> bool {
        let breaks = |fault: &Fault| matches!(fault, Fault::Crash { .. } | Fault::Partition { .. });
        self.lost == 0 && !self.faults.iter().any(|(_, fault)| breaks(fault))
    }

    /// Returns `true` if nothing at all goes wrong, so that no node has a trouble.
    pub(crate) fn is_quiet(&self) -> bool {
        let is_slow = self.signing.is_some_and(|signing| signing.slow > 1000);
        self.is_clean() && self.faults.is_empty() && self.clocks.is_empty() && !is_slow
    }

    pub(crate) const fn is_observer(&self, node: usize) -> bool {
        node < self.honest && node + self.observers >= self.honest
    }

    pub(crate) fn has_reorgs(&self) -> bool {
        self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Reorg { .. }))
    }
}
