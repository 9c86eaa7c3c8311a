//! What discovery needs of the node: how many peers are missing, and somebody to tell of those found.

use super::driver::Command;
use super::shared::Core;
use opp2p_core::peers::{PeerId, PeerNews};
use opp2p_core::time::{Instant, Now};
use tokio::sync::mpsc;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Finder {
    pub(super) core: Core,
    pub(super) commands: mpsc::WeakSender<Command>,
}

impl Finder {
    /// The node's clocks.
    pub(crate) fn now(&self) -> Now {
        self.core.clock.now()
    }

    /// A moment of the core's as one of the runtime's.
    pub(crate) fn instant(&self, at: Instant) -> tokio::time::Instant {
        self.core.clock.instant(at)
    }

    /// Peers that are missing below the low mark.
    pub(crate) fn missing(&self) -> usize {
        self.core.lock().peers().missing()
    }

    /// A peer was found.
    pub(crate) async fn found(&self, peer: PeerId, news: PeerNews) {
        if let Some(commands) = self.commands.upgrade() {
            // The node may be stopping.
            let _ = commands.send(Command::Found(peer, news)).await;
        }
    }
}
