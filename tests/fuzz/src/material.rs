//! Parts shared by the targets: a small chain, its sequencer, peers, and readers of events from
//! bytes.

use std::sync::LazyLock;
use std::time::Duration;

use alloy_primitives::{B256, Bytes, U256};
use arbitrary::{Result, Unstructured};
use opp2p_core::chain::{ChainConfig, Fork, ForkSchedule};
use opp2p_core::gossip::{Rules, Signers};
use opp2p_core::payload::{Block, Envelope, ExecutionPayload, PayloadVersion};
use opp2p_core::peers::PeerId;
use opp2p_core::sequencer::LocalSigner;
use opp2p_core::time::{Instant, Now};

/// Id of the chain for which everything is signed.
pub(crate) const CHAIN_ID: u64 = 901;
/// Time at which a sequence of events begins, in Unix seconds.
pub(crate) const NOW: u64 = 1_700_000_000;
/// Number of the first block of [`POOL`]. A block's timestamp follows from its number.
const FIRST: u64 = 1000;
/// Seconds between two blocks.
const BLOCK_TIME: u64 = 2;

/// Returns the signer whose secret is this byte 32 times.
pub(crate) fn key(byte: u8) -> LocalSigner {
    LocalSigner::from_bytes(&[byte; 32]).expect("a small number is a key")
}

/// Returns the signer that the chain expects.
pub(crate) fn sequencer() -> LocalSigner {
    key(7)
}

/// Returns a v4 chain whose block 1000 is due just before [`NOW`].
pub(crate) fn chain() -> ChainConfig {
    let genesis = NOW - FIRST * BLOCK_TIME - 20;
    ChainConfig::development(
        CHAIN_ID,
        B256::ZERO,
        genesis,
        BLOCK_TIME,
        Fork::Isthmus,
        sequencer().address(),
    )
}

/// Returns the rules of a chain whose blocks have this version now.
pub(crate) fn rules(version: PayloadVersion) -> Rules {
    let forks = match version {
        PayloadVersion::V1 => ForkSchedule::default(),
        PayloadVersion::V2 => ForkSchedule::up_to(Fork::Canyon),
        PayloadVersion::V3 => ForkSchedule::up_to(Fork::Ecotone),
        PayloadVersion::V4 => ForkSchedule::up_to(Fork::Isthmus),
    };
    let signers = Signers { current: Some(sequencer().address()), previous: None };
    Rules::new(&ChainConfig { forks, ..chain() }, signers)
}

/// Returns a block that passes every check at [`NOW`].
pub(crate) fn block(version: PayloadVersion) -> Envelope {
    let payload = ExecutionPayload {
        parent_hash: B256::repeat_byte(0x11),
        block_number: FIRST,
        gas_limit: 30_000_000,
        gas_used: 50_000,
        timestamp: NOW,
        extra_data: Bytes::from_static(b"fuzz"),
        base_fee_per_gas: U256::from(7),
        transactions: vec![Bytes::from_static(&[0x7e, 1, 2, 3]), Bytes::from_static(&[2; 40])],
        withdrawals: version.has_withdrawals().then(Vec::new),
        blob_gas_used: version.has_beacon_root().then_some(0),
        excess_blob_gas: version.has_beacon_root().then_some(0),
        withdrawals_root: version.has_withdrawals_root().then_some(B256::repeat_byte(0x66)),
        ..ExecutionPayload::default()
    };
    let root = version.has_beacon_root().then_some(B256::with_last_byte(0x34));
    sealed(Envelope { parent_beacon_block_root: root, payload })
}

/// Returns the block with its hash recomputed.
pub(crate) fn sealed(mut envelope: Envelope) -> Envelope {
    envelope
        .payload
        .seal(envelope.parent_beacon_block_root)
        .expect("its fields are of one version");
    envelope
}

/// Returns the signed bytes of a block.
pub(crate) fn body(envelope: &Envelope) -> Vec<u8> {
    let mut body = Vec::new();
    envelope.encode(&mut body).expect("its fields are of one version");
    body
}

