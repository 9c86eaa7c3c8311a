//! Validation of the bundled blocks and messages through the public API.
#![cfg(feature = "fixtures")]

use alloy_primitives::B256;
use opp2p_core::chain::{ChainConfig, Fork, ForkSchedule};
use opp2p_core::fixtures;
use opp2p_core::gossip::{Acceptance, Reason, Rules, Signers, inspect};
use opp2p_core::payload::{PayloadVersion, PayloadView, block_hash};

fn rules(chain_id: u64, signer: alloy_primitives::Address, version: PayloadVersion) -> Rules {
    let fork = match version {
        PayloadVersion::V1 => None,
        PayloadVersion::V2 => Some(Fork::Canyon),
        PayloadVersion::V3 => Some(Fork::Ecotone),
        PayloadVersion::V4 => Some(Fork::Isthmus),
    };
    let mut chain = ChainConfig::development(chain_id, B256::ZERO, 0, 2, Fork::Canyon, signer);
    chain.forks = fork.map(ForkSchedule::up_to).unwrap_or_default();
    Rules::new(&chain, Signers { current: Some(signer), previous: None })
}

#[test]
fn real_blocks_hash_to_their_claimed_hashes() {
    let blocks = fixtures::blocks();
    assert_eq!(blocks.len(), 9);
    for block in blocks {
        let view =
            PayloadView::parse(block.version, &block.payload_ssz).expect("a real payload decodes");
        assert_eq!(view.block_hash(), block.block_hash);
        assert_eq!(block_hash(&view, block.envelope.parent_beacon_block_root), block.block_hash);
    }
}

#[test]
fn every_real_payload_is_encoded_to_the_same_bytes() {
    for block in fixtures::blocks() {
        let mut bytes = Vec::new();
        assert_eq!(block.envelope.payload.encode(&mut bytes), Ok(block.version));
        assert_eq!(bytes, block.payload_ssz);
    }
}

#[test]
fn the_four_sepolia_blocks_link() {
    let blocks = fixtures::blocks();
    let sepolia: Vec<_> = blocks.iter().filter(|block| block.chain_id == 11_155_420).collect();
    assert_eq!(sepolia.len(), 4);
    for pair in sepolia.windows(2) {
        assert_eq!(pair[1].envelope.payload.parent_hash, pair[0].block_hash);
    }
}

#[test]
fn every_message_is_accepted_at_its_own_time_with_its_signer() {
    for message in fixtures::messages() {
        let rules = rules(message.chain_id, message.signer, message.version);
        let inspection = inspect(&rules, message.version, &message.data, message.timestamp);
        assert_eq!(inspection.reason, None, "{}", message.version);
        assert_eq!(inspection.acceptance(), Acceptance::Accept);
        assert_eq!(inspection.signer, Some(message.signer));
        assert_eq!(inspection.block.expect("decodes").hash(), message.block_hash);
    }
}

#[test]
fn every_message_is_rejected_on_another_topic_chain_or_day() {
    for message in fixtures::messages() {
        let rules_here = rules(message.chain_id, message.signer, message.version);
        for version in PayloadVersion::ALL.into_iter().filter(|version| *version != message.version)
        {
            let inspection = inspect(&rules_here, version, &message.data, message.timestamp);
            assert_eq!(
                inspection.reason,
                Some(Reason::Payload),
                "{} on {version}",
                message.version
            );
        }
        let elsewhere = rules(message.chain_id + 1, message.signer, message.version);
        let inspection = inspect(&elsewhere, message.version, &message.data, message.timestamp);
        assert_eq!(inspection.reason, Some(Reason::WrongSigner));
        let inspection =
            inspect(&rules_here, message.version, &message.data, message.timestamp + 86_400);
        assert_eq!(inspection.reason, Some(Reason::TooOld));
    }
}
