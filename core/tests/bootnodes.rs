//! The built-in bootnodes are those of `data/bootnodes.json`.

use opp2p_core::discovery::bootnodes;
use std::collections::{BTreeMap, BTreeSet};

fn data() -> BTreeMap<String, Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/bootnodes.json");
    let text = std::fs::read_to_string(path).expect("the data is in the repository");
    serde_json::from_str(&text).expect("lists by L1")
}

#[test]
fn they_are_those_of_the_data_and_no_other_chain_has_any() {
    let data = data();
    assert_eq!(bootnodes::of_l1(1), data["mainnet"]);
    assert_eq!(bootnodes::of_l1(11_155_111), data["sepolia"]);
    assert_eq!(data.len(), 2);
    for l1 in [0, 17_000, 900] {
        assert!(bootnodes::of_l1(l1).is_empty(), "{l1}");
    }
}

#[test]
fn none_is_there_twice() {
    for list in data().values() {
        assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len());
    }
}
