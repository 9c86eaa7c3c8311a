//! The fields of a `rollup.json`, to report the ones that have no effect.
//!
//! op-node refuses a file with an unknown field. This program accepts it, since files of other
//! software have additional fields, but reports each.

use super::settings::distance;
use opp2p_core::chain::Fork;
use serde_json::Value;

/// Fields at the top level besides the forks' times: those of op-node, and those that op-node had
/// before.
const KNOWN: [&str; 20] = [
    "genesis",
    "block_time",
    "max_sequencer_drift",
    "seq_window_size",
    "channel_timeout",
    "l1_chain_id",
    "l2_chain_id",
    "regolith_time",
    "pectra_blob_schedule_time",
    "batch_inbox_address",
    "deposit_contract_address",
    "l1_system_config_address",
    "protocol_versions_address",
    "chain_op_config",
    "alt_da",
    "da_challenge_contract_address",
    "da_challenge_window",
    "da_resolve_window",
    "use_plasma",
    "interop_message_expiry_window",
];
/// Maximum number of fields to report; the operator corrects a file in several rounds if need be.
const MOST: usize = 8;
/// Maximum length of a reported name in characters.
const LONGEST: usize = 40;

/// Tells of each field without effect, in half a sentence. A whole number called `*_time` is the
/// time of an unknown fork, which the node itself reports.
pub(super) fn report_unknown(text: &str, tell: &dyn Fn(&str)) {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else { return };
    let known = || KNOWN.into_iter().chain(Fork::ALL.into_iter().map(Fork::field));
    let unknown = fields.iter().filter(|(name, value)| {
        let is_fork = name.ends_with("_time") && (value.is_u64() || value.is_null());
        !is_fork && !known().any(|known| known == name.as_str())
    });
    for (name, _) in unknown.take(MOST) {
        let shown: String = name.escape_debug().take(LONGEST).collect();
        let nearest = known().map(|known| (distance(known, name), known)).min();
        let meant = nearest.filter(|(distance, known)| *distance <= known.len() / 4);
        tell(&match meant {
            Some((_, meant)) => {
                format!(
                    "the field {shown} is not known and has no effect: if {meant} is meant, \
                     correct it"
                )
            }
            None if name.ends_with("_time") => {
                format!("the field {shown} is not a whole number and has no effect")
            }
            None => format!("the field {shown} is not known and has no effect"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::cell::RefCell;

    fn told(file: &Value) -> Vec<String> {
        let told = RefCell::new(Vec::new());
        report_unknown(&file.to_string(), &|what| told.borrow_mut().push(what.to_owned()));
        let mut told = told.into_inner();
        told.sort();
        told
    }

    #[test]
    fn a_misspelt_field_is_reported_with_the_likely_one() {
        let found = told(&json!({ "l1_system_config_adress": "0x", "isthmus_tme": 5 }));
        let sentence = |field: &str, meant: &str| {
            format!(
                "the field {field} is not known and has no effect: if {meant} is meant, correct it"
            )
        };
        assert_eq!(
            found,
            [
                sentence("isthmus_tme", "isthmus_time"),
                sentence("l1_system_config_adress", "l1_system_config_address")
            ]
        );
    }

    #[test]
    fn a_non_numeric_fork_time_and_an_unknown_field_are_reported() {
        let found = told(&json!({ "atlas_time": "0x5", "our_notes": [1], "x\n\u{1b}": 1 }));
        assert_eq!(
            found,
            [
                "the field atlas_time is not a whole number and has no effect",
                "the field our_notes is not known and has no effect",
                "the field x\\n\\u{1b} is not known and has no effect",
            ]
        );
        let many: serde_json::Map<_, _> =
            (0..100).map(|number| (format!("field of ours {number}"), json!(1))).collect();
        assert_eq!(told(&Value::Object(many)).len(), MOST);
    }

    #[test]
    fn known_fields_and_future_fork_times_are_not_reported_here() {
        let mut file: serde_json::Map<_, _> =
            KNOWN.iter().map(|name| ((*name).to_owned(), json!(1))).collect();
        file.extend(Fork::ALL.into_iter().map(|fork| (fork.field().to_owned(), json!(1))));
        file.extend([("interop_time".to_owned(), json!(null)), ("atlas_time".into(), json!(5))]);
        assert_eq!(told(&Value::Object(file)), [""; 0]);
    }
}
