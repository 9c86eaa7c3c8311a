//! Number of allocations from a message's arrival to its verdict: a few, whatever the message
//! contains.

use alloy_primitives::B256;
use opp2p_core::chain::{ChainConfig, Fork};
use opp2p_core::fixtures;
use opp2p_core::gossip::{Reason, Rules, Signers, Unpacked, block_topic, validate};
use opp2p_core::payload::{Envelope, PayloadVersion, snappy};
use opp2p_core::sequencer::LocalSigner;

const CHAIN_ID: u64 = 901;
const VERSION: PayloadVersion = PayloadVersion::V4;

/// Returns a block with this many transactions, made of bytes of real ones, and a valid timestamp.
fn envelope(transactions: usize) -> Envelope {
    let blocks = fixtures::blocks();
    let mut envelope = blocks[0].envelope.clone();
    let all =
        blocks.iter().flat_map(|block| block.envelope.payload.transactions.iter().cloned()).cycle();
    let payload = &mut envelope.payload;
    payload.transactions = all.take(transactions).collect();
    payload.withdrawals = Some(Vec::new());
    payload.blob_gas_used = Some(0);
    payload.excess_blob_gas = Some(0);
    payload.withdrawals_root = Some(payload.state_root);
    let root = *envelope.parent_beacon_block_root.insert(payload.parent_hash);
    payload.seal(Some(root)).expect("it encodes");
    envelope
}

fn message(signer: &LocalSigner, envelope: &Envelope) -> Vec<u8> {
    snappy::compress(&signer.sign_block(CHAIN_ID, envelope).expect("it encodes").1)
}

/// Returns the number of allocations and of allocated bytes of a complete validation, and its
/// result.
fn judged(rules: &Rules, data: &[u8], now: u64) -> (u64, u64, Option<Reason>) {
    let topic = block_topic(CHAIN_ID, VERSION);
    let mut reason = None;
    let info = allocation_counter::measure(|| {
        let message = Unpacked::new(data);
        let _ = message.message_id(&topic);
        reason = validate(rules, VERSION, message, now).err();
    });
    (info.count_total, info.bytes_total, reason)
}

#[test]
fn a_message_makes_few_allocations_and_its_contents_one() {
    let [sequencer, stranger] =
        [7, 8].map(|byte| LocalSigner::from_bytes(&[byte; 32]).expect("a valid key"));
    let signer = sequencer.address();
    let chain = ChainConfig::development(CHAIN_ID, B256::ZERO, 0, 2, Fork::Isthmus, signer);
    let rules = Rules::new(&chain, Signers { current: Some(signer), previous: None });
    // The libraries build their tables on first use.
    let now = envelope(1).payload.timestamp;
    judged(&rules, &message(&sequencer, &envelope(1)), now);
    for transactions in [0, 10, 200, 2000] {
        let block = envelope(transactions);
        let good = message(&sequencer, &block);
        let size = snappy::announced_length(&good).expect("it is compressed") as u64;
        let (count, bytes, reason) = judged(&rules, &good, now);
        assert_eq!(reason, None);
        assert!(count <= 9, "{count} allocations for {transactions} transactions");
        // The groups of the transactions' trie take 60 bytes per 16 transactions, and a header
        // takes one kilobyte.
        let most = size + 4096 + 8 * transactions as u64;
        assert!(bytes <= most, "{bytes} bytes for a message of {size}");

        let (count, bytes, reason) = judged(&rules, &message(&stranger, &block), now);
        assert_eq!(reason, Some(Reason::WrongSigner));
        assert!(count <= 4, "{count} allocations for a forged block");
        assert!(bytes <= size + 1024, "{bytes} bytes for a forged message of {size}");
    }
}
