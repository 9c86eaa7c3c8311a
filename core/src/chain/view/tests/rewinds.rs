//! Tests of the branch that the view follows when the sequencer leaves the shown one.
//!
//! The chain of these tests makes a block every two seconds unless a test specifies otherwise. A
//! branch is silent after 8 s, and after 3 s for a reorg of up to two blocks.

use super::*;

fn timed(max_blocks: usize) -> ChainViewConfig {
    ChainViewConfig { interval: Duration::from_secs(2), max_blocks, keep_depth: 1, ..plain() }
}

/// Returns the reported reorgs: ancestor, number of abandoned blocks, number of adopted blocks.
fn reorgs(events: &[ChainEvent<Block>]) -> Vec<(BlockId, usize, usize)> {
    let reorg = |event: &_| match event {
        ChainEvent::Reorg { ancestor, abandoned, adopted } => {
            Some((*ancestor, abandoned.len(), adopted.len()))
        }
        _ => None,
    };
    events.iter().filter_map(reorg).collect()
}

/// Lets the sequencer sign blocks `from..=to` of `B`, one every two seconds, beginning on `A`.
fn sign_other(pair: &mut Pair, from: u64, to: u64) {
    for number in from..=to {
        let parent = if number == from { id(A, from - 1) } else { id(B, number - 1) };
        pair.signed(on(parent, B, number));
        pair.advance(2);
    }
}

#[test]
fn a_higher_branch_is_followed_when_the_shown_one_stays_silent() {
    let mut pair = Pair::with_head(timed(100), 10);
    pair.signed(on(id(A, 9), B, 10));
    assert_eq!(pair.signed(block(B, 11)), Inserted::Competitor);
    assert_eq!(pair.view.next_wakeup(), Some(at(3)));
    pair.advance(2);
    assert_eq!(pair.head(), id(A, 10));
    pair.advance(1);
    assert_eq!(pair.head(), id(B, 11));
}

#[test]
fn a_higher_branch_is_not_followed_while_the_shown_one_grows() {
    let mut pair = Pair::with_head(timed(100), 10);
    pair.signed(on(id(A, 9), B, 10));
    pair.signed(block(B, 11));
    pair.advance(2);
    pair.quietly(block(A, 11));
    pair.advance(60);
    assert_eq!((pair.head(), pair.follower.reorgs), (id(A, 11), 0));
}

#[test]
fn a_deeper_reorg_waits_longer() {
    let mut pair = Pair::with_head(timed(100), 10);
    pair.signed(on(id(A, 7), B, 8));
    (9..=11).for_each(|number| assert_eq!(pair.signed(block(B, number)), Inserted::Competitor));
    pair.advance(7);
    assert_eq!(pair.head(), id(A, 10));
    pair.advance(1);
    assert_eq!(pair.head(), id(B, 11));
}

#[test]
fn a_sequencer_that_was_rewound_is_followed_to_a_lower_head() {
    for depth in [1, 3, 8, 50, 700] {
        let head = 1000;
        let mut pair = Pair::with_head(timed(10_000), head);
        let first = head - depth + 1;
        sign_other(&mut pair, first, first + 3);
        let events = pair.events();
        if depth > 4 {
            assert_eq!(reorgs(&events), [(id(A, first - 1), depth as usize, 4)], "depth {depth}");
        }
        assert_eq!(pair.head(), id(B, first + 3), "depth {depth}");
        assert_eq!(pair.signed(block(B, first + 4)), Inserted::Extended);
    }
}

#[test]
fn the_ancestor_is_found_below_the_blocks_that_are_held() {
    let mut pair = Pair::with_head(timed(20), 1000);
    assert_eq!(pair.view.window_floor(), Some(id(A, 980)));
    sign_other(&mut pair, 301, 304);
    assert_eq!(reorgs(&pair.events()), [(id(A, 300), 700, 4)]);
    assert_eq!((pair.head(), pair.recent()), (id(B, 304), vec![301, 302, 303, 304]));
    (305..=1100).for_each(|number| pair.quietly(block(B, number)));
}

