//! How often a message allocates on its way to a verdict: a few times, whatever it holds.

use opp2p_core::chain::{Fork, ForkSchedule};
use opp2p_core::fixtures;
use opp2p_core::gossip::{
    BLOCK_DOMAIN, Reason, Rules, SIGNATURE_SIZE, Signers, TIMESTAMP_THRESHOLD, Unpacked, block_topic,
    payload_hash, signing_hash, validate,
};
use opp2p_core::payload::{Envelope, PayloadVersion, snappy};
use opp2p_core::sequencer::LocalSigner;

const CHAIN_ID: u64 = 901;
const VERSION: PayloadVersion = PayloadVersion::V4;

/// A block with this many transactions of real ones' bytes, and its timestamp.
fn envelope(transactions: usize) -> Envelope {
    let blocks = fixtures::blocks();
    let mut envelope = blocks[0].envelope.clone();
    let all = blocks.iter().flat_map(|block| block.envelope.payload.transactions.iter().cloned()).cycle();
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
    let mut contents = vec![0; SIGNATURE_SIZE];
    envelope.encode(&mut contents).expect("it encodes");
    let hash = signing_hash(BLOCK_DOMAIN, CHAIN_ID.into(), payload_hash(&contents[SIGNATURE_SIZE..]));
    contents[..SIGNATURE_SIZE].copy_from_slice(&signer.sign(&hash));
    snappy::compress(&contents)
}

/// Allocations and bytes of a whole judgement, and what it was.
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
fn a_message_allocates_in_single_digits_and_its_contents_once() {
    let [sequencer, stranger] = [7, 8].map(|byte| LocalSigner::from_bytes(&[byte; 32]).expect("a valid key"));
    let rules = Rules {
        chain_id: CHAIN_ID,
        forks: ForkSchedule::up_to(Fork::Isthmus),
        signers: Signers { current: Some(sequencer.address()), previous: None },
        timestamp_threshold: TIMESTAMP_THRESHOLD,
    };
    // The libraries' tables are made once.
    let now = envelope(1).payload.timestamp;
    judged(&rules, &message(&sequencer, &envelope(1)), now);
    for transactions in [0, 10, 200, 2000] {
        let block = envelope(transactions);
        let good = message(&sequencer, &block);
        let size = snappy::announced_length(&good).expect("it is compressed") as u64;
        let (count, bytes, reason) = judged(&rules, &good, now);
        assert_eq!(reason, None);
        assert!(count <= 9, "{count} allocations for {transactions} transactions");
        // The groups of the transactions' trie have 60 bytes for 16 transactions; a header has one kilobyte.
        let most = size + 4096 + 8 * transactions as u64;
        assert!(bytes <= most, "{bytes} bytes for a message of {size}");

        let (count, bytes, reason) = judged(&rules, &message(&stranger, &block), now);
        assert_eq!(reason, Some(Reason::WrongSigner));
        assert!(count <= 4, "{count} allocations for a forged block");
        assert!(bytes <= size + 1024, "{bytes} bytes for a forged message of {size}");
    }
}
