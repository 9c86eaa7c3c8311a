//! Discovery: what a node's record says, who of those found is worth dialling, and how fast to look
//! (`op-node/p2p/discovery.go`).
//!
//! The protocol itself, discv5 with its sockets, keys and signatures, is the driver's. What is decided over its
//! findings is decided here:
//!
//! * [`OpStackEntry`] is the record's entry that names the chain;
//! * [`Filter`] admits a record or says why not ([`Refused`]), and turns it into addresses; [`AddressPolicy`] and
//!   [`Restriction`] say which kinds of addresses and which networks there are for this node;
//! * [`Advertised`] decides what our own record says; [`Prediction`] finds out where others see us;
//! * [`Pace`] says when to look again, by how many peers are missing;
//! * [`Candidates`] hands what was found on to the peers ([`PeerNews::Discovered`](crate::peers::PeerNews)), a few at
//!   a time. Who of them is dialled, how many at once and how soon again is the
//!   [`PeerManager`](crate::peers::PeerManager)'s to decide, as for all that it remembers.
//!
//! # Bounds
//! Strangers fill [`Candidates`] and [`Prediction`]; each says in its documentation how far.

mod address;
pub mod bootnodes;
mod candidates;
mod entry;
mod filter;
mod local;
mod pace;
mod prediction;

pub use address::{AddressKind, AddressPolicy, OutsideRestriction, Restriction, neighbourhood};
pub use candidates::{
    Candidate, Candidates, FEED_FAST, FEED_SLOW, MAX_TOLD, MAX_WAITING, NEIGHBOURS, RETELL,
};
pub use entry::{ENTRY_KEY, InvalidEntry, OpStackEntry, VERSION};
pub use filter::{Filter, Record, Refused, multiaddr};
pub use local::{Advertised, InvalidAdvertisement, LocalConfig, sequence};
pub use pace::{Pace, PaceConfig};
pub use prediction::{MIN_STATEMENTS, Prediction, STATEMENT_TTL};
