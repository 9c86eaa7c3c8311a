//! What the observer tells the page: the objects of the package's interface (`js/index.d.ts`), as JSON.

use crate::options::Refusal;
use opp2p_core::chain::{BlockId, ChainEvent, Gap, GapEnd, GapId, SkipReason};
use opp2p_core::gossip::{Acceptance, Reason};
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::sync::RangeError;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Something told, by the name of the event that it becomes.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", content = "detail", rename_all = "lowercase")]
pub(crate) enum Told {
    /// The payload's bytes go beside it.
    Block(Box<BlockTold>),
    Head(HeadTold),
    Gap(GapTold),
    Reorg(ReorgTold),
    Equivocation(EquivocationTold),
    Peer(PeerEventTold),
    Rejected(RejectedTold),
    Error(Refusal),
    Status(StatusTold),
}

/// A number that JavaScript's own can't hold exactly, as text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Big<T>(pub(crate) T);

impl<T: fmt::Display> Serialize for Big<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Bytes as `0x` and hexadecimal digits.
#[derive(Clone, Debug)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&alloy_primitives::hex::encode_prefixed(&self.0))
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> Hex {
    Hex(bytes.as_ref().to_vec())
}

/// A position of the chain.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Id {
    number: u64,
    hash: Hex,
}

impl From<BlockId> for Id {
    fn from(id: BlockId) -> Self {
        Self { number: id.number, hash: hex(id.hash) }
    }
}

fn ids(list: &[BlockId]) -> Vec<Id> {
    list.iter().map(|id| (*id).into()).collect()
}

/// How a block came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// Whether it was gossiped, not asked for.
    pub(crate) is_gossip: bool,
    /// Who brought it.
    pub(crate) peer: Option<String>,
    /// Milliseconds since 1970.
    pub(crate) received_at: f64,
    /// Milliseconds from its arrival to its verdict.
    pub(crate) validation: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockTold {
    number: u64,
    hash: Hex,
    parent_hash: Hex,
    timestamp: u64,
    version: u8,
    fee_recipient: Hex,
    state_root: Hex,
    receipts_root: Hex,
    prev_randao: Hex,
    gas_used: Big<u64>,
    gas_limit: Big<u64>,
    base_fee_per_gas: Big<alloy_primitives::U256>,
    extra_data: Hex,
    parent_beacon_block_root: Option<Hex>,
    withdrawals_root: Option<Hex>,
    transaction_count: usize,
    signature: Option<Hex>,
    origin: &'static str,
    peer: Option<String>,
    received_at: f64,
    validation: Option<f64>,
}

