//! Checks that the built-in boot nodes are those of `data/bootnodes.json`.
#![allow(clippy::disallowed_methods, reason = "it reads a file of the repository")]

use opp2p_core::discovery::bootnodes;
use std::collections::{BTreeMap, BTreeSet};

fn data() -> BTreeMap<String, Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/bootnodes.json");
    let text = std::fs::read_to_string(path).expect("the data is in the repository");
    serde_json::from_str(&text).expect("lists by L1 and by chain id")
}

#[test]
fn each_bootnode_list_matches_the_data_and_no_other_chain_has_one() {
    let mut data = data();
    assert_eq!(bootnodes::of_l1(1), data.remove("mainnet").expect("a list"));
    assert_eq!(bootnodes::of_l1(11_155_111), data.remove("sepolia").expect("a list"));
    for l1 in [0, 17_000, 900] {
        assert!(bootnodes::of_l1(l1).is_empty(), "{l1}");
    }
    for (chain_id, list) in &data {
        let chain_id = chain_id.parse().expect("a chain id");
        assert_eq!(bootnodes::of_operator(chain_id), list);
        let shared = bootnodes::of_l1(1).iter().copied();
        let expected = list.iter().map(String::as_str).chain(shared);
        assert!(bootnodes::of_chain(chain_id, 1).eq(expected));
    }
    let listed: BTreeSet<u64> = data.keys().map(|id| id.parse().expect("a chain id")).collect();
    for network in opp2p_core::chain::networks::all() {
        let has_own = !bootnodes::of_operator(network.chain_id).is_empty();
        assert_eq!(has_own, listed.contains(&network.chain_id), "{}", network.name);
    }
}

#[test]
fn no_list_repeats_a_bootnode() {
    for list in data().values() {
        assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len());
    }
}
