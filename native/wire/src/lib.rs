//! The libp2p wiring that the native driver and the browser driver share.
//!
//! [`Wire`] turns libp2p's events into [`Input`]s of the core, and carries out the core's
//! [`Output`]s that concern the network. The crate contains no protocol rules: its numbers, and all
//! decisions about messages, peers and connections, are the core's. Transport, clock, threads and
//! storage belong to the driver. It compiles for wasm32.
//!
//! # Usage
//!
//! 1. Create the [`Core`] with the shell's [`Clock`], and a [`Behaviour`] whose
//!    [`Config::gatekeeper`] is [`Core::gatekeeper`].
//! 2. Create the swarm with [`IDLE_TIMEOUT`], and a [`Wire`] from it.
//! 3. Pass each event of [`Wire::next`] to [`Wire::on_swarm`] and the resulting input to
//!    [`Core::feed`]. Do the same with [`Wire::heartbeat`] at each
//!    [`HEARTBEAT`](opp2p_core::gossip::HEARTBEAT).
//! 4. Pass each output of [`Core::poll`] to [`Wire::carry_out`], which returns those that are the
//!    driver's own task. Then call [`Wire::write`] with [`Core::transmit`].
//! 5. In the end, call [`Wire::close`].
//!
//! # Gossip
//!
//! The core's own router decides on gossip ([`opp2p_core::mesh`]); this crate only carries its
//! frames ([`mesh`]). The core needs [`NodeConfig::mesh`](opp2p_core::node::NodeConfig::mesh).
//!
//! [`Input`]: opp2p_core::node::Input
//! [`Output`]: opp2p_core::node::Output

mod admission;
mod bandwidth;
mod behaviour;
mod causes;
mod farewell;
mod full;
pub mod mesh;
mod payload;
mod ranges;
mod shared;
mod translate;
mod wire;

pub use admission::{Admission, Gatekeeper, ip_of, is_browser};
pub use bandwidth::Bandwidth;
pub use behaviour::{Behaviour, Config, Event, PING_INTERVAL, PayloadEvent};
pub use causes::{dial_failure, find_cause, last_cause, refused_late};
pub use farewell::{Farewell, REPLACED};
pub use full::{FULL, FullDetector};
pub use payload::{PayloadCodec, PayloadRequest, Payloads};
pub use ranges::{RangeUse, Ranges};
pub use shared::{Clock, Core};
pub use translate::Response;
pub use wire::{Frames, IDLE_TIMEOUT, Notice, Wire, Wired};

use opp2p_core::peers::PeerId;

/// Converts a libp2p peer id to the core's. `None` can't happen for ids that libp2p creates.
pub fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::try_from(peer.to_bytes().as_slice()).ok()
}

/// Converts the core's peer id to libp2p's. `None` can't happen for ids that came from libp2p.
pub fn to_libp2p(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(peer.as_bytes()).ok()
}