#[test]
fn two_lower_blocks_are_followed_only_after_a_long_silence() {
    let mut pair = Pair::with_head(timed(100), 10);
    pair.signed(on(id(A, 4), B, 5));
    pair.signed(block(B, 6));
    pair.advance(31);
    assert_eq!(pair.head(), id(A, 10));
    pair.advance(1);
    assert_eq!(pair.head(), id(B, 6));
}

#[test]
fn a_single_lower_block_does_not_move_the_head() {
    let mut pair = Pair::with_head(timed(100), 10);
    pair.signed(on(id(A, 4), B, 5));
    pair.advance(3600);
    assert_eq!(pair.head(), id(A, 10));
    let off = pair.view.off_branch().expect("it was signed after the head");
    assert_eq!((off.highest, off.blocks, off.contended), (id(B, 5), 1, false));
}

#[test]
fn a_burst_of_late_blocks_moves_nothing_while_the_chain_grows() {
    let mut pair = Pair::with_head(timed(100), 10);
    for round in 0..20 {
        pair.advance(2);
        pair.quietly(block(A, 11 + round));
        pair.signed(on(id(A, 4), 0xc0 + round as u8, 5));
        (6..=9).for_each(|number| {
            pair.signed(block(0xc0 + round as u8, number));
        });
    }
    assert_eq!((pair.head(), pair.follower.reorgs), (id(A, 30), 0));
}

#[test]
fn a_block_that_was_lost_does_not_hide_a_rewind() {
    let mut pair = Pair::with_head(timed(1000), 500);
    pair.signed(on(id(A, 399), B, 400));
    pair.advance(2);
    // Block 401 is lost, so the blocks after it wait.
    for number in 402..=404 {
        assert_eq!(pair.signed(block(B, number)), Inserted::Pending);
        pair.advance(2);
    }
    let gap = pair.gap();
    assert_eq!((gap.wanted, gap.is_fork(), pair.head()), (id(B, 401), true, id(A, 500)));
    assert_eq!(pair.linked(block(B, 401)), Inserted::Reorganised);
    assert_eq!(pair.head(), id(B, 404));
}

#[test]
fn a_rewind_with_lost_blocks_continues_detached() {
    let config = ChainViewConfig { gap_patience: Some(Duration::from_secs(10)), ..timed(1000) };
    let mut pair = Pair::with_head(config, 500);
    for number in 402..=405 {
        pair.signed(block(B, number));
        pair.advance(2);
    }
    assert_eq!(pair.gap().wanted, id(B, 401));
    pair.advance(10);
    let skipped = ChainEvent::Skipped {
        from: id(A, 500),
        to: id(B, 402),
        reason: SkipReason::Patience,
        detached: true,
    };
    assert!(pair.events().contains(&skipped));
    assert_eq!(pair.head(), id(B, 405));
    assert_eq!(pair.view.canonical_hash(300), None, "it may be of the other branch");
}

#[test]
fn a_rewind_below_all_remembered_positions_reanchors() {
    let config = ChainViewConfig { max_remembered: 0, ..timed(20) };
    let mut pair = Pair::with_head(config, 1000);
    for number in 301..=304 {
        assert_eq!(pair.signed(block(B, number)), Inserted::TooOld);
        pair.advance(2);
    }
    assert_eq!(pair.signed(block(B, 305)), Inserted::Reanchored);
    let skipped = ChainEvent::Skipped {
        from: id(A, 1000),
        to: id(B, 305),
        reason: SkipReason::Unreachable,
        detached: true,
    };
    assert!(pair.events().contains(&skipped));
    pair.quietly(block(B, 306));
}

