//! Cost of a validation: the same messages and the same loop for native code and for WebAssembly.
//!
//! Only built with the feature `bench`, which is not part of the package. The core's benchmark
//! `browser` uses this file too, natively.

use alloy_primitives::{B256, Bytes};
use opp2p_core::chain::{ChainConfig, Fork};
use opp2p_core::fixtures;
use opp2p_core::gossip::{Reason, Rules, Signers, Unpacked, block_topic, validate};
use opp2p_core::payload::{Envelope, ExecutionPayload, PayloadVersion, snappy};
use opp2p_core::sequencer::LocalSigner;
use std::hint::black_box;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen::{JsError, prelude::wasm_bindgen};

/// Chain id that the messages are signed for.
pub const CHAIN_ID: u64 = 10;

/// Time at which they are judged, in seconds since 1970.
pub const NOW: u64 = 1_750_000_000;

/// Transactions and decompressed bytes of each message, as in the core's benchmark.
pub const SIZES: [(usize, usize); 3] = [(10, 2_600), (200, 61_000), (2000, 1_000_000)];

const VERSION: PayloadVersion = PayloadVersion::V4;

fn sequencer() -> LocalSigner {
    LocalSigner::from_bytes(&[7; 32]).expect("a valid key")
}

/// Returns the address that signs the messages, as text.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen(js_name = benchSigner))]
pub fn signer() -> String {
    sequencer().address().to_string()
}

/// Returns a compressed v4 message of the size at this index of [`SIZES`]; a higher index counts as
/// the last.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen(js_name = benchMessage))]
pub fn message(size: usize) -> Vec<u8> {
    let (transactions, bytes) = SIZES[size.min(SIZES.len() - 1)];
    let without = bytes - signed(&envelope(Vec::new())).len() - 4 * transactions;
    snappy::compress(&signed(&envelope(cut(transactions, without))))
}

/// Does all the work of a node between a message's arrival and its verdict, `times` times:
/// decompresses the message, computes its id and validates it.
///
/// # Errors
/// If the message is not accepted.
pub fn validate_often(data: &[u8], times: u32) -> Result<(), Reason> {
    let signer = sequencer().address();
    let chain = ChainConfig::development(CHAIN_ID, B256::ZERO, 0, 2, Fork::Isthmus, signer);
    let rules = Rules::new(&chain, Signers { current: Some(signer), previous: None });
    let topic = block_topic(CHAIN_ID, VERSION);
    for _ in 0..times {
        let message = Unpacked::new(black_box(data));
        black_box(message.message_id(&topic));
        validate(&rules, VERSION, message, NOW)?;
    }
    Ok(())
}

/// [`validate_often`] for JavaScript.
///
/// # Errors
/// If the message is not accepted.
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen(js_name = benchValidate)]
pub fn validate_often_for_js(data: &[u8], times: u32) -> Result<(), JsError> {
    validate_often(data, times).map_err(|reason| JsError::new(&reason.to_string()))
}

fn envelope(transactions: Vec<Bytes>) -> Envelope {
    let root = Some(B256::repeat_byte(0x34));
    let mut payload = ExecutionPayload {
        timestamp: NOW,
        transactions,
        withdrawals: Some(Vec::new()),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        withdrawals_root: Some(B256::repeat_byte(0x5c)),
        ..fixtures::blocks()[0].envelope.payload.clone()
    };
    payload.seal(root).expect("encodes");
    Envelope { parent_beacon_block_root: root, payload }
}

fn signed(envelope: &Envelope) -> Vec<u8> {
    sequencer().sign_block(CHAIN_ID, envelope).expect("encodes").1
}

/// Cuts the bytes of real transactions into `count` pieces of differing length, `total` bytes
/// together.
fn cut(count: usize, total: usize) -> Vec<Bytes> {
    let blocks = fixtures::blocks();
    let real = blocks.iter().flat_map(|block| &block.envelope.payload.transactions);
    let mut stream =
        real.flat_map(|one| one.iter().copied()).collect::<Vec<u8>>().into_iter().cycle();
    let mean = total / count;
    let mut left = total;
    (0..count)
        .map(|index| {
            let length =
                if index + 1 == count { left } else { mean / 2 + (index * 37 % 101) * mean / 100 };
            let length = length.min(left);
            left -= length;
            stream.by_ref().take(length).collect::<Vec<u8>>().into()
        })
        .collect()
}
