//! Gaps that are filled by the range protocol, with peers that serve ranges, single blocks, both or
//! lies; and ranges served to peers.

mod fetching;
mod history;
mod serving;
mod world;

use super::*;
use crate::peers::{Conduct, PeerInfo, PeerNews};
use crate::sync::range::{
    AnswerDecoder, End, First, Frame, NoBlocks, PROTOCOL, Packer, RangeServeId, ReadOrder, Request,
    StreamClose, StreamId,
};
use crate::sync::{HistoryEnd, RequestFailure, RequestId, SyncEvent, encode_response, protocol_id};
use alloy_primitives::Bytes;
use std::collections::BTreeMap;
use world::{Kind, Stored, World};
