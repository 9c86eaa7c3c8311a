//! The clocks of a native node, and the core that is shared by its driver, its threads and RPC.

use crate::clock::WallClock;
use opp2p_core::time::{Instant as CoreInstant, Now};
use std::time::Instant;

/// The core, called by the node's clocks.
pub(super) type Core = opp2p_wire::Core<Clock>;

/// Both clocks; the monotonic one starts with the node.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    start: Instant,
    wall: WallClock,
}

impl Clock {
    pub(super) fn start(wall: WallClock) -> Self {
        Self { start: Instant::now(), wall }
    }

    pub(super) fn now(&self) -> Now {
        Now::new(self.start.elapsed(), self.wall.now())
    }

    pub(super) fn instant(&self, at: CoreInstant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + at.since_start())
    }
}

impl opp2p_wire::Clock for Clock {
    fn now(&self) -> Now {
        self.now()
    }
}