/// Returns a message with this body, signed by this key.
pub(crate) fn signed_by(signer: &LocalSigner, body: &[u8]) -> Vec<u8> {
    signer.sign_body(CHAIN_ID, body)
}

/// A block of the pool, in all forms that the targets need.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub(crate) envelope: Envelope,
    pub(crate) block: Block,
    /// Signature and body.
    pub(crate) contents: Vec<u8>,
}

/// Blocks of [`chain`] above 1000: sixteen that form a chain, and branches of them.
pub(crate) static POOL: LazyLock<Vec<Pooled>> = LazyLock::new(|| {
    let mut first = block(PayloadVersion::V4);
    first.payload.timestamp = NOW - 20;
    let mut envelopes = vec![sealed(first)];
    for _ in 1..16 {
        envelopes.push(child(&envelopes[envelopes.len() - 1], 0));
    }
    for (at, salt) in [(2, 1), (2, 2), (6, 1), (9, 3)] {
        let mut branch = child(&envelopes[at], salt);
        for _ in 0..3 {
            envelopes.push(branch.clone());
            branch = child(&branch, salt);
        }
    }
    // More blocks of one height than are accepted.
    let crowd: Vec<Envelope> = (10..17).map(|salt| child(&envelopes[0], salt)).collect();
    envelopes.extend(crowd);
    let pooled = |envelope: Envelope| {
        let body = body(&envelope);
        let contents = signed_by(&sequencer(), &body);
        let block =
            Block::decode(PayloadVersion::V4, None, body.into()).expect("it was just encoded");
        Pooled { envelope, block, contents }
    };
    envelopes.into_iter().map(pooled).collect()
});

fn child(parent: &Envelope, salt: u64) -> Envelope {
    let mut envelope = parent.clone();
    let payload = &mut envelope.payload;
    payload.parent_hash = parent.payload.block_hash;
    payload.block_number += 1;
    payload.timestamp += BLOCK_TIME;
    payload.gas_used = 50_000 + salt;
    sealed(envelope)
}

/// Returns one of a few peers.
pub(crate) fn peer(number: u8) -> PeerId {
    PeerId::try_from(&[number; 38][..]).expect("38 bytes are a peer's id")
}

/// Returns one of a few peers, chosen by the bytes.
pub(crate) fn any_peer(from: &mut Unstructured<'_>, count: u8) -> Result<PeerId> {
    Ok(peer(from.int_in_range(0..=count - 1)?))
}

/// Returns a version, chosen by the bytes.
pub(crate) fn any_version(from: &mut Unstructured<'_>) -> Result<PayloadVersion> {
    Ok(*from.choose(&PayloadVersion::ALL)?)
}

/// Both clocks of a sequence of events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(pub(crate) Now);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Now::new(Duration::from_secs(5000), Duration::from_secs(NOW)))
    }

    /// Advances both.
    pub(crate) fn pass(&mut self, by: Duration) {
        self.0 = Now { monotonic: self.0.monotonic + by, unix: self.0.unix.saturating_add(by) };
    }

    /// Advances both to `at`, if it is later.
    pub(crate) fn pass_to(&mut self, at: Instant) {
        self.pass(at.since(self.0.monotonic));
    }

    pub(crate) fn at(&self) -> Instant {
        self.0.monotonic
    }
}

/// Returns a time span that is usually short, and sometimes hours.
pub(crate) fn any_span(from: &mut Unstructured<'_>) -> Result<Duration> {
    let amount = u64::from(from.arbitrary::<u8>()?);
    Ok(match from.int_in_range(0..=3)? {
        0 => Duration::from_millis(amount),
        1 => Duration::from_millis(amount * 50),
        2 => Duration::from_secs(amount),
        _ => Duration::from_secs(amount * 600),
    })
}

/// Runs a sequence of events until the bytes end.
pub(crate) fn play(bytes: &[u8], course: impl FnOnce(&mut Unstructured<'_>) -> Result<()>) {
    let mut from = Unstructured::new(bytes);
    // If the bytes end within an event, the sequence ends there.
    let _ = course(&mut from);
}
