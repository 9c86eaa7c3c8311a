//! L1 blocks by label, as answered by a JSON-RPC node to `eth_getBlockByNumber`.

use super::{Answer, L1Error, Refusal, head_of, shortened};
use alloy_primitives::{B256, U64};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// Method of the requests.
const METHOD: &str = "eth_getBlockByNumber";

/// An L1 node's description of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L1Block {
    /// Hash of the block.
    pub hash: B256,
    /// Number of the block.
    #[serde(deserialize_with = "quantity")]
    pub number: u64,
    /// Hash of its parent.
    pub parent_hash: B256,
    /// Timestamp in Unix seconds.
    #[serde(deserialize_with = "quantity")]
    pub timestamp: u64,
}

fn quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    U64::deserialize(deserializer).map(|number| number.to())
}

impl L1Block {
    /// Returns the request body for the block with this label: `latest`, `safe` or `finalized`.
    pub fn request(label: &str) -> String {
        json!({ "jsonrpc": "2.0", "id": 1, "method": METHOD, "params": [label, false] }).to_string()
    }

    /// Parses the answer. Returns `None` if the node has no such block, for example before the
    /// first block is finalized.
    ///
    /// # Errors
    /// If the node answered with an error, or the answer does not fit the request.
    pub fn from_answer(body: &[u8]) -> Result<Option<Self>, L1Error> {
        let nonsense =
            |found: &str| L1Error::InvalidResponse { method: METHOD, found: shortened(found) };
        let answer =
            Answer::read(body).ok_or_else(|| nonsense(&String::from_utf8_lossy(head_of(body))))?;
        if let Some(Refusal { code, message, .. }) = answer.error {
            return Err(L1Error::Refused { method: METHOD, code, message: shortened(&message) });
        }
        match answer.result {
            Value::Null => Ok(None),
            result => {
                let text = result.to_string();
                serde_json::from_value(result).map_err(|_| nonsense(&text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &serde_json::Value) -> Result<Option<L1Block>, L1Error> {
        L1Block::from_answer(answer.to_string().as_bytes())
    }

    #[test]
    fn a_block_is_read_from_its_answer() {
        let request: serde_json::Value =
            serde_json::from_str(&L1Block::request("finalized")).expect("JSON");
        assert_eq!(request["params"], json!(["finalized", false]));
        let (hash, parent_hash) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let block = json!({
            "hash": hash, "number": "0x10", "parentHash": parent_hash, "timestamp": "0x6553f100",
            "miner": "0x00", "transactions": [],
        });
        let expected = L1Block { hash, number: 16, parent_hash, timestamp: 0x6553_f100 };
        assert_eq!(read(&json!({ "id": 1, "result": block })), Ok(Some(expected)));
    }

    #[test]
    fn answers_that_are_not_blocks_are_distinguished() {
        assert_eq!(read(&json!({ "id": 1, "result": null })), Ok(None));
        let refused = json!({ "error": { "code": -32601, "message": "no" } });
        assert!(matches!(read(&refused), Err(L1Error::Refused { code: -32601, .. })));
        for wrong in [json!({ "result": {} }), json!({ "result": "0x1" }), json!([])] {
            assert!(matches!(read(&wrong), Err(L1Error::InvalidResponse { .. })), "{wrong}");
        }
        assert!(matches!(L1Block::from_answer(b"<html>"), Err(L1Error::InvalidResponse { .. })));
    }
}
