//! Reports of the observer to the page: the objects of the package's interface (`js/index.d.ts`),
//! as JSON.

use crate::faults::Fault;
use crate::options::Refusal;
use crate::trouble::TroubleJs;
use alloy_primitives::{Address, keccak256};
use opp2p_core::chain::{BlockId, ChainEvent, Gap, GapEnd, GapId, SkipReason, Span};
use opp2p_core::gossip::{Acceptance, Reason};
use opp2p_core::payload::{
    Block, EMPTY_REQUESTS_HASH, PayloadVersion, block_rlp_size, header_withdrawals_root,
};
use opp2p_core::sync::RangeError;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A report, tagged with the name of the event that it becomes.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", content = "detail", rename_all = "lowercase")]
pub(crate) enum Told {
    /// The payload's bytes are passed beside it.
    Block(Box<BlockJs>),
    Head(HeadJs),
    Gap(GapJs),
    Reorg(ReorgJs),
    Equivocation(EquivocationJs),
    Peer(PeerEventJs),
    Rejected(RejectedJs),
    Trouble(TroubleJs),
    #[serde(rename = "trouble-ended")]
    TroubleEnded(TroubleJs),
    Signer(SignerJs),
    /// The page is asked to read the signer again. This is not an event of the package.
    #[serde(rename = "read-signer")]
    ReadSigner,
    Lie(LieJs),
    /// Changed knowledge of peers for the next visit: keys and values, or `null` for a removed key.
    /// This is not an event of the package.
    Remember(Vec<(Hex, Option<Hex>)>),
    Error(Refusal),
    Status(StatusJs),
}

/// A number that a JavaScript number can't hold exactly, as text.
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

/// Consecutive blocks: a list, or the bounds of a long run.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Ids {
    Listed(Vec<Id>),
    Range { count: u64, lowest: Id, highest: Id },
}

fn ids(list: &[BlockId]) -> Ids {
    match Span::of(list) {
        Span::Listed(ids) => Ids::Listed(ids.into_iter().map(Into::into).collect()),
        Span::Range { count, lowest, highest } => {
            Ids::Range { count, lowest: lowest.into(), highest: highest.into() }
        }
    }
}

/// Source and times of a block's arrival.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// Whether it was gossiped rather than requested.
    pub(crate) is_gossip: bool,
    /// Peer that sent it, if known.
    pub(crate) peer: Option<String>,
    /// Milliseconds since 1970.
    pub(crate) received_at: f64,
    /// Milliseconds from the arrival to the verdict; `None` for a requested block.
    pub(crate) validation: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockJs {
    number: u64,
    hash: Hex,
    parent_hash: Hex,
    timestamp: u64,
    timestamp_ms: u64,
    version: u8,
    fee_recipient: Hex,
    state_root: Hex,
    transactions_root: Hex,
    receipts_root: Hex,
    logs_bloom: Hex,
    prev_randao: Hex,
    gas_used: Big<u64>,
    gas_limit: Big<u64>,
    base_fee_per_gas: Big<alloy_primitives::U256>,
    extra_data: Hex,
    blob_gas_used: Option<Big<u64>>,
    excess_blob_gas: Option<Big<u64>>,
    parent_beacon_block_root: Option<Hex>,
    withdrawals_root: Option<Hex>,
    /// Always empty: the rules of gossip allow no withdrawals.
    withdrawals: Option<[(); 0]>,
    requests_hash: Option<Hex>,
    /// Size of the block in RLP, in bytes.
    size: usize,
    transaction_count: usize,
    transaction_hashes: Vec<Hex>,
    signature: Option<Hex>,
    origin: &'static str,
    peer: Option<String>,
    received_at: f64,
    validation: Option<f64>,
}

