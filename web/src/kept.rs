//! The newest block of an earlier visit, which gives the page a head at once.
//!
//! The page's storage is not trusted: the block is verified as a gossiped one, except for its age.

use opp2p_core::gossip::{Rules, SIGNATURE_SIZE, Unpacked, validate};
use opp2p_core::payload::{Block, PayloadVersion, snappy};

/// Parses and verifies a kept block: a byte with the version of its topic, the sequencer's
/// signature, the parent beacon block root if the version has one, and the payload. Returns `None`
/// if it breaks a rule of gossip, for example after a change of the signer.
pub(crate) fn read(rules: &Rules, bytes: &[u8]) -> Option<Block> {
    let (version, contents) = bytes.split_first()?;
    let version = PayloadVersion::from_number(*version)?;
    let body = contents.get(SIGNATURE_SIZE..)?.to_vec();
    // Its own timestamp as the current time disables the rules about its age.
    let now = Block::decode(version, None, body.into()).ok()?.timestamp();
    let message = Unpacked::new(&snappy::compress(contents));
    validate(rules, version, message, now).ok().map(|verified| verified.block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opp2p_core::chain::ChainConfig;
    use opp2p_core::fixtures;
    use opp2p_core::gossip::Signers;

    const CHAIN: &str = r#"{
        "genesis": {
            "l2": {
                "hash": "0x0100000000000000000000000000000000000000000000000000000000000000",
                "number": 0
            },
            "l2_time": 0
        },
        "block_time": 2, "l1_chain_id": 1, "l2_chain_id": 100,
        "canyon_time": 0, "delta_time": 0, "ecotone_time": 0
    }"#;

    #[test]
    fn a_kept_block_is_taken_with_its_signature_and_a_changed_one_refused() {
        let chain = ChainConfig::from_rollup_json(CHAIN).unwrap();
        for message in fixtures::messages() {
            let contents = Unpacked::new(&message.data).into_contents().unwrap();
            let kept = [&[message.version.number()], &contents[..]].concat();
            let signed_by =
                |signer| Rules::new(&chain, Signers { current: Some(signer), previous: None });
            let rules = signed_by(message.signer);
            let block = read(&rules, &kept).expect("it is as it was");
            assert_eq!(block.timestamp(), message.timestamp);
            assert!(block.signature().is_some());
            assert!(read(&signed_by([9; 20].into()), &kept).is_none(), "another signer");
            for position in [0, 1, 70, kept.len() - 1] {
                let mut changed = kept.clone();
                changed[position] ^= 1;
                assert!(read(&rules, &changed).is_none(), "byte {position}");
            }
            for length in [0, 1, 40, 66, kept.len() - 1] {
                assert!(read(&rules, &kept[..length]).is_none(), "{length} bytes");
            }
        }
    }
}
