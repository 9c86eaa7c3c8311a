//! Validation of gossip messages, and the list of seen blocks.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use alloy_primitives::{B256, Bytes};
use arbitrary::{Result, Unstructured};
use opp2p_core::fixtures;
use opp2p_core::gossip::{
    BLOCKS_PER_HEIGHT, MAX_MESSAGE_SIZE, Reason, Rules, SIGNATURE_SIZE, SeenBlocks, Signers,
    Unpacked, block_topic, inspect, validate,
};
use opp2p_core::payload::{Block, ExecutionPayload, PayloadVersion, snappy};

use crate::material::{NOW, any_version, block, body, key, play, rules, sequencer, signed_by};

/// Contents of a real message, and rules by which it is valid.
struct Real {
    rules: Rules,
    now: u64,
    contents: Bytes,
}

/// For each version: the message of the fixtures if there is one, else one of ours.
static REAL: LazyLock<[Real; 4]> = LazyLock::new(|| {
    PayloadVersion::ALL.map(|version| {
        let found = fixtures::messages().into_iter().find(|message| message.version == version);
        let Some(found) = found else { return ours(version) };
        let signers = Signers { current: Some(found.signer), previous: None };
        let rules = Rules { chain_id: found.chain_id, signers, ..rules(version) };
        let contents = Unpacked::new(&found.data).into_contents().expect("a real message");
        Real { rules, now: found.timestamp, contents }
    })
});

fn ours(version: PayloadVersion) -> Real {
    let contents = signed_by(&sequencer(), &body(&block(version)));
    Real { rules: rules(version), now: NOW, contents: contents.into() }
}

/// Input: one byte for the topic and the choice of rules, then the data field.
pub(crate) fn message(bytes: &[u8]) {
    let Some((first, data)) = bytes.split_first() else { return };
    let version = PayloadVersion::ALL[usize::from(*first) % 4];
    let ours = ours(version);
    let Real { rules, now, contents: known } =
        if first & 4 == 0 { &REAL[version.index()] } else { &ours };
    let unpacked = Unpacked::new(data);
    assert!(unpacked.size() <= MAX_MESSAGE_SIZE.max(data.len()));
    let topic = block_topic(rules.chain_id, version);
    let id = unpacked.message_id(&topic);
    let contents = unpacked.clone().into_contents();
    let verdict = validate(rules, version, unpacked, *now);
    let inspection = inspect(rules, version, data, *now);
    assert_eq!(inspection.reason, verdict.as_ref().err().copied());
    assert_eq!(inspection.message_id, id);
    if let Ok(verified) = verdict {
        // The inputs do not contain the sequencer's key: only blocks that it signed before can be
        // accepted.
        let contents = contents.expect("it was accepted");
        assert_eq!(
            contents[SIGNATURE_SIZE..],
            known[SIGNATURE_SIZE..],
            "a forged message is accepted"
        );
        assert_eq!(Some(verified.signer), rules.signers.current);
    }
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let real = fixtures::messages().into_iter().filter(|message| message.data.len() < 3000);
    let real = real.map(|message| [&[message.version.index() as u8][..], &message.data].concat());
    let ours = PayloadVersion::ALL.map(|version| {
        let data = snappy::compress(&signed_by(&sequencer(), &body(&block(version))));
        [&[version.index() as u8 + 4][..], &data].concat()
    });
    real.chain(ours)
        .chain([vec![0, 0], vec![3, 0x80, 0x80, 0x80, 0x05, 0, 0], vec![4, 0xff]])
        .collect()
}

/// Changes a field.
fn change(payload: &mut ExecutionPayload, from: &mut Unstructured<'_>) -> Result<()> {
    match from.int_in_range(0..=11)? {
        0 => payload.block_number = from.arbitrary()?,
        1 => payload.timestamp = NOW.wrapping_add_signed(from.int_in_range(-80..=20)?),
        2 => payload.timestamp = from.arbitrary()?,
        3 => payload.gas_limit = from.arbitrary()?,
        4 => payload.extra_data = from.arbitrary::<Vec<u8>>()?.into(),
        5 => payload.transactions.push(from.arbitrary::<Vec<u8>>()?.into()),
        6 => payload.transactions.clear(),
        7 if payload.blob_gas_used.is_some() => {
            payload.blob_gas_used = Some(from.arbitrary()?);
        }
        8 if payload.excess_blob_gas.is_some() => {
            payload.excess_blob_gas = Some(from.arbitrary()?);
        }
        9 => {
            payload.logs_bloom.0[usize::from(from.arbitrary::<u8>()?)] = from.arbitrary()?;
        }
        10 if payload.withdrawals.is_some() => {
            payload.withdrawals = Some(vec![Default::default()]);
        }
        _ => payload.parent_hash = B256::from(from.arbitrary::<[u8; 32]>()?),
    }
    Ok(())
}

