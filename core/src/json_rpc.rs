//! Envelope of a JSON-RPC 2.0 response, for all clients of an endpoint.
//!
//! It keeps everything that the endpoint sent, so the reader must bound the size of the response.

use serde::Deserialize;
use serde_json::Value;

/// A response: a result or an error. A missing result is parsed as null.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The result, or null if it is absent.
    #[serde(default)]
    pub result: Value,
    /// The endpoint's error if the call failed.
    #[serde(default)]
    pub error: Option<Refusal>,
}

impl Answer {
    /// Parses a response. Returns `None` if the bytes are not a JSON object with these fields.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        // A derived parser would accept an array as the fields in order, and an empty array as a
        // null result.
        let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
        if is_object { serde_json::from_slice(bytes).ok() } else { None }
    }
}

/// The `error` object of a response.
#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    /// Error code, or 0 if it is missing.
    #[serde(default)]
    pub code: i64,
    /// Complete error message, including any control characters, or an empty string if it is
    /// missing.
    #[serde(default)]
    pub message: String,
    /// Further data, or null if it is missing: the returned bytes of a reverted call, for example.
    #[serde(default)]
    pub data: Value,
}

/// Shortens foreign text to one line of at most 200 characters. An ellipsis marks the cut.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    let line: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() { format!("{line}…") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_json_object_is_an_answer() {
        let answer = Answer::read(b" \n{\"id\":1,\"result\":\"0x1\"}").expect("it is an object");
        assert_eq!((answer.result, answer.error.is_none()), (json!("0x1"), true));
        let refused = Answer::read(br#"{"error":{"code":-32601}}"#).expect("it is an object");
        let refusal = refused.error.expect("it has an error");
        assert_eq!((refused.result, refusal.code, &*refusal.message), (Value::Null, -32601, ""));
        assert_eq!(refusal.data, Value::Null);
        let reverted = Answer::read(br#"{"error":{"code":3,"data":"0x08c379a0"}}"#);
        let data = reverted.and_then(|answer| answer.error).map(|refusal| refusal.data);
        assert_eq!(data, Some(json!("0x08c379a0")));
        for other in ["", " ", "[]", "[null]", r#"["0x1",null]"#, "null", "1", "{", "<html>"] {
            assert!(Answer::read(other.as_bytes()).is_none(), "{other:?}");
        }
    }
}
