//! What happens in a run: made from a seed, or by hand.

use super::liar::{LIARS, Liar};
use super::rng::Rng;
use opp2p_core::chain::ChainViewConfig;
use opp2p_core::sync::{FillConfig, Rate, ServerConfig};

/// Something that goes wrong at some time.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A node is gone for so long; whether its disk is still there then.
    Crash { node: usize, milliseconds: u64, keeps_disk: bool },
    /// These nodes and the others hear nothing of each other for so long.
    Partition { nodes: Vec<usize>, milliseconds: u64 },
    /// The sequencer drops so many of its newest blocks and goes on below them.
    Reorg { depth: usize },
    /// A node's disk takes no more writes to the pending area for so long.
    FullDisk { node: usize, milliseconds: u64 },
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Nodes that run the core. The first is the sequencer's own.
    pub(crate) honest: usize,
    pub(crate) liars: Vec<Liar>,
    /// Blocks that the sequencer makes, one each block time, before things calm down.
    pub(crate) blocks: u64,
    pub(crate) block_bytes: usize,
    /// One way, milliseconds.
    pub(crate) latency: (u64, u64),
    /// Of a hundred gossip messages, requests, answers.
    pub(crate) lost: u64,
    /// Of a hundred gossip messages.
    pub(crate) doubled: u64,
    /// How long a job and a write take at most, milliseconds.
    pub(crate) job: u64,
    pub(crate) write: u64,
    /// By the time that they happen, milliseconds.
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) server: ServerConfig,
    pub(crate) fill: FillConfig,
    pub(crate) view: ChainViewConfig,
    /// Whether positions may be left out.
    pub(crate) may_skip: bool,
    /// How long the nodes may take to catch up in the end, milliseconds.
    pub(crate) patience: u64,
    /// Whether disks keep names only, for runs that measure memory.
    pub(crate) disks_forget: bool,
}

impl Plan {
    /// Nothing goes wrong.
    pub(crate) fn calm(seed: u64, honest: usize) -> Self {
        let mut fill = FillConfig { max_age: None, patience: None, ..FillConfig::default() };
        fill.client.seed = seed;
        Self {
            seed,
            honest,
            liars: Vec::new(),
            blocks: 20,
            block_bytes: 100,
            latency: (10, 60),
            lost: 0,
            doubled: 0,
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

    /// Anything may go wrong.
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x0070_6c61_6e00);
        let honest = rng.range(2, 6) as usize;
        let liars = (0..rng.range(0, 6)).map(|_| rng.pick(&LIARS)).collect();
        let blocks = rng.range(5, 50);
        let latency = rng.range(1, 200);
        let end = blocks * 2000;
        let mut faults = Vec::new();
        for _ in 0..rng.range(0, 5) {
            let at = rng.range(0, end);
            let node = rng.range(0, honest as u64) as usize;
            let milliseconds = rng.range(100, 40_000);
            faults.push((
                at,
                match rng.range(0, 8) {
                    0..=2 => Fault::Crash { node: node.max(1), milliseconds, keeps_disk: rng.chance(70) },
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
        // A branch that leaves the chain below the 8 blocks that such a view is sure to keep can't be followed.
        plan.may_skip = plan.view.max_blocks == 16 && plan.has_reorgs();
        plan
    }

    /// What may go wrong by chance makes honest peers fail as well.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.faults.is_empty()
    }

    pub(crate) fn has_reorgs(&self) -> bool {
        self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Reorg { .. }))
    }
}