impl BlockTold {
    pub(crate) fn new(block: &Block, arrival: Arrival) -> Self {
        let payload = block.payload();
        Self {
            number: block.number(),
            hash: hex(block.hash()),
            parent_hash: hex(block.parent_hash()),
            timestamp: block.timestamp(),
            version: block.version().number(),
            fee_recipient: hex(payload.fee_recipient()),
            state_root: hex(payload.state_root()),
            receipts_root: hex(payload.receipts_root()),
            prev_randao: hex(payload.prev_randao()),
            gas_used: Big(payload.gas_used()),
            gas_limit: Big(payload.gas_limit()),
            base_fee_per_gas: Big(payload.base_fee_per_gas()),
            extra_data: hex(payload.extra_data()),
            parent_beacon_block_root: block.parent_beacon_block_root().map(hex),
            withdrawals_root: payload.withdrawals_root().map(hex),
            transaction_count: payload.transactions().len(),
            signature: block.signature().map(hex),
            origin: if arrival.is_gossip { "gossip" } else { "request" },
            peer: arrival.peer,
            received_at: arrival.received_at,
            validation: arrival.validation,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeadTold {
    #[serde(flatten)]
    pub(crate) id: Id,
    pub(crate) timestamp: u64,
    pub(crate) received_at: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct GapTold {
    id: Option<u64>,
    state: &'static str,
    after: Option<Id>,
    before: Option<Id>,
    missing: u64,
    reason: Option<String>,
}

impl GapTold {
    fn standing(state: &'static str, gap: &Gap) -> Self {
        Self {
            id: Some(gap.id.number()),
            state,
            after: Some(gap.after.into()),
            before: Some(gap.before.into()),
            missing: gap.missing,
            reason: None,
        }
    }

    pub(crate) fn refused(gap: GapId, error: RangeError) -> Self {
        let reason = Some(error.to_string());
        Self { id: Some(gap.number()), state: "refused", after: None, before: None, missing: 0, reason }
    }

    fn closed(gap: GapId, end: GapEnd) -> Self {
        let reason = match end {
            GapEnd::Filled => "filled",
            GapEnd::Merged => "merged with another gap",
            GapEnd::Outrun => "the chain went on without the blocks above it",
            GapEnd::Skipped => "left out",
            GapEnd::Dropped => "the blocks above it were dropped for lack of room",
            GapEnd::Mislinked => "the blocks above it were invalid",
        };
        let reason = Some(reason.to_owned());
        Self { id: Some(gap.number()), state: "closed", after: None, before: None, missing: 0, reason }
    }

    fn skipped(from: BlockId, to: BlockId, reason: SkipReason) -> Self {
        let reason = match reason {
            SkipReason::Patience => "nobody had the blocks for too long",
            SkipReason::Full => "there was no room for more blocks above it",
            SkipReason::Unreachable => "the sequencer's new branch begins below what is held",
        };
        Self {
            id: None,
            state: "skipped",
            after: Some(from.into()),
            before: Some(to.into()),
            missing: to.number.saturating_sub(from.number + 1),
            reason: Some(reason.to_owned()),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ReorgTold {
    ancestor: Id,
    abandoned: Vec<Id>,
    adopted: Vec<Id>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EquivocationTold {
    number: u64,
    first: Id,
    second: Id,
}

/// What is told of an event of the chain; nothing of a new block, which is told otherwise.
pub(crate) fn chain_event(event: &ChainEvent<Block>) -> Option<Told> {
    Some(match event {
        ChainEvent::Extended(_) => return None,
        ChainEvent::Reorg { ancestor, abandoned, adopted } => Told::Reorg(ReorgTold {
            ancestor: (*ancestor).into(),
            abandoned: ids(abandoned),
            adopted: ids(adopted),
        }),
        ChainEvent::Equivocation { number, first, second } => Told::Equivocation(EquivocationTold {
            number: *number,
            first: (*first).into(),
            second: (*second).into(),
        }),
        ChainEvent::GapOpened(gap) => Told::Gap(GapTold::standing("opened", gap)),
        ChainEvent::GapChanged(gap) => Told::Gap(GapTold::standing("changed", gap)),
        ChainEvent::GapClosed { id, end } => Told::Gap(GapTold::closed(*id, *end)),
        ChainEvent::Skipped { from, to, reason } => Told::Gap(GapTold::skipped(*from, *to, *reason)),
    })
}

#[derive(Debug, Serialize)]
pub(crate) struct RejectedTold {
    rule: &'static str,
    text: String,
    verdict: &'static str,
    peer: String,
    topic: u8,
    at: f64,
}

impl RejectedTold {
    pub(crate) fn new(reason: Reason, peer: String, topic: PayloadVersion, at: f64) -> Self {
        let verdict = if reason.acceptance() == Acceptance::Reject { "reject" } else { "ignore" };
        Self { rule: reason.name(), text: reason.to_string(), verdict, peer, topic: topic.number(), at }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeerTold {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) state: &'static str,
    pub(crate) agent: Option<String>,
    pub(crate) score: f64,
    /// Milliseconds.
    pub(crate) round_trip: Option<f64>,
    pub(crate) in_mesh: bool,
    pub(crate) delivered: u64,
    pub(crate) rejected: u64,
    pub(crate) banned_until: Option<u64>,
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PeerEventTold {
    pub(crate) what: &'static str,
    #[serde(flatten)]
    pub(crate) peer: PeerTold,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CountersTold {
    pub(crate) blocks: u64,
    pub(crate) accepted: u64,
    pub(crate) rejected: BTreeMap<&'static str, u64>,
    pub(crate) ignored: BTreeMap<&'static str, u64>,
    pub(crate) fetched: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct StatusTold {
    pub(crate) head: Option<HeadTold>,
    pub(crate) highest: Option<Id>,
    pub(crate) peers: Vec<PeerTold>,
    pub(crate) counters: CountersTold,
}

/// Who runs here, and for which chain: what a page is told at the start.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    pub(crate) peer_id: String,
    pub(crate) network: NetworkTold,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetworkTold {
    pub(crate) name: String,
    pub(crate) chain_id: u64,
    pub(crate) block_time: u64,
    pub(crate) signer: Hex,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Code;
    use alloy_primitives::B256;
    use opp2p_core::fixtures;
    use opp2p_core::gossip::{SIGNATURE_SIZE, Unpacked};
    use serde_json::{Value, json};

    fn value(told: &Told) -> Value {
        serde_json::to_value(told).unwrap()
    }

    #[test]
    fn a_block_has_every_field_of_the_interface_and_no_number_loses_a_digit() {
        for message in fixtures::messages() {
            let marked = Unpacked::new(&message.data).into_marked();
            let contents = Unpacked::contents_of_marked(&marked);
            let signature = contents.first_chunk().copied();
            let body = contents[SIGNATURE_SIZE..].to_vec();
            let block = Block::decode(message.version, signature, body.into()).unwrap();
            let arrival = Arrival {
                is_gossip: true,
                peer: Some("16Uiu2".into()),
                received_at: 1.25,
                validation: Some(0.5),
            };
            let told = value(&Told::Block(Box::new(BlockTold::new(&block, arrival))));
            assert_eq!(told["kind"], "block");
            let detail = told["detail"].as_object().unwrap();
            assert_eq!(detail["hash"], block.hash().to_string());
            assert_eq!(detail["gasLimit"], block.payload().gas_limit().to_string());
            assert_eq!(detail["signature"].as_str().unwrap().len(), 2 + 2 * SIGNATURE_SIZE);
            assert_eq!(detail["parentBeaconBlockRoot"].is_null(), message.version.number() < 3);
            assert_eq!(detail["withdrawalsRoot"].is_null(), message.version.number() < 4);
            assert_eq!((&detail["receivedAt"], &detail["origin"]), (&json!(1.25), &json!("gossip")));
            assert_eq!(detail.len(), 21);
        }
    }

    #[test]
    fn events_are_named_as_in_the_interface() {
        let id = |number| BlockId::new(number, B256::repeat_byte(7));
        let skipped = ChainEvent::Skipped { from: id(3), to: id(7), reason: SkipReason::Patience };
        let told = value(&chain_event(&skipped).unwrap());
        assert_eq!(told["kind"], "gap");
        assert_eq!((&told["detail"]["state"], &told["detail"]["missing"]), (&json!("skipped"), &json!(3)));
        let told = value(&Told::Error(Refusal { code: Code::WrongNetwork, message: "x".into() }));
        assert_eq!(told, json!({"kind": "error", "detail": {"code": "wrong-network", "message": "x"}}));
        let head = HeadTold { id: id(9).into(), timestamp: 5, received_at: 0.5 };
        let told = value(&Told::Head(head));
        assert_eq!((&told["detail"]["number"], &told["detail"]["receivedAt"]), (&json!(9), &json!(0.5)));
        let reason = Reason::WrongSigner;
        let told = value(&Told::Rejected(RejectedTold::new(reason, "p".into(), PayloadVersion::V3, 1.0)));
        assert_eq!(
            (&told["detail"]["rule"], &told["detail"]["verdict"]),
            (&json!("wrong_signer"), &json!("reject"))
        );
    }
}
