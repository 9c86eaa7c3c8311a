//! Discovery: our own node record, the choice of discovered nodes to dial, and the pace of the
//! search (`op-node/p2p/discovery.go`).
//!
//! The driver runs the protocol itself, discv5 with its sockets, keys and signatures. This module
//! makes the decisions. [`Search`] is the whole search as one machine, made of these parts, which
//! also work alone:
//!
//! * [`OpStackEntry`] is the record's entry that names the chain.
//! * [`Filter`] turns a record into addresses, or refuses it with a reason ([`Refused`]).
//!   [`AddressPolicy`] and [`Restriction`] define the kinds of addresses and the networks that this
//!   node uses.
//! * [`Advertised`] determines our own record; [`Prediction`] determines the endpoint at which
//!   other nodes see us.
//! * [`Pace`] schedules the next search, depending on the number of missing peers.
//! * [`Candidates`] passes discovered nodes to the peer manager
//!   ([`PeerNews::Discovered`](crate::peers::PeerNews)), a few at a time. As for all remembered
//!   peers, the [`PeerManager`](crate::peers::PeerManager) decides which of them to dial, how many
//!   at once, and when to dial again.
//!
//! # Bounds
//! Strangers fill [`Candidates`] and [`Prediction`]; each documents its limits.

mod address;
pub mod bootnodes;
mod candidates;
mod entry;
mod filter;
mod local;
mod pace;
mod prediction;
mod search;

pub use address::{AddressKind, AddressPolicy, OutsideRestriction, Restriction, neighbourhood};
pub use candidates::{
    Candidate, Candidates, FEED_FAST, FEED_SLOW, MAX_PASSED_ON, MAX_WAITING, NEIGHBOUR_PAUSE,
    NEIGHBOURS, REPEAT_AFTER,
};
pub use entry::{ENTRY_KEY, InvalidEntry, OpStackEntry, VERSION};
pub use filter::{Filter, Record, Refused, multiaddr};
pub use local::{Advertised, InvalidAdvertisement, LocalConfig, OwnAddresses, sequence};
pub use pace::{Pace, PaceConfig};
pub use prediction::{MIN_STATEMENTS, Prediction, STATEMENT_TTL};
pub use search::{
    FoundNode, KEEP_INTERVAL, PINGED, RECHECK, Search, SearchConfig, SearchStep, SearchView,
    WALK_TIME,
};
