//! The cost of walks over the pending area, in steps: each block is visited once, even if the path
//! down is needed again and again.

use super::gaps::{Following, no_endpoint};
use super::*;
use crate::sync::{GapFiller, PendingBlock, encode_response};

fn steps(world: &Following) -> usize {
    world.node.filler.as_ref().map_or(0, GapFiller::steps)
}

#[test]
fn a_signed_block_above_a_long_pending_path_costs_a_few_steps() {
    const LENGTH: u64 = 20_000;
    let blocks = chain(V4, 2);
    let hash = |at: u64| B256::left_padding_from(&(at + 1).to_be_bytes());
    let mut top = child(&blocks[1], 0);
    top.payload.block_number += LENGTH + 10;
    let lowest = top.payload.block_number - LENGTH;
    // The path ends above the head, so its lowest block has a missing parent.
    let pending: Vec<PendingBlock> = (0..LENGTH)
        .map(|at| PendingBlock {
            id: BlockId::new(lowest + at, hash(at)),
            parent: if at == 0 { B256::repeat_byte(0xee) } else { hash(at - 1) },
            size: 100,
        })
        .collect();
    top.payload.parent_hash = hash(LENGTH - 1);
    top.payload.seal(top.parent_beacon_block_root).expect("complete");
    let mut world = Following::new(&blocks, |config| config.pending = pending);
    world.hear(&top);
    let first = steps(&world);
    assert!((20_000..20_100).contains(&first), "{first} steps");
    for _ in 0..20 {
        top = child(&top, 0);
        world.hear(&top);
    }
    // The missing block is requested nevertheless.
    let wanted = world.node.sync_status().expect("on").wanted.expect("a block is missing");
    assert_eq!(wanted, BlockId::new(lowest - 1, B256::repeat_byte(0xee)));
    let more = steps(&world) - first;
    assert!(more <= 200, "{more} steps for 20 blocks");
}

#[test]
fn fetching_a_branch_costs_steps_in_proportion_to_its_length() {
    for length in [100, 400] {
        let old = chain(V4, length);
        let base = old[0].payload.block_number;
        let mut new = vec![old[0].clone()];
        for _ in 0..length + 5 {
            new.push(child(new.last().expect("one"), 7));
        }
        let mut world = Following::new(&old, |_| {});
        for block in &old[1..] {
            world.hear(block);
        }
        assert_eq!(world.head(), base + length as u64 - 1);
        // The branch leaves the chain at its first block. Each plan comes closer to it.
        for block in &new[length + 2..] {
            world.hear(block);
        }
        let answer = |number: u64| Ok(encode_response(&decoded(&new[(number - base) as usize])));
        world.pass(300 * SECOND, answer, no_endpoint);
        assert_eq!(world.head(), base + length as u64 + 5);
        assert_eq!((world.skipped.len(), world.blamed()), (0, 0));
        let each = steps(&world) / length;
        assert!(each <= 4, "{each} steps for each of {length} blocks");
    }
}

#[test]
fn a_walk_continues_when_a_block_on_its_path_has_left_the_pending_area() {
    // Branches come and go while their blocks are pending. The end is right each time.
    let old = chain(V4, 40);
    let base = old[0].payload.block_number;
    let mut new = old[..6].to_vec();
    for _ in 0..40 {
        new.push(child(new.last().expect("one"), 7));
    }
    let mut world = Following::new(&old, |config| {
        (config.view.max_blocks, config.view.keep_depth) = (8, 4);
        config.view.gap_patience = Some(600 * SECOND);
    });
    for block in &old[20..30] {
        world.hear(block);
    }
    for block in old[1..6].iter().chain(&old[10..20]).chain(&old[30..36]) {
        world.hear(block);
    }
    for block in &new[37..46] {
        world.hear(block);
    }
    let answer = |number: u64| Ok(encode_response(&decoded(&new[(number - base) as usize])));
    world.pass(120 * SECOND, answer, no_endpoint);
    assert_eq!(world.head(), base + 45);
    assert_eq!((world.skipped.len(), world.blamed()), (0, 0));
}
