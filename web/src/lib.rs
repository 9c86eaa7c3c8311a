//! opp2p in the browser.
//!
//! What a page has today is the judge: [`inspect_message`] runs every rule of the network over one
//! gossip message, in the page, by the same code as the native node. The observer that joins the
//! network by itself is built on the same core and on `opp2p`'s wiring, which both compile for
//! this target.

use alloy_primitives::Address;
use opp2p_core::chain::{ChainConfig, networks};
use opp2p_core::gossip::{Rules, Signers, TIMESTAMP_THRESHOLD, inspect};
use opp2p_core::payload::PayloadVersion;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

/// Judges one captured gossip message and answers what it is, as the JSON text that
/// `opp2p inspect --json` prints.
///
/// `chain` is a built-in network (name, slug or chain id) or the text of a `rollup.json`;
/// `topic` is 1 to 4; `now` counts in seconds since 1970, as `Date.now() / 1000` does; `signer`
/// takes the place of the chain's own where it is given.
///
/// # Errors
/// A chain, topic or signer that is none, in one sentence.
#[wasm_bindgen(js_name = inspectMessage)]
pub fn inspect_message(
    chain: &str,
    topic: u8,
    message: &[u8],
    now: f64,
    signer: Option<String>,
) -> Result<String, JsError> {
    judge(chain, topic, message, now, signer).map_err(|sentence| JsError::new(&sentence))
}

fn judge(chain: &str, topic: u8, message: &[u8], now: f64, signer: Option<String>) -> Result<String, String> {
    let config = if chain.trim_start().starts_with('{') {
        ChainConfig::from_rollup_json(chain).map_err(|error| error.to_string())?
    } else {
        networks::find(chain).map_err(|error| error.to_string())?.config()
    };
    let version =
        PayloadVersion::from_number(topic).ok_or_else(|| format!("{topic} is no topic: use 1, 2, 3 or 4"))?;
    let given = signer.map(|text| text.parse().map_err(|_| format!("{text:?} is no address"))).transpose()?;
    let signer: Option<Address> = given.or(config.unsafe_block_signer);
    // Casting saturates: what is no number or lies before 1970 is zero.
    let now = now as u64;
    let rules = Rules {
        chain_id: config.chain_id,
        forks: config.forks,
        signers: Signers { current: signer.filter(|signer| !signer.is_zero()), previous: None },
        timestamp_threshold: TIMESTAMP_THRESHOLD,
    };
    serde_json::to_string(&inspect(&rules, version, message, now)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::judge;
    use opp2p_core::fixtures;

    const CHAIN: &str = r#"{
        "genesis": { "l2": { "hash": "0x0100000000000000000000000000000000000000000000000000000000000000", "number": 0 }, "l2_time": 0 },
        "block_time": 2, "l1_chain_id": 1, "l2_chain_id": 100,
        "canyon_time": 0, "delta_time": 0, "ecotone_time": 0
    }"#;

    #[test]
    fn the_bundled_messages_are_accepted_as_on_the_command_line() {
        for message in fixtures::messages() {
            let signer = message.signer.to_string();
            let (version, now) = (message.version.number(), message.timestamp as f64 + 0.5);
            let report = judge(CHAIN, version, &message.data, now, Some(signer)).unwrap();
            assert!(report.starts_with(r#"{"verdict":"accept","reason":null,"topic":"v"#), "{report}");
        }
    }

    #[test]
    fn a_message_without_a_known_signer_is_ignored_and_garbage_rejected() {
        let message = &fixtures::messages()[0];
        let report = judge(CHAIN, 1, &message.data, message.timestamp as f64, None).unwrap();
        assert!(report.starts_with(r#"{"verdict":"ignore","reason":"no_signer""#), "{report}");
        let report = judge("base-sepolia", 4, &[0xff; 9], f64::NAN, None).unwrap();
        assert!(report.starts_with(r#"{"verdict":"reject","reason":"snappy_header""#), "{report}");
    }

    #[test]
    fn what_makes_no_sense_is_told_in_a_sentence() {
        for (chain, topic, signer) in
            [("nowhere", 1, None), ("{}", 1, None), ("base", 5, None), ("base", 1, Some("x"))]
        {
            let sentence = judge(chain, topic, &[], 0.0, signer.map(str::to_owned)).unwrap_err();
            assert!(sentence.len() > 10, "{sentence}");
        }
    }
}
