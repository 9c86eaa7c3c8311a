//! Choice of Engine API methods, and of the next method if the engine refuses one.
//!
//! An engine answers "unsupported fork" (-38005) if its own schedule assigns a block to a different
//! fork than ours does, and "no such method" (-32601) if it is older or newer than expected. Most
//! methods differ from their neighbours only in name, so the neighbour is tried before the engine
//! counts as failed.
//!
//! # Bounds
//! `Methods` holds at most [`MAX_LISTED`] names of the engine's own list, and the names of this
//! file.

use crate::chain::{Fork, ForkSchedule};
use crate::payload::PayloadVersion;

/// Maximum number of names kept from an engine's own list.
pub const MAX_LISTED: usize = 256;

/// All methods that this node may call, for `engine_exchangeCapabilities`.
pub const ALL_METHODS: [&str; 10] = [
    "engine_newPayloadV2",
    "engine_newPayloadV3",
    "engine_newPayloadV4",
    "engine_forkchoiceUpdatedV1",
    "engine_forkchoiceUpdatedV2",
    "engine_forkchoiceUpdatedV3",
    "engine_getPayloadV2",
    "engine_getPayloadV3",
    "engine_getPayloadV4",
    "engine_getPayloadV5",
];

/// Returns the methods that take a payload of this version, the expected one first (op-node,
/// `NewPayloadVersion`). V4 is the last version that any fork of the OP Stack requires. Methods
/// that take payloads with other fields are not neighbours.
pub const fn new_payload_methods(version: PayloadVersion) -> &'static [&'static str] {
    match version {
        PayloadVersion::V1 => &["engine_newPayloadV2", "engine_newPayloadV1"],
        PayloadVersion::V2 => &["engine_newPayloadV2"],
        PayloadVersion::V3 => &["engine_newPayloadV3"],
        PayloadVersion::V4 => &["engine_newPayloadV4"],
    }
}

/// A parameter of `engine_newPayload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewPayloadParam {
    /// The payload.
    Payload,
    /// The blobs' versioned hashes: an empty list on the OP Stack.
    BlobHashes,
    /// The parent beacon block root.
    BeaconRoot,
    /// The execution requests: an empty list on the OP Stack.
    Requests,
}

/// Returns the parameters of the methods that take a payload of this version, in order.
pub const fn new_payload_params(version: PayloadVersion) -> &'static [NewPayloadParam] {
    use NewPayloadParam::{BeaconRoot, BlobHashes, Payload, Requests};
    match version {
        PayloadVersion::V1 | PayloadVersion::V2 => &[Payload],
        PayloadVersion::V3 => &[Payload, BlobHashes, BeaconRoot],
        PayloadVersion::V4 => &[Payload, BlobHashes, BeaconRoot, Requests],
    }
}

/// Returns the methods that set a head without attributes. Without attributes the version makes no
/// difference, and op-node always uses V3.
pub const fn forkchoice_methods() -> &'static [&'static str] {
    &["engine_forkchoiceUpdatedV3", "engine_forkchoiceUpdatedV2", "engine_forkchoiceUpdatedV1"]
}

/// Returns the methods that start building a block at `timestamp`, the expected one first (op-node,
/// `ForkchoiceUpdatedVersion`).
pub const fn build_methods(forks: &ForkSchedule, timestamp: u64) -> &'static [&'static str] {
    match PayloadVersion::at(forks, timestamp) {
        PayloadVersion::V1 => &["engine_forkchoiceUpdatedV1", "engine_forkchoiceUpdatedV2"],
        PayloadVersion::V2 => &["engine_forkchoiceUpdatedV2", "engine_forkchoiceUpdatedV1"],
        PayloadVersion::V3 | PayloadVersion::V4 => &["engine_forkchoiceUpdatedV3"],
    }
}

/// Returns the methods that fetch the block built at `timestamp`, the expected one first.
pub const fn get_payload_methods(forks: &ForkSchedule, timestamp: u64) -> &'static [&'static str] {
    match PayloadVersion::at(forks, timestamp) {
        PayloadVersion::V1 | PayloadVersion::V2 => &["engine_getPayloadV2", "engine_getPayloadV3"],
        PayloadVersion::V3 => &["engine_getPayloadV3", "engine_getPayloadV4"],
        PayloadVersion::V4 if is_osaka(forks, timestamp) => {
            &["engine_getPayloadV5", "engine_getPayloadV4"]
        }
        PayloadVersion::V4 => &["engine_getPayloadV4", "engine_getPayloadV5"],
    }
}

/// Returns `true` if blocks follow the rules of Ethereum's Osaka, for which V4 returns nothing
/// (op-node from Karst on, Base's node from Azul on).
const fn is_osaka(forks: &ForkSchedule, timestamp: u64) -> bool {
    forks.is_active(Fork::Karst, timestamp)
        || forks.is_active(Fork::Lagoon, timestamp)
        || forks.is_active(Fork::Azul, timestamp)
        || forks.is_active(Fork::Denim, timestamp)
}

/// A method and its equivalents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    pub(super) name: &'static str,
    of: &'static [&'static str],
}

/// The methods that an engine accepts, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Methods {
    /// The engine's own list; empty if it does not provide one.
    listed: Vec<String>,
    /// Refused methods that have a neighbour that has not been refused.
    refused: Vec<&'static str>,
}

impl Methods {
    /// Updates the engine's own list. A changed list indicates another engine, or a newer version.
    pub(super) fn list(&mut self, listed: &[String]) {
        let listed = &listed[..listed.len().min(MAX_LISTED)];
        if self.listed != listed {
            self.listed = listed.to_vec();
            self.refused.clear();
        }
    }

    fn is_listed(&self, method: &str) -> bool {
        self.listed.is_empty() || self.listed.iter().any(|listed| listed == method)
    }

    fn is_open(&self, method: &'static str) -> bool {
        self.is_listed(method) && !self.refused.contains(&method)
    }

    /// Returns the method to call, which is the first one if the engine lists none of them.
    pub(super) fn choose(&self, of: &'static [&'static str]) -> Method {
        let open = of.iter().find(|method| self.is_open(method));
        Method { name: open.or_else(|| of.first()).copied().unwrap_or_default(), of }
    }

    /// Handles the engine's refusal of this method. Returns `true` if another one is worth trying.
    /// If not, all are tried again next time.
    pub(super) fn refuse(&mut self, method: Method) -> bool {
        let Method { name, of } = method;
        if !self.refused.contains(&name) {
            self.refused.push(name);
        }
        let is_left = of.iter().any(|method| self.is_open(method));
        if !is_left {
            self.refused.retain(|refused| !of.contains(refused));
        }
        is_left
    }
}

/// Returns the first of these methods if the engine has a list and none of them is in it.
pub(super) fn missing(listed: &[String], methods: &'static [&'static str]) -> Option<&'static str> {
    let is_missing = !listed.is_empty()
        && !methods.iter().any(|method| listed.iter().any(|listed| listed == method));
    methods.first().copied().filter(|_| is_missing)
}