impl BlockJs {
    pub(crate) fn new(block: &Block, arrival: Arrival) -> Self {
        let payload = block.payload();
        Self {
            number: block.number(),
            hash: hex(block.hash()),
            parent_hash: hex(block.parent_hash()),
            timestamp: block.timestamp(),
            timestamp_ms: block.timestamp_ms(),
            version: block.version().number(),
            fee_recipient: hex(payload.fee_recipient()),
            state_root: hex(payload.state_root()),
            transactions_root: hex(block.transactions_root()),
            receipts_root: hex(payload.receipts_root()),
            logs_bloom: hex(payload.logs_bloom()),
            prev_randao: hex(payload.prev_randao()),
            gas_used: Big(payload.gas_used()),
            gas_limit: Big(payload.gas_limit()),
            base_fee_per_gas: Big(payload.base_fee_per_gas()),
            extra_data: hex(payload.extra_data()),
            blob_gas_used: payload.blob_gas_used().map(Big),
            excess_blob_gas: payload.excess_blob_gas().map(Big),
            parent_beacon_block_root: block.parent_beacon_block_root().map(hex),
            withdrawals_root: header_withdrawals_root(&payload).map(hex),
            withdrawals: payload.withdrawals().map(|_| []),
            requests_hash: payload.withdrawals_root().map(|_| hex(EMPTY_REQUESTS_HASH)),
            size: block_rlp_size(&payload, block.parent_beacon_block_root()),
            transaction_count: payload.transactions().len(),
            transaction_hashes: payload.transactions().map(|raw| hex(keccak256(raw))).collect(),
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
pub(crate) struct HeadJs {
    #[serde(flatten)]
    pub(crate) id: Id,
    pub(crate) timestamp: u64,
    pub(crate) timestamp_ms: u64,
    pub(crate) received_at: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct GapJs {
    id: Option<u64>,
    state: &'static str,
    after: Option<Id>,
    before: Option<Id>,
    missing: u64,
    reason: Option<String>,
    /// Whether a skip leaves all blocks before it.
    detached: bool,
}

impl GapJs {
    fn standing(state: &'static str, gap: &Gap) -> Self {
        Self {
            id: Some(gap.id.number()),
            state,
            after: Some(gap.after.into()),
            before: Some(gap.before.into()),
            missing: gap.missing,
            reason: None,
            detached: false,
        }
    }

    /// A gap whose blocks down to `lowest` were found.
    pub(crate) fn filling(
        gap: GapId,
        after: Option<BlockId>,
        lowest: BlockId,
        missing: u64,
    ) -> Self {
        Self {
            id: Some(gap.number()),
            state: "changed",
            after: after.map(Into::into),
            before: Some(lowest.into()),
            missing,
            reason: None,
            detached: false,
        }
    }

    pub(crate) fn refused(gap: GapId, error: RangeError) -> Self {
        Self::ended(gap, "refused", error.to_string())
    }

    fn closed(gap: GapId, end: GapEnd) -> Self {
        Self::ended(gap, "closed", end.to_string())
    }

    fn ended(gap: GapId, state: &'static str, reason: String) -> Self {
        Self {
            id: Some(gap.number()),
            state,
            after: None,
            before: None,
            missing: 0,
            reason: Some(reason),
            detached: false,
        }
    }

    fn skipped(from: BlockId, to: BlockId, reason: SkipReason, detached: bool) -> Self {
        let reason = match reason {
            SkipReason::TooLong => "more blocks are missing than `maxGap`".to_owned(),
            reason => reason.to_string(),
        };
        Self {
            id: None,
            state: "skipped",
            after: Some(from.into()),
            before: Some(to.into()),
            missing: to.number.saturating_sub(from.number + 1),
            reason: Some(reason),
            detached,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ReorgJs {
    ancestor: Id,
    abandoned: Ids,
    adopted: Ids,
}

#[derive(Debug, Serialize)]
pub(crate) struct EquivocationJs {
    number: u64,
    first: Id,
    second: Id,
}

/// Returns the report of a chain event. `None` for a new block, which is reported by itself, and
/// for a second sequencer, which is in the trouble list.
pub(crate) fn chain_event(event: &ChainEvent<Block>) -> Option<Told> {
    Some(match event {
        // The trouble list has the second one.
        ChainEvent::Extended(_) | ChainEvent::Contended { .. } => return None,
        ChainEvent::Reorg { ancestor, abandoned, adopted } => Told::Reorg(ReorgJs {
            ancestor: (*ancestor).into(),
            abandoned: ids(abandoned),
            adopted: ids(adopted),
        }),
        ChainEvent::Equivocation { number, first, second } => Told::Equivocation(EquivocationJs {
            number: *number,
            first: (*first).into(),
            second: (*second).into(),
        }),
        ChainEvent::GapOpened(gap) => Told::Gap(GapJs::standing("opened", gap)),
        ChainEvent::GapChanged(gap) => Told::Gap(GapJs::standing("changed", gap)),
        ChainEvent::GapClosed { id, end } => Told::Gap(GapJs::closed(*id, *end)),
        ChainEvent::Skipped { from, to, reason, detached } => {
            Told::Gap(GapJs::skipped(*from, *to, *reason, *detached))
        }
    })
}

/// A false answer of an endpoint.
#[derive(Debug, Serialize)]
pub(crate) struct LieJs {
    /// Host of the endpoint.
    pub(crate) endpoint: String,
    pub(crate) method: String,
    pub(crate) part: String,
}

/// The signer of unsafe blocks has changed.
#[derive(Debug, Serialize)]
pub(crate) struct SignerJs {
    signer: Option<Hex>,
    previous: Option<Hex>,
}

impl SignerJs {
    pub(crate) fn new(current: Option<Address>, previous: Option<Address>) -> Self {
        Self { signer: current.map(hex), previous: previous.map(hex) }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct RejectedJs {
    rule: &'static str,
    text: String,
    verdict: &'static str,
    peer: String,
    topic: u8,
    at: f64,
}

impl RejectedJs {
    pub(crate) fn new(reason: Reason, peer: String, topic: PayloadVersion, at: f64) -> Self {
        let verdict = if reason.acceptance() == Acceptance::Reject { "reject" } else { "ignore" };
        Self {
            rule: reason.name(),
            text: reason.to_string(),
            verdict,
            peer,
            topic: topic.number(),
            at,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeerJs {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) state: &'static str,
    pub(crate) agent: Option<String>,
    pub(crate) score: f64,
    /// In milliseconds.
    pub(crate) round_trip: Option<f64>,
    pub(crate) in_mesh: bool,
    pub(crate) delivered: u64,
    pub(crate) rejected: u64,
    pub(crate) banned_until: Option<u64>,
    /// Seconds until the next dial, while one is scheduled.
    pub(crate) retry_in: Option<f64>,
    pub(crate) reason: Option<String>,
    pub(crate) reason_code: Option<Fault>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PeerEventJs {
    pub(crate) what: &'static str,
    #[serde(flatten)]
    pub(crate) peer: PeerJs,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CountersJs {
    pub(crate) blocks: u64,
    pub(crate) accepted: u64,
    pub(crate) rejected: BTreeMap<&'static str, u64>,
    pub(crate) ignored: BTreeMap<&'static str, u64>,
    pub(crate) fetched: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct StatusJs {
    pub(crate) head: Option<HeadJs>,
    pub(crate) linked: Option<Id>,
    pub(crate) highest: Option<Id>,
    pub(crate) peers: Vec<PeerJs>,
    pub(crate) troubles: Vec<TroubleJs>,
    pub(crate) counters: CountersJs,
}

/// This node's peer id and its network: reported to the page at the start.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    pub(crate) peer_id: String,
    pub(crate) network: NetworkJs,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetworkJs {
    pub(crate) name: String,
    pub(crate) chain_id: u64,
    /// In seconds.
    pub(crate) block_time: f64,
    /// `None` as long as it is not known.
    pub(crate) signer: Option<Hex>,
    /// Where the signer at the start came from: `network` (its own), `option`, or `reader` if it is
    /// not known yet.
    pub(crate) signer_source: &'static str,
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
    fn a_block_has_every_field_of_the_interface_at_full_precision() {
        for message in fixtures::messages() {
            let contents = Unpacked::new(&message.data).into_contents().unwrap();
            let signature = contents.first_chunk().copied();
            let body = contents[SIGNATURE_SIZE..].to_vec();
            let block = Block::decode(message.version, signature, body.into()).unwrap();
            let arrival = Arrival {
                is_gossip: true,
                peer: Some("16Uiu2".into()),
                received_at: 1.25,
                validation: Some(0.5),
            };
            let told = value(&Told::Block(Box::new(BlockJs::new(&block, arrival))));
            assert_eq!(told["kind"], "block");
            let detail = told["detail"].as_object().unwrap();
            assert_eq!(detail["hash"], block.hash().to_string());
            assert_eq!(detail["gasLimit"], block.payload().gas_limit().to_string());
            assert_eq!(detail["signature"].as_str().unwrap().len(), 2 + 2 * SIGNATURE_SIZE);
            assert_eq!(detail["parentBeaconBlockRoot"].is_null(), message.version.number() < 3);
            assert_eq!(detail["withdrawalsRoot"].is_null(), message.version.number() < 2);
            assert_eq!(detail["withdrawals"].is_null(), message.version.number() < 2);
            assert_eq!(detail["blobGasUsed"].is_null(), message.version.number() < 3);
            assert_eq!(detail["excessBlobGas"].is_null(), message.version.number() < 3);
            assert_eq!(detail["requestsHash"].is_null(), message.version.number() < 4);
            assert_eq!(detail["logsBloom"].as_str().unwrap().len(), 2 + 512);
            let hashes: Vec<_> =
                block.payload().transactions().map(|raw| keccak256(raw).to_string()).collect();
            assert_eq!(detail["transactionHashes"], json!(hashes));
            // The header that the fields describe has the block's hash.
            let rlp = opp2p_core::payload::rebuild::to_rlp(&block);
            assert_eq!(detail["size"], json!(rlp.len()));
            assert_eq!(
                (&detail["receivedAt"], &detail["origin"]),
                (&json!(1.25), &json!("gossip"))
            );
            assert_eq!(detail["timestampMs"], json!(message.timestamp * 1000));
            assert_eq!(detail.len(), 30);
        }
    }

    #[test]
    fn events_have_the_names_of_the_interface() {
        let id = |number| BlockId::new(number, B256::repeat_byte(7));
        let skipped = |detached| ChainEvent::Skipped {
            from: id(3),
            to: id(7),
            reason: SkipReason::Patience,
            detached,
        };
        for detached in [true, false] {
            let told = value(&chain_event(&skipped(detached)).unwrap());
            assert_eq!(told["detail"]["detached"], json!(detached));
        }
        let told = value(&chain_event(&skipped(false)).unwrap());
        assert!(told["detail"]["id"].is_null());
        assert_eq!(told["kind"], "gap");
        assert_eq!(
            (&told["detail"]["state"], &told["detail"]["missing"]),
            (&json!("skipped"), &json!(3))
        );
        let far: Vec<BlockId> = (4..=20_003).map(id).collect();
        let reorg =
            ChainEvent::Reorg { ancestor: id(3), abandoned: far, adopted: vec![id(4), id(5)] };
        let told = value(&chain_event(&reorg).unwrap());
        assert_eq!(told["kind"], "reorg");
        assert_eq!(
            (&told["detail"]["ancestor"]["number"], &told["detail"]["abandoned"]["count"]),
            (&json!(3), &json!(20_000))
        );
        assert_eq!(told["detail"]["abandoned"]["highest"]["number"], 20_003);
        assert_eq!(told["detail"]["adopted"][1]["number"], 5);
        let told = value(&Told::Error(Refusal { code: Code::WrongNetwork, message: "x".into() }));
        assert_eq!(
            told,
            json!({"kind": "error", "detail": {"code": "wrong-network", "message": "x"}})
        );
        assert_eq!(value(&Told::ReadSigner), json!({"kind": "read-signer"}));
        let signer = SignerJs::new(Some(Address::repeat_byte(0xab)), None);
        assert_eq!(
            value(&Told::Signer(signer)),
            json!({"kind": "signer", "detail": {
                "signer": format!("0x{}", "ab".repeat(20)), "previous": null,
            }})
        );
        let head = HeadJs { id: id(9).into(), timestamp: 5, timestamp_ms: 5200, received_at: 0.5 };
        let told = value(&Told::Head(head));
        assert_eq!(
            told["detail"],
            json!({
                "number": 9, "hash": B256::repeat_byte(7), "timestamp": 5, "timestampMs": 5200,
                "receivedAt": 0.5,
            })
        );
        let reason = Reason::WrongSigner;
        let told =
            value(&Told::Rejected(RejectedJs::new(reason, "p".into(), PayloadVersion::V3, 1.0)));
        assert_eq!(
            (&told["detail"]["rule"], &told["detail"]["verdict"]),
            (&json!("wrong_signer"), &json!("reject"))
        );
    }
}
