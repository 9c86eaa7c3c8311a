//! Our nodes, and the chains on which they meet foreign nodes.

pub(crate) use crate::kit::{SIGNER, config, fill, signed, signer, sized, until, until_true};

use alloy_primitives::{B256, Bytes};
use opp2p_core::chain::{BlockId, ChainConfig, Fork, ForkSchedule};
use opp2p_core::gossip::Reason;
use opp2p_core::payload::{Envelope, PayloadVersion, snappy};
use opp2p_node::host::{HostEvent, HostEventKind};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::timeout;

/// Maximum wait for anything that should happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// An age that no block has, for accepting old blocks. The reference computes in unsigned seconds
/// since 1970, so the age must not reach back before 1970.
pub(crate) const ANY_AGE: Duration = Duration::from_secs(45 * 365 * 24 * 60 * 60);

/// Returns a chain on which blocks of any time have this version.
pub(crate) fn chain_of(version: PayloadVersion) -> ChainConfig {
    let forks = match version {
        PayloadVersion::V1 => ForkSchedule::default(),
        PayloadVersion::V2 => ForkSchedule::up_to(Fork::Delta),
        PayloadVersion::V3 => ForkSchedule::up_to(Fork::Holocene),
        PayloadVersion::V4 => ForkSchedule::up_to(Fork::Isthmus),
    };
    chain(forks)
}

/// Returns a chain with these forks.
pub(crate) fn chain(forks: ForkSchedule) -> ChainConfig {
    let genesis = B256::repeat_byte(9);
    let chain =
        ChainConfig::development(901, genesis, 1_700_000_000, 2, Fork::Jovian, signer().address());
    ChainConfig { forks, ..chain }
}

/// Returns the node's next verdict on a message.
pub(crate) async fn verdict(
    events: &mut broadcast::Receiver<HostEvent>,
) -> Result<BlockId, Reason> {
    let next = async {
        loop {
            if let HostEventKind::Verdict(verdict) =
                events.recv().await.expect("our node runs").kind
            {
                break verdict.result;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("our node judges a message in time")
}

/// Returns an uncompressed message with the sequencer's signature, for a body that need not be a
/// block.
pub(crate) fn signed_bytes(chain: &ChainConfig, body: &[u8]) -> Vec<u8> {
    signer().sign_body(chain.chain_id, body)
}

/// Returns a compressed message with the sequencer's signature.
pub(crate) fn message(chain: &ChainConfig, envelope: &Envelope) -> Vec<u8> {
    snappy::compress(&signed(chain, envelope))
}

/// Returns the block with one more transaction, which increases its encoding to about this many
/// bytes.
pub(crate) fn padded(mut envelope: Envelope, bytes: usize) -> Envelope {
    // Varied bytes, which compression can reduce, but not by much.
    let filling: Vec<u8> =
        (0..bytes as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    envelope.payload.transactions.push(Bytes::from(filling));
    envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
    envelope
}