/// Changes a valid block, recomputes its hash or not, and signs it.
pub(crate) fn signed_block(bytes: &[u8]) {
    play(bytes, |from| {
        let version = any_version(from)?;
        let topic = if from.ratio(1, 8)? { any_version(from)? } else { version };
        let mut envelope = block(version);
        // A change may restore the old value, so the bytes are compared.
        let good = body(&envelope);
        while !from.is_empty() && from.ratio(3, 4)? {
            change(&mut envelope.payload, from)?;
        }
        let seal = from.ratio(7, 8)?;
        let sealed = seal && envelope.payload.seal(envelope.parent_beacon_block_root).is_ok();
        let mut body = Vec::new();
        if envelope.encode(&mut body).is_err() {
            return Ok(());
        }
        // Then the bytes themselves are changed: offsets, lengths, and everything that the fields
        // can't express.
        while !from.is_empty() && from.ratio(1, 3)? {
            let at = from.choose_index(body.len().max(1))?;
            match from.int_in_range(0..=2)? {
                0 if at < body.len() => body[at] = from.arbitrary()?,
                1 => body.truncate(at),
                _ => body.insert(at.min(body.len()), from.arbitrary()?),
            }
        }
        let signer = if from.ratio(1, 16)? { key(8) } else { sequencer() };
        let contents = signed_by(&signer, &body);
        let verdict = validate(&rules(topic), topic, Unpacked::from_contents(&contents), NOW);
        match verdict {
            Ok(verified) => {
                assert_eq!(verified.signer, sequencer().address());
                assert_eq!(topic, version, "accepted on another version's topic");
                let block = &verified.block;
                assert!(block.has_true_hash());
                assert!((NOW - 60..=NOW + 5).contains(&block.timestamp()));
                assert!(block.payload().withdrawal_count().unwrap_or(0) == 0);
                assert_eq!(block.payload().excess_blob_gas().unwrap_or(0), 0);
                assert_eq!(block.payload().blob_gas_used().unwrap_or(0), 0);
                assert!(block.payload().extra_data().len() <= 32);
                let mut again = Vec::new();
                block.to_envelope().encode(&mut again).expect("it was decoded");
                assert_eq!(again, body, "two encodings of one block");
                // Every byte is covered by the hash, an offset, or a field that must be zero.
                assert!(sealed || body == good, "accepted with another block's hash");
            }
            Err(reason) => {
                let is_good = body == good && topic == version;
                assert!(
                    !is_good || signer.address() != sequencer().address(),
                    "refused for {reason:?}"
                );
                if let Ok(block) = Block::decode(topic, None, body.into())
                    && reason == Reason::BlockHash
                {
                    assert!(!block.has_true_hash());
                }
            }
        }
        Ok(())
    });
}

pub(crate) fn signed_block_seeds() -> Vec<Vec<u8>> {
    (0..4).map(|version| [vec![version; 8], vec![0; 40]].concat()).collect()
}

/// Compares the list with a plain map, for a small set of heights and hashes. They are too few to
/// reach the limit on heights.
pub(crate) fn seen_blocks(bytes: &[u8]) {
    let mut naive: BTreeMap<(PayloadVersion, u64), Vec<B256>> = BTreeMap::new();
    let mut seen = SeenBlocks::default();
    play(bytes, |from| {
        while !from.is_empty() {
            let topic = any_version(from)?;
            let number = u64::from(from.int_in_range::<u8>(0..=20)?);
            let hash = B256::with_last_byte(from.int_in_range(0..=9)?);
            let held = naive.entry((topic, number)).or_default();
            let expected = if held.len() >= BLOCKS_PER_HEIGHT {
                Err(Reason::TooManyBlocks)
            } else if held.contains(&hash) {
                Err(Reason::AlreadySeen)
            } else {
                held.push(hash);
                Ok(())
            };
            assert_eq!(seen.admit(topic, number, hash), expected);
        }
        Ok(())
    });
}
