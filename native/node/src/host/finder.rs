//! The node as discovery sees it.

use super::commands::Command;
use super::shared::Core;
use crate::discovery::Seeker;
use futures::FutureExt;
use futures::future::BoxFuture;
use opp2p_core::peers::{PeerId, PeerNews};
use opp2p_core::time::{Instant, Now};
use tokio::sync::mpsc;

/// Passes what discovery finds to the driver.
#[derive(Debug)]
pub(super) struct ForDiscovery {
    pub(super) core: Core,
    pub(super) commands: mpsc::WeakSender<Command>,
}

impl Seeker for ForDiscovery {
    fn now(&self) -> Now {
        self.core.clock.now()
    }

    fn instant(&self, at: Instant) -> tokio::time::Instant {
        self.core.clock.instant(at)
    }

    fn missing(&self) -> usize {
        self.core.lock().peers().missing()
    }

    fn found(&self, peer: PeerId, news: PeerNews) -> BoxFuture<'_, ()> {
        async move {
            if let Some(commands) = self.commands.upgrade() {
                // The node may be stopping.
                let _ = commands.send(Command::Found(peer, news)).await;
            }
        }
        .boxed()
    }
}