#[test]
fn late_and_replayed_blocks_of_an_abandoned_branch_move_nothing() {
    let mut pair = Pair::with_head(timed(1000), 100);
    sign_other(&mut pair, 91, 94);
    assert_eq!(pair.head(), id(B, 94));
    pair.events();
    // A replayed block is known. The late blocks are the head of the old branch and blocks above
    // it.
    assert_eq!(pair.signed(block(A, 95)), Inserted::Known);
    for number in 101..=110 {
        pair.signed(block(A, number));
        pair.advance(1);
        if number % 2 == 0 {
            pair.quietly(block(B, 95 + (number - 102) / 2));
        }
    }
    assert_eq!((reorgs(&pair.events()), pair.head()), (vec![], id(B, 99)));
    // The view never returns to the old branch below the head.
    let mut pair = Pair::with_head(timed(1000), 100);
    sign_other(&mut pair, 91, 106);
    for number in 101..=105 {
        pair.signed(block(A, number));
        pair.advance(60);
    }
    assert_eq!(pair.head(), id(B, 106));
}

#[test]
fn a_gap_below_replayed_blocks_is_not_skipped_while_the_chain_grows() {
    let config = ChainViewConfig { gap_patience: Some(Duration::from_secs(5)), ..timed(1000) };
    let mut pair = Pair::with_head(config, 100);
    sign_other(&mut pair, 61, 64);
    assert_eq!(pair.head(), id(B, 64));
    // Blocks of the branch that was left, above a block that never arrived.
    (102..=105).for_each(|number| assert_eq!(pair.signed(block(A, number)), Inserted::Pending));
    for number in 65..=104 {
        pair.quietly(block(B, number));
        pair.advance(2);
        assert_eq!(pair.head(), id(B, number));
    }
    assert!(pair.follower.skips.is_empty());
}

#[test]
fn a_sequencer_that_returns_to_a_branch_is_followed_once_it_is_higher() {
    let mut pair = Pair::with_head(timed(1000), 100);
    sign_other(&mut pair, 100, 104);
    assert_eq!(pair.head(), id(B, 104));
    (101..=104).for_each(|number| assert_eq!(pair.signed(block(A, number)), Inserted::Competitor));
    pair.advance(600);
    assert_eq!(pair.head(), id(B, 104));
    pair.signed(block(A, 105));
    pair.advance(0);
    assert_eq!(pair.head(), id(A, 105));
}

#[test]
fn two_active_sequencers_are_reported_without_flapping_the_head() {
    let mut pair = Pair::with_head(timed(1000), 10);
    for number in 11..=60 {
        let parent = if number == 11 { id(A, 10) } else { id(B, number - 1) };
        pair.signed(block(A, number));
        pair.advance(1);
        pair.signed(on(parent, B, number));
        pair.advance(1);
    }
    let contended = |event: &&ChainEvent<Block>| matches!(event, ChainEvent::Contended { .. });
    let events = pair.events();
    assert_eq!(events.iter().filter(contended).count(), 1);
    assert_eq!((reorgs(&events), pair.head()), (vec![], id(A, 60)));
    assert!(pair.view.off_branch().is_some_and(|off| off.contended));
    // One of them stops.
    for number in 61..=70 {
        pair.signed(block(B, number));
        pair.advance(2);
    }
    assert_eq!((pair.follower.reorgs, pair.head()), (1, id(B, 70)));
}

#[test]
fn with_200_ms_blocks_a_branch_is_silent_after_three_seconds() {
    let interval = Duration::from_millis(200);
    let mut pair = Pair::with_head(ChainViewConfig { interval, ..timed(5000) }, 3000);
    pair.signed(on(id(A, 999), B, 1000));
    (1001..=1010)
        .for_each(|number| assert_eq!(pair.signed(block(B, number)), Inserted::Competitor));
    pair.advance(2);
    pair.signed(block(B, 1011));
    assert_eq!(pair.head(), id(A, 3000));
    pair.advance(1);
    assert_eq!(pair.head(), id(B, 1011));
}

