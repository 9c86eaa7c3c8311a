//! Tests of the proofs: true answers, and each part of each answer changed.

mod account;
pub(in crate::proof) mod builder;
pub(in crate::proof) mod fees;
mod header;
mod receipts;
mod trie;

use serde_json::Value;

/// Returns the answer with one leaf changed, for each leaf: the path of the leaf, and the lie.
///
/// The last digit of a text, the value of a boolean and the length of a list are changed.
pub(in crate::proof) fn lies(answer: &Value) -> Vec<(String, Value)> {
    let mut lies = Vec::new();
    collect(answer, answer, "", &mut lies);
    assert!(!lies.is_empty());
    lies
}

fn collect(whole: &Value, part: &Value, pointer: &str, lies: &mut Vec<(String, Value)>) {
    let mut lie = |changed: Value| {
        let mut whole = whole.clone();
        *whole.pointer_mut(pointer).expect("a part") = changed;
        lies.push((pointer.to_owned(), whole));
    };
    match part {
        Value::String(text) => {
            let (rest, last) = text.split_at(text.len() - 1);
            match last.chars().next().expect("not empty").to_digit(16) {
                Some(digit) => lie(Value::String(format!("{rest}{:x}", digit ^ 1))),
                None => lie(Value::String(format!("{text}00"))),
            }
        }
        Value::Bool(value) => lie(Value::Bool(!value)),
        Value::Array(items) => {
            if !items.is_empty() {
                lie(Value::Array(items[1..].to_vec()));
            }
            lie(Value::Array(items.iter().chain(&[Value::Null]).cloned().collect()));
            for (index, item) in items.iter().enumerate() {
                collect(whole, item, &format!("{pointer}/{index}"), lies);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                collect(whole, field, &format!("{pointer}/{name}"), lies);
            }
        }
        Value::Null | Value::Number(_) => {}
    }
}
