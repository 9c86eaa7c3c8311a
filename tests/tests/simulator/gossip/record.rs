//! Record of a run: for each block and node, the time and the number of hops.

use super::plan::Plan;
use super::{MS, SECOND};

/// A node has no block yet.
const NEVER: u32 = u32::MAX;
/// A block published this shortly before a node stopped is not expected there.
const LATE: u64 = 5 * SECOND;

/// The meshes of all honest nodes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) at: u64,
    /// Places in meshes that sybils hold, and all places.
    pub(super) sybils: u32,
    pub(super) places: u32,
    /// Nodes with a sybil in their mesh.
    pub(super) touched: u32,
    /// Honest peers in the mesh of the node that has fewest.
    pub(super) least: u32,
}

/// All about a run, in tables of a row for each block and a column for each node.
pub(super) struct Record {
    nodes: usize,
    /// Time of each block's publication.
    pub(super) published: Vec<u64>,
    /// Microseconds from a block's publication to its delivery.
    took: Vec<u32>,
    hops: Vec<u8>,
    copies: Vec<u8>,
    expected: Vec<bool>,
    pub(super) samples: Vec<Sample>,
    /// Bans: the time, the banning node, the banned one.
    pub(super) bans: Vec<(u64, u32, u32)>,
    /// Bytes that honest nodes sent.
    pub(super) sent: u64,
}

impl Record {
    pub(super) fn new(plan: &Plan) -> Self {
        let (nodes, blocks) = (plan.nodes as usize, plan.blocks as usize);
        Self {
            nodes,
            published: Vec::with_capacity(blocks),
            took: vec![NEVER; nodes * blocks],
            hops: vec![0; nodes * blocks],
            copies: vec![0; nodes * blocks],
            expected: vec![false; nodes * blocks],
            samples: Vec::new(),
            bans: Vec::new(),
            sent: 0,
        }
    }

    fn cell(&self, block: u32, node: u32) -> usize {
        block as usize * self.nodes + node as usize
    }

    pub(super) fn has_more(&self, plan: &Plan) -> bool {
        self.published.len() < plan.blocks as usize
    }

    /// The first node publishes a block. The nodes that are `ready` should get it.
    pub(super) fn publish(&mut self, now: u64, ready: &[bool]) {
        let row = self.published.len() * self.nodes;
        self.published.push(now);
        self.expected[row..row + self.nodes].copy_from_slice(ready);
        self.took[row] = 0;
    }

    /// A copy of a block arrived, the first included.
    pub(super) fn copy(&mut self, block: u32, node: u32) {
        if (block as usize) < self.published.len() {
            let cell = self.cell(block, node);
            self.copies[cell] = self.copies[cell].saturating_add(1);
        }
    }

    /// A node accepted a block that it had first from `from`.
    pub(super) fn deliver(&mut self, now: u64, block: u32, node: u32, from: u32) {
        let cell = self.cell(block, node);
        assert!(self.took[cell] == NEVER || self.took[cell] != 0, "{node} got its own block");
        let before = match (from as usize) < self.nodes {
            true => self.hops[self.cell(block, from)],
            // A sybil is taken to be next to the publisher.
            false => 1,
        };
        self.hops[cell] = before.saturating_add(1);
        if self.took[cell] == NEVER {
            let took = (now - self.published[block as usize]) / 1000;
            self.took[cell] = u32::try_from(took).unwrap_or(NEVER - 1);
        }
    }

    /// A node stops. What was just published is not expected there any more.
    pub(super) fn leave(&mut self, now: u64, node: u32) {
        for block in (0..self.published.len()).rev() {
            if self.published[block] + LATE < now {
                break;
            }
            let cell = self.cell(block as u32, node);
            self.expected[cell] = false;
        }
    }

    /// Returns the cells of the blocks that nodes other than the publisher should have.
    fn cells(&self) -> impl Iterator<Item = usize> {
        let all = 0..self.published.len() * self.nodes;
        all.filter(|cell| self.expected[*cell] && cell % self.nodes != 0)
    }

    /// Returns the number of expected and of missing deliveries.
    pub(super) fn missing(&self) -> (u64, u64) {
        self.cells().fold((0, 0), |(all, missing), cell| {
            (all + 1, missing + u64::from(self.took[cell] == NEVER))
        })
    }

    /// Returns the times of all deliveries in microseconds, in ascending order.
    pub(super) fn times(&self) -> Vec<u32> {
        let mut times: Vec<u32> =
            self.cells().map(|cell| self.took[cell]).filter(|took| *took != NEVER).collect();
        times.sort_unstable();
        times
    }

    /// Returns the number of deliveries after each number of hops.
    pub(super) fn hops(&self) -> Vec<u64> {
        let delivered = self.cells().filter(|cell| self.took[*cell] != NEVER);
        counted(delivered.map(|cell| self.hops[cell]))
    }

    /// Returns the number of deliveries with each number of received copies, the first included.
    pub(super) fn copies(&self) -> Vec<u64> {
        counted(self.cells().map(|cell| self.copies[cell]))
    }

    /// Returns the time when the last sybil had left the last mesh, if it came to that.
    pub(super) fn clean_at(&self) -> Option<u64> {
        let last = self.samples.iter().rposition(|sample| sample.sybils > 0);
        match last {
            None => self.samples.first().map(|sample| sample.at),
            Some(last) => self.samples.get(last + 1).map(|sample| sample.at),
        }
    }

    /// Returns the time from which on every mesh held this many honest peers to the end.
    pub(super) fn healthy_at(&self, honest: u32) -> Option<u64> {
        let last = self.samples.iter().rposition(|sample| sample.least < honest);
        match last {
            None => self.samples.first().map(|sample| sample.at),
            Some(last) => self.samples.get(last + 1).map(|sample| sample.at),
        }
    }
}

fn counted(values: impl Iterator<Item = u8>) -> Vec<u64> {
    let mut counts = Vec::new();
    for value in values {
        let value = usize::from(value);
        if counts.len() <= value {
            counts.resize(value + 1, 0);
        }
        counts[value] += 1;
    }
    counts
}

/// Returns the value below which this part of the sorted values lies, in milliseconds.
pub(super) fn percentile(sorted: &[u32], percent: f64) -> f64 {
    let at = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    let value = sorted.get(at.saturating_sub(1)).or(sorted.last()).copied().unwrap_or_default();
    f64::from(value) / (MS / 1000) as f64
}