#[test]
fn a_fully_fetched_branch_takes_over_at_once_and_is_delivered_in_order() {
    let mut pair = Pair::with_head(timed(8), 1000);
    // The sequencer was rewound to 500 and by now signs above the head.
    pair.advance(60);
    assert_eq!(pair.signed(block(B, 1005)), Inserted::Pending);
    let path: Vec<_> = (501..=1004).map(|number| id(B, number)).collect();
    assert_eq!(pair.view.begin_reorg(at(pair.now), id(A, 500), &path), Ok(()));
    let events: Vec<_> = std::iter::from_fn(|| pair.view.poll_event()).collect();
    assert_eq!(reorgs(&events), [(id(A, 500), 500, 505)]);
    assert_eq!(pair.head(), id(A, 500));
    for number in 501..=1004 {
        let parent = if number == 501 { id(A, 500) } else { id(B, number - 1) };
        let inserted = pair.view.insert(at(pair.now), on(parent, B, number), Origin::Linked);
        assert_eq!(inserted, Inserted::Extended);
    }
    assert_eq!(pair.head(), id(B, 1005));
}

#[test]
fn a_fully_fetched_branch_waits_until_the_shown_one_is_silent() {
    let mut pair = Pair::with_head(timed(100), 100);
    pair.advance(60);
    pair.quietly(block(A, 101));
    pair.signed(block(B, 105));
    let path: Vec<_> = (51..=104).map(|number| id(B, number)).collect();
    assert_eq!(pair.view.begin_reorg(at(pair.now), id(A, 50), &path), Err(at(pair.now + 8)));
    assert_eq!(pair.view.begin_reorg(at(pair.now + 8), id(A, 50), &path), Ok(()));
}

#[test]
fn a_resumed_view_knows_the_given_positions() {
    let stored = (91..=100).rev().map(|number| block(A, number));
    // Positions 41 to 49 were skipped in the previous run.
    let remembered = (0..=90).rev().filter(|n| !(41..50).contains(n)).map(|number| id(A, number));
    let mut view = ChainView::resume(at(0), timed(100), id(A, 100), stored, remembered);
    assert_eq!((view.floor(), view.window_floor()), (Some(id(A, 0)), Some(id(A, 90))));
    assert_eq!((view.canonical_hash(40), view.canonical_hash(45)), (Some(id(A, 40).hash), None));
    for number in 31..=34 {
        let parent = if number == 31 { id(A, 30) } else { id(B, number - 1) };
        view.insert(at(2 * number - 62), on(parent, B, number), Origin::Signed);
        while view.poll_event().is_some() {}
    }
    view.handle_timeout(at(8));
    let ancestor = std::iter::from_fn(|| view.poll_event()).find_map(|event| match event {
        ChainEvent::Reorg { ancestor, abandoned, .. } => Some((ancestor, abandoned.len())),
        _ => None,
    });
    assert_eq!((ancestor, view.head()), (Some((id(A, 30), 61)), Some(id(B, 34))));
}

#[test]
fn a_reorg_can_go_below_skipped_positions() {
    let mut pair =
        Pair::with_head(ChainViewConfig { interval: at(2).since(at(0)), ..patient(10) }, 100);
    pair.signed(block(A, 110));
    pair.advance(10);
    assert_eq!(pair.head(), id(A, 110));
    (111..=120).for_each(|number| pair.quietly(block(A, number)));
    pair.events();
    sign_other(&mut pair, 96, 99);
    // Skipped blocks were never delivered.
    assert_eq!(reorgs(&pair.events()), [(id(A, 95), 5 + 11, 4)]);
    assert_eq!(pair.head(), id(B, 99));
}

#[test]
fn the_remembered_positions_are_bounded() {
    let mut pair = Pair::with_head(ChainViewConfig { max_remembered: 50, ..timed(10) }, 1000);
    assert_eq!(pair.view.floor(), Some(id(A, 940)));
    assert_eq!(pair.view.canonical_hash(939), None);
    sign_other(&mut pair, 961, 964);
    assert_eq!(reorgs(&pair.events()), [(id(A, 960), 40, 4)]);
}
