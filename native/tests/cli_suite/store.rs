//! `opp2p store`, as a user runs it.

use crate::support::{Outcome, Place};
use alloy_primitives::B256;
use opp2p_core::payload::{Block, Envelope, ExecutionPayload};
use opp2p_store::{Batch, Store, StoreConfig, StoredBlock};
use serde_json::Value;
use std::path::PathBuf;

/// A chain that is built in.
const CHAIN: u64 = 10;

/// Linked blocks 1000 to 1000 + `count` - 1, lowest first.
fn blocks(count: u64, salt: u8) -> Vec<Block> {
    let mut made: Vec<Block> = Vec::new();
    for number in 1000..1000 + count {
        let mut payload = ExecutionPayload {
            parent_hash: made.last().map_or(B256::repeat_byte(salt), Block::hash),
            block_number: number,
            timestamp: 9000 + 3600 * number,
            transactions: vec![vec![number as u8; 500].into()],
            withdrawals: Some(Vec::new()),
            ..ExecutionPayload::default()
        };
        payload.seal(None).unwrap();
        let mut body = Vec::new();
        let envelope = Envelope { parent_beacon_block_root: None, payload };
        let version = envelope.encode(&mut body).unwrap();
        made.push(Block::decode(version, None, body.into()).unwrap());
    }
    made
}

/// Returns the store's file in a data directory.
fn file_of(place: &Place, directory: &str) -> PathBuf {
    place.path(directory).join(CHAIN.to_string()).join("blocks.redb")
}

/// Fills the store of a data directory.
fn fill(place: &Place, directory: &str, blocks: &[Block]) {
    let genesis = opp2p_core::chain::networks::find("10").unwrap().config().genesis.hash;
    let path = file_of(place, directory);
    let store = Store::open(StoreConfig::for_memory(path, CHAIN, genesis)).unwrap();
    let mut batch = Batch::default();
    for block in blocks {
        batch.canonical.push((block.number(), block.hash()));
        batch.blocks.push(StoredBlock::new(block, 0));
    }
    store.commit(&batch).unwrap();
}

