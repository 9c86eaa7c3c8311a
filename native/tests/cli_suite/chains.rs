//! `opp2p chains`: the output about built-in networks.

use crate::support::Place;
use opp2p_core::chain::networks;
use serde_json::{Value, json};

#[test]
fn every_built_in_network_is_listed_with_the_date_of_the_table() {
    let place = Place::new();
    let listed = place.run(&["chains"]);
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
    for network in networks::all() {
        let line = listed.stdout.lines().find(|line| line.split(' ').next() == Some(network.slug));
        let line = line.unwrap_or_else(|| panic!("{} is not listed", network.slug));
        assert!(line.contains(&network.chain_id.to_string()), "{line}");
    }
    assert!(listed.stdout.contains("Table of 2026-11-29"), "{}", listed.stdout);
    let shown: Value = serde_json::from_str(&place.run(&["chains", "--json"]).stdout).unwrap();
    assert_eq!(shown["tableDate"], networks::TABLE_DATE);
    assert_eq!(shown["networks"].as_array().map(Vec::len), Some(networks::all().len()));
}

#[test]
fn a_network_is_shown_with_its_forks_and_intervals() {
    let place = Place::new();
    let base = place.run(&["chains", "base"]).stdout;
    for part in [
        "chain id      8453",
        "L1 chain id   1",
        "2 s from genesis on: block 0 at 2023-06-15 00:35:47 UTC (1686789347)",
        "200 ms from denim on: block 53556127 at 2026-11-05 18:00:01 UTC (1793901601)",
        "canyon        2024-01-11 17:00:01 UTC (1704992401)",
        "denim         2026-11-05 18:00:00 UTC (1793901600)",
        "SystemConfig  0x73a79Fab69143498Ed3712e519A88a918e1f4072",
        "table of      2026-11-29",
    ] {
        assert!(base.contains(part), "{part:?} is not in:\n{base}");
    }
    // Id, name and slug select the same network.
    for name in ["8453", "Base", "base-mainnet"] {
        assert_eq!(place.run(&["chains", name]).stdout, base, "{name}");
    }
    let shown: Value =
        serde_json::from_str(&place.run(&["chains", "130", "--json"]).stdout).unwrap();
    assert_eq!((&shown["slug"], &shown["l1ChainId"]), (&json!("unichain-mainnet"), &json!(1)));
    assert_eq!(shown["forks"]["canyon"]["time"], 0);
    assert_eq!(shown["forks"]["karst"]["date"], "2026-07-08 16:00:01 UTC");
    assert_eq!(shown["intervals"][0]["millis"], 1000);
    assert!(shown["bootNodes"].as_u64().is_some_and(|count| count > 0));
    place.run(&["chains", "unichian"]).refused(&["unichian", "unichain-mainnet"]);
}
