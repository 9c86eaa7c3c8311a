//! Plan of a run: its members, and the targets and times of the attacks.

use super::{MS, SECOND};

/// What sybils do. All of them subscribe, and graft as often as the protocol allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// They pass nothing on.
    Silence,
    /// They relay at once and without a check until this time, then pass nothing on.
    Flash(u64),
    /// They advertise and deliver what they are asked for, which earns them a score, and pass
    /// nothing on to their mesh.
    Censor,
    /// They advertise every block and never deliver it.
    Promises,
    /// They graft twenty times a second, whatever the back-off.
    Grafts,
    /// They send full frames of IHAVE, IWANT, IDONTWANT and subscriptions.
    Control,
    /// They announce to all that they begin to send a block, as soon as they hear of it, and never
    /// send it.
    Notices,
}

/// Which honest nodes a sybil connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Only this one.
    One(u32),
    /// Random ones.
    Any,
}

/// A run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: u32,
    pub(crate) sybils: u32,
    pub(crate) blocks: u32,
    /// Time between two blocks.
    pub(crate) interval: u64,
    /// Connections that each honest node opens to other honest ones.
    pub(crate) dials: u32,
    /// Connections that each honest node opens to sybils, which then count as chosen by it.
    pub(crate) lured: u32,
    /// Connections of each sybil.
    pub(crate) reach: u32,
    pub(crate) trick: Trick,
    pub(crate) target: Target,
    /// Time within which the honest nodes start.
    pub(crate) start: u64,
    /// Time from a node's start until it connects to honest ones. Sybils find it at once.
    pub(crate) lateness: u64,
    /// Time when the sybils appear.
    pub(crate) attack: u64,
    /// Time of the first block.
    pub(crate) first: u64,
    /// Time between two restarts of some honest node, if any.
    pub(crate) churn: Option<u64>,
    /// One block in this many is large.
    pub(crate) large: u32,
    /// Number of deliveries in ten thousand that the attack may prevent.
    pub(crate) may_lose: u64,
    /// Time within which 99 % of the deliveries must happen, if it is limited.
    pub(crate) within: Option<u64>,
}

impl Plan {
    /// Returns a run without sybils.
    pub(crate) const fn peace(nodes: u32, blocks: u32) -> Self {
        Self {
            nodes,
            sybils: 0,
            blocks,
            interval: 200 * MS,
            dials: 10,
            lured: 0,
            reach: 20,
            trick: Trick::Silence,
            target: Target::Any,
            start: 2 * SECOND,
            lateness: 0,
            attack: 20 * SECOND,
            first: 6 * SECOND,
            churn: None,
            large: 100,
            may_lose: 0,
            within: None,
        }
    }

    /// Returns the time of the last event: the last blocks have time to arrive.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.blocks) * self.interval + 8 * SECOND
    }
}