fn json(outcome: &Outcome) -> Value {
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn a_store_is_shown_checked_moved_and_pruned() {
    let (place, chain) = (Place::new(), blocks(60, 1));
    fill(&place, "from", &chain);
    let info = json(&place.run(&["store", "info", "--json", "--data-dir", "from"]));
    assert_eq!((&info["blocks"], &info["canonical"]), (&60.into(), &60.into()));
    assert_eq!(info["highest"]["hash"], chain[59].hash().to_string());
    let shown = place.run(&["store", "info", "--data-dir", "from"]);
    assert!(shown.stdout.contains("lowest     1000 0x"), "{shown:#?}");

    let exported = place.run(&["store", "export", "out", "--from", "1010", "--data-dir", "from"]);
    assert_eq!(exported.code, Some(0), "{exported:#?}");
    assert!(exported.stdout.starts_with("50 blocks in "), "{exported:#?}");
    let again = place.run(&["store", "export", "out", "--data-dir", "from"]);
    again.refused(&["out exists", "name another file"]);

    let imported = place.run(&["store", "import", "out", "--data-dir", "to"]);
    assert_eq!(imported.code, Some(0), "{imported:#?}");
    assert!(imported.stdout.starts_with("50 blocks stored and 0 known"), "{imported:#?}");
    assert!(imported.stderr.contains("nothing proves"), "{imported:#?}");
    let hash = chain[59].hash().to_string();
    let again = place.run(&["store", "import", "out", "--hash", &hash, "--data-dir", "to"]);
    assert!(again.stdout.starts_with("0 blocks stored and 50 known"), "{again:#?}");
    assert_eq!(again.stderr, "", "{again:#?}");

    let verified = json(&place.run(&["store", "verify", "--json", "--data-dir", "to"]));
    let found = (&verified["blocks"], &verified["holes"], &verified["defects"]);
    assert_eq!(found, (&50.into(), &0.into(), &0.into()));

    // Of blocks an hour apart, 48 hours keep 49.
    let pruned = place.run(&["store", "prune", "--data-dir", "to"]);
    assert!(pruned.stdout.starts_with("1 blocks removed and 49 kept"), "{pruned:#?}");
    let limits = ["store", "prune", "--store.blocks", "7", "--data-dir", "to"];
    let pruned = place.run(&limits);
    assert!(pruned.stdout.starts_with("42 blocks removed and 7 kept"), "{pruned:#?}");
}

#[test]
fn blocks_flow_from_store_to_store_through_a_file_on_standard_input() {
    let (place, chain) = (Place::new(), blocks(20, 1));
    fill(&place, "from", &chain);
    let exported = place.run(&["store", "export", "file", "--data-dir", "from"]);
    assert_eq!(exported.code, Some(0), "{exported:#?}");
    let file = std::fs::read(place.path("file")).unwrap();
    let imported = place.run_with_input(&["store", "import", "-", "--data-dir", "to"], &file);
    assert!(imported.stdout.starts_with("20 blocks stored"), "{imported:#?}");
}

#[test]
fn a_hole_below_the_blocks_of_a_file_is_reported() {
    let (place, chain) = (Place::new(), blocks(20, 1));
    fill(&place, "from", &chain);
    fill(&place, "to", &chain[..5]);
    let upper = ["store", "export", "upper", "--from", "1010", "--data-dir", "from"];
    assert_eq!(place.run(&upper).code, Some(0));
    let imported = place.run(&["store", "import", "upper", "--data-dir", "to"]);
    assert!(imported.stdout.starts_with("10 blocks stored"), "{imported:#?}");
    assert!(imported.stderr.contains("block 1009 is missing"), "{imported:#?}");
    let verified = json(&place.run(&["store", "verify", "--json", "--data-dir", "to"]));
    assert_eq!((&verified["canonical"], &verified["holes"]), (&15.into(), &1.into()));
    let between = ["store", "export", "between", "--from", "1003", "--to", "1009"];
    assert_eq!(place.run(&[&between[..], &["--data-dir", "from"]].concat()).code, Some(0));
    let imported = place.run(&["store", "import", "between", "--data-dir", "to"]);
    assert_eq!((imported.code, imported.stderr.as_str()), (Some(0), ""), "{imported:#?}");
    let verified = json(&place.run(&["store", "verify", "--json", "--data-dir", "to"]));
    assert_eq!((&verified["canonical"], &verified["holes"]), (&20.into(), &0.into()));
}

#[test]
fn unusable_files_and_stores_are_refused_in_one_sentence() {
    let (place, chain) = (Place::new(), blocks(20, 1));
    fill(&place, "from", &chain);
    fill(&place, "other", &blocks(20, 2));
    let good = place.run(&["store", "export", "good", "--data-dir", "from"]);
    assert_eq!(good.code, Some(0), "{good:#?}");
    let bytes = std::fs::read(place.path("good")).unwrap();
    let import = |name: &str| place.run(&["store", "import", name, "--data-dir", "to"]);

    import("absent").refused(&["can't read absent", "that exists"]);
    place.file("text", "no blocks");
    import("text").refused(&["text can't be imported", "not a file of blocks"]);
    place.file("cut", &bytes[..bytes.len() - 20]);
    import("cut").refused(&["cut can't be imported", "no end", "nothing was stored"]);
    let mut changed = bytes.clone();
    changed[400] ^= 1;
    place.file("changed", &changed);
    import("changed").refused(&["changed can't be imported", "nothing was stored"]);
    let mut chain_of_another = bytes;
    chain_of_another[10..18].copy_from_slice(&7_654_321_u64.to_le_bytes());
    place.file("chain", &chain_of_another);
    import("chain").refused(&["chain 7654321", "--rollup.config"]);

    let branch = place.run(&["store", "import", "good", "--data-dir", "other"]);
    branch.refused(&["not on the store's chain", "nothing was stored"]);
    let kept = json(&place.run(&["store", "verify", "--json", "--data-dir", "other"]));
    assert_eq!((&kept["canonical"], &kept["defects"]), (&20.into(), &0.into()));

    for command in ["info", "verify", "prune"] {
        place.run(&["store", command, "--data-dir", "nowhere"]).refused(&["nowhere"]);
    }
    place.file("damaged/10/blocks.redb", b"redb\x1A\x0A\xA9\x0D\x0A and nothing more");
    place.run(&["store", "info", "--data-dir", "damaged"]).refused(&["damaged"]);
    place.file("foreign/10/blocks.redb", "text");
    place.run(&["store", "info", "--data-dir", "foreign"]).refused(&["not a block store"]);
    let missing = ["store", "export", "new", "--to", "5", "--data-dir", "from"];
    place.run(&missing).refused(&["no block 5", "1019"]);
    assert!(!place.path("new").exists(), "no file remains");
}

#[test]
fn a_damaged_store_is_refused_with_a_remedy_which_salvages_its_blocks() {
    let (place, chain) = (Place::new(), blocks(60, 1));
    fill(&place, "from", &chain);
    let file = file_of(&place, "from");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 600].fill(0x55);
    bytes[64..1024].fill(0x55);
    std::fs::write(&file, &bytes).unwrap();
    let info = place.run(&["store", "info", "--data-dir", "from"]);
    info.refused(&["is damaged", "known peers in it are lost", "with `opp2p store salvage`"]);

    let salvaged = place.run(&["store", "salvage", "--data-dir", "from"]);
    assert_eq!(salvaged.code, Some(0), "{salvaged:#?}");
    assert!(salvaged.stdout.contains(" blocks salvaged, from 1000 to 1059"), "{salvaged:#?}");
    assert!(salvaged.stderr.contains(".damaged now"), "{salvaged:#?}");
    let kept = file.with_file_name("blocks.redb.damaged");
    assert!(std::fs::read(kept).unwrap() == bytes, "the damaged file is kept");
    let verified = json(&place.run(&["store", "verify", "--json", "--data-dir", "from"]));
    assert_eq!(verified["defects"], 0);
    assert!(verified["canonical"].as_u64().unwrap() > 20, "{verified}");

    std::fs::write(&file, [0; 9000]).unwrap();
    let vain = place.run(&["store", "salvage", "--data-dir", "from", "--network", "op-mainnet"]);
    vain.refused(&["no intact block is in", "start the node with an empty store"]);
    assert!(std::fs::read(&file).unwrap() == [0; 9000]);
}
