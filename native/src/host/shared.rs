//! The core as the driver and the door share it, and the clock that both read.

use crate::clock::WallClock;
use crate::swarm;
use opp2p_core::node::{Node, Output};
use opp2p_core::peers::Denied;
use opp2p_core::time::{Instant as CoreInstant, Now};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Both clocks, the monotonic one counted from the start of the node.
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

/// The core, shared with the door: the network asks it while it is polled, on the driver's own task, so nobody ever
/// waits for this lock. It must not be held while the swarm is called, since that may knock.
#[derive(Clone, Debug)]
pub(super) struct Core {
    node: Arc<Mutex<Node>>,
    pub(super) clock: Clock,
}

impl Core {
    pub(super) fn new(node: Node, clock: Clock) -> Self {
        Self { node: Arc::new(Mutex::new(node)), clock }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Node> {
        // A panic in the core ends the driver's task; whoever reads afterwards sees how it stood.
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next output. Unlike a guard in the head of a loop, it does not hold the lock while that is carried out.
    pub(super) fn poll(&self) -> Option<Output> {
        self.lock().poll()
    }

    /// Answers the door.
    pub(super) fn knock(&self, knock: &swarm::Knock) -> Result<(), Denied> {
        let now = self.clock.now();
        self.lock().knock(now, &knock.for_core())
    }
}
