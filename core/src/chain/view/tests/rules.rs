//! Tests of order, competitors, gaps, and blocks that are not signed themselves.

use super::*;

// Order and duplicates.

#[test]
fn the_first_signed_block_anchors_the_view() {
    let mut pair = Pair::new(plain());
    assert_eq!(pair.view.head(), None);
    assert_eq!(pair.view.gap(), None);
    assert_eq!(pair.linked(block(A, 100)), Inserted::Unlinked);
    assert_eq!(pair.signed(block(A, 100)), Inserted::Anchored);
    assert_eq!(pair.events(), [ChainEvent::Extended(block(A, 100))]);
    assert_eq!((pair.view.head(), pair.view.floor()), (Some(id(A, 100)), Some(id(A, 99))));
}

#[test]
fn blocks_in_order_extend_the_head_with_one_event_each() {
    let mut pair = Pair::with_head(plain(), 1);
    for number in 2..10 {
        assert_eq!(pair.signed(block(A, number)), Inserted::Extended);
        assert_eq!(pair.events(), [ChainEvent::Extended(block(A, number))]);
    }
}

#[test]
fn a_held_block_is_known_in_any_state() {
    let mut pair = Pair::with_head(plain(), 5);
    pair.signed(on(id(A, 4), B, 5));
    pair.signed(block(A, 9));
    pair.events();
    for again in [block(A, 5), block(A, 1), on(id(A, 4), B, 5), block(A, 9), block(A, 0)] {
        assert_eq!(pair.signed(again), Inserted::Known);
        assert_eq!(pair.linked(again), Inserted::Known);
    }
    assert_eq!(pair.events(), []);
}

#[test]
fn blocks_below_those_held_are_too_old() {
    let mut pair = Pair::new(plain());
    pair.quietly(block(A, 10));
    pair.events();
    assert_eq!(pair.signed(block(A, 8)), Inserted::TooOld);
    assert_eq!(pair.signed(block(B, 0)), Inserted::TooOld);
    assert_eq!(pair.events(), []);
}

#[test]
fn a_chain_can_start_at_block_zero() {
    let mut pair = Pair::new(plain());
    (0..4).for_each(|number| pair.quietly(block(A, number)));
    assert_eq!(pair.view.floor(), None);
    assert_eq!(pair.signed(block(B, 0)), Inserted::TooOld);
    assert_eq!(pair.view.canonical_hash(0), Some(id(A, 0).hash));
}

#[test]
fn numbers_at_the_end_of_the_range_work_like_any_other() {
    let mut pair = Pair::with_head(ChainViewConfig { max_ahead: u64::MAX, ..patient(10) }, 3);
    assert_eq!(pair.signed(block(B, u64::MAX - 1)), Inserted::Pending);
    assert_eq!(pair.gap().missing, u64::MAX - 5);
    assert_eq!(pair.signed(block(A, 4)), Inserted::Extended);
    assert_eq!(pair.signed(block(A, u64::MAX)), Inserted::Pending);
    pair.advance(11);
    assert_eq!(pair.head(), id(A, u64::MAX));
    // No block follows the highest number. A block with that parent has a lower number.
    let beyond = Block { parent: id(A, u64::MAX).hash, ..block(B, 7) };
    assert_eq!(pair.signed(beyond), Inserted::TooOld);
}

#[test]
fn the_parent_hash_of_block_zero_names_no_block() {
    let mut pair = Pair::with_head(small(4, 1, OnFull::DropLowest), 0);
    pair.quietly(Block { parent: id(B, 5).hash, ..block(A, 0) });
    // The block with that hash is added and removed; block 0 stays.
    assert_eq!(pair.signed(block(B, 5)), Inserted::Pending);
    assert_eq!(pair.signed(on(id(B, 4), 0xc, 5)), Inserted::Pending);
    assert_eq!(pair.signed(block(0xc, 6)), Inserted::Pending);
    assert_eq!(pair.signed(block(0xc, 7)), Inserted::Pending);
    assert_eq!((pair.view.get(&id(B, 5).hash), pair.recent()), (None, vec![0]));
}

#[test]
fn a_number_too_far_above_the_head_is_refused() {
    let mut pair = Pair::with_head(ChainViewConfig { max_ahead: 100, ..plain() }, 3);
    assert_eq!(pair.signed(block(A, 104)), Inserted::TooFar);
    assert_eq!(pair.events(), []);
    assert_eq!(pair.signed(block(A, 103)), Inserted::Pending);
}

#[test]
fn a_number_that_does_not_follow_its_parent_is_refused() {
    let mut pair = Pair::with_head(plain(), 3);
    pair.signed(block(A, 9));
    assert_eq!(pair.signed(on(id(A, 3), B, 5)), Inserted::Mislinked);
    assert_eq!(pair.signed(on(id(A, 2), B, 2)), Inserted::Mislinked);
    assert_eq!(pair.signed(on(id(A, 0), B, 2)), Inserted::Mislinked);
    assert_eq!(pair.signed(on(id(A, 9), B, 11)), Inserted::Mislinked);
    assert!(pair.follower.equivocations.is_empty());
}

#[test]
fn blocks_whose_numbers_prove_wrong_are_dropped() {
    let mut pair = Pair::with_head(plain(), 3);
    pair.signed(on(id(A, 5), B, 9));
    pair.signed(on(id(B, 9), B, 10));
    pair.signed(block(A, 6));
    pair.events();
    assert_eq!(pair.signed(block(A, 5)), Inserted::Pending);
    assert_eq!(closed(&pair.events()), [GapEnd::Mislinked]);
    assert_eq!(pair.view.get(&id(B, 9).hash).or(pair.view.get(&id(B, 10).hash)), None);
    assert_eq!(pair.signed(block(A, 4)), Inserted::Extended);
    assert_eq!((pair.head(), pair.view.gap()), (id(A, 6), None));
}

// Competitors.

#[test]
fn a_linked_block_beside_a_position_below_the_window_is_not_reported() {
    // Of 40 canonical blocks, the view holds 15, and one fewer with each block of the branch.
    let config = ChainViewConfig { max_blocks: 15, keep_depth: 2, ..plain() };
    let mut pair = Pair::with_head(config, 40);
    assert_eq!(pair.signed(block(B, 41)), Inserted::Pending);
    for number in (32..=40).rev() {
        assert_eq!(pair.linked(block(B, number)), Inserted::Pending);
    }
    pair.linked(on(id(A, 30), B, 31));
    let number = |event: &_| match event {
        ChainEvent::Equivocation { number, .. } => Some(*number),
        _ => None,
    };
    let told: Vec<u64> = pair.events().iter().filter_map(number).collect();
    assert_eq!(told, [40, 39, 38, 37, 36, 35, 34]);
    assert_eq!(pair.head(), id(B, 41));
}

#[test]
fn a_second_block_at_a_height_is_an_equivocation_reported_once() {
    let mut pair = Pair::with_head(plain(), 5);
    let rival = on(id(A, 4), B, 5);
    assert_eq!(pair.signed(rival), Inserted::Competitor);
    let (first, second) = (id(A, 5), id(B, 5));
    assert_eq!(pair.events(), [ChainEvent::Equivocation { number: 5, first, second }]);
    assert_eq!(pair.signed(rival), Inserted::Known);
    assert_eq!(pair.signed(on(id(A, 4), 0xc, 5)), Inserted::Competitor);
    assert_eq!(pair.events(), [ChainEvent::Equivocation { number: 5, first, second: id(0xc, 5) }]);
    assert_eq!(pair.head(), id(A, 5));
}

#[test]
fn an_equivocation_is_reported_even_if_neither_block_links() {
    let mut pair = Pair::with_head(plain(), 5);
    pair.signed(block(A, 9));
    pair.events();
    pair.signed(block(B, 9));
    let told = ChainEvent::Equivocation { number: 9, first: id(A, 9), second: id(B, 9) };
    assert_eq!(pair.events().first(), Some(&told));
}

#[test]
fn an_equivocation_is_reported_once_even_if_its_block_was_dropped() {
    let mut pair = Pair::with_head(small(4, 2, OnFull::DropLowest), 5);
    let rival = on(id(A, 4), B, 5);
    pair.signed(rival);
    (8..11).for_each(|number| assert_eq!(pair.signed(block(A, number)), Inserted::Pending));
    assert_eq!(pair.view.get(&id(B, 5).hash), None);
    // The follower panics if an equivocation is reported twice.
    assert_eq!(pair.signed(rival), Inserted::Dropped);
    assert_eq!(pair.follower.equivocations.len(), 1);
}

#[test]
fn another_block_at_the_height_of_a_resumed_head_is_an_equivocation() {
    let mut view = ChainView::resume(at(0), plain(), id(A, 7), [], []);
    assert_eq!(view.insert(at(0), block(B, 7), Origin::Signed), Inserted::TooOld);
    let told = ChainEvent::Equivocation { number: 7, first: id(A, 7), second: id(B, 7) };
    assert_eq!(view.poll_event(), Some(told));
    assert_eq!(view.insert(at(0), block(B, 7), Origin::Signed), Inserted::TooOld);
    assert_eq!(view.insert(at(0), block(0xc, 7), Origin::Linked), Inserted::TooOld);
    assert_eq!(view.poll_event(), None);
}

#[test]
fn a_branch_wins_only_when_it_is_longer() {
    let mut pair = Pair::with_head(plain(), 5);
    assert_eq!(pair.signed(on(id(A, 3), B, 4)), Inserted::Competitor);
    assert_eq!(pair.signed(block(B, 5)), Inserted::Competitor);
    assert_eq!(pair.head(), id(A, 5));
    pair.events();
    assert_eq!(pair.signed(block(B, 6)), Inserted::Reorganised);
    let reorg = ChainEvent::Reorg {
        ancestor: id(A, 3),
        abandoned: vec![id(A, 4), id(A, 5)],
        adopted: vec![id(B, 4), id(B, 5), id(B, 6)],
    };
    let adopted = [on(id(A, 3), B, 4), block(B, 5), block(B, 6)].map(ChainEvent::Extended);
    assert_eq!(pair.events(), [vec![reorg], adopted.to_vec()].concat());
    assert_eq!(pair.view.canonical_by_hash(&id(A, 5).hash), None);
    assert_eq!(pair.view.get(&id(A, 5).hash), Some(&block(A, 5)));
}

#[test]
fn an_abandoned_branch_wins_again_by_growing_longer() {
    let mut pair = Pair::with_head(plain(), 5);
    pair.signed(on(id(A, 4), B, 5));
    assert_eq!(pair.signed(block(B, 6)), Inserted::Reorganised);
    assert_eq!(pair.signed(block(A, 6)), Inserted::Competitor);
    assert_eq!(pair.signed(block(A, 7)), Inserted::Reorganised);
    assert_eq!(pair.head(), id(A, 7));
}

#[test]
fn even_the_first_block_can_be_replaced_by_a_longer_branch() {
    let mut pair = Pair::new(plain());
    pair.quietly(block(A, 10));
    assert_eq!(pair.signed(on(id(A, 9), B, 10)), Inserted::Competitor);
    assert_eq!(pair.signed(block(B, 11)), Inserted::Reorganised);
    assert_eq!(pair.view.floor(), Some(id(A, 9)));
}

// Gaps.

#[test]
fn a_gap_names_its_missing_blocks_and_its_ends() {
    let mut pair = Pair::with_head(plain(), 5);
    assert_eq!(pair.signed(block(A, 9)), Inserted::Pending);
    let gap = pair.gap();
    assert_eq!((gap.after, gap.before, gap.wanted, gap.missing), (id(A, 5), id(A, 9), id(A, 8), 3));
    assert!(!gap.is_fork());
    assert_eq!(pair.events(), [ChainEvent::GapOpened(gap)]);
    assert_eq!(pair.view.highest(), Some(id(A, 9)));
}

#[test]
fn a_gap_starts_at_the_head_not_at_a_competitor_of_equal_height() {
    let mut pair = Pair::with_head(plain(), 5);
    assert_eq!(pair.signed(block(B, 7)), Inserted::Pending);
    (6..=7).for_each(|number| pair.quietly(block(A, number)));
    assert_eq!(pair.signed(block(A, 10)), Inserted::Pending);
    assert_eq!((pair.gap().after, pair.gap().missing), (id(A, 7), 2));
}

#[test]
fn missing_blocks_in_any_order_are_delivered_in_order() {
    for order in [[6, 7, 8], [8, 7, 6], [7, 6, 8], [7, 8, 6], [6, 8, 7], [8, 6, 7]] {
        let mut pair = Pair::with_head(plain(), 5);
        pair.signed(block(A, 9));
        for number in order {
            pair.signed(block(A, number));
        }
        let events = pair.events();
        let extended = events.iter().filter_map(|event| match event {
            ChainEvent::Extended(block) => Some(block.number()),
            _ => None,
        });
        assert_eq!(extended.collect::<Vec<_>>(), [6, 7, 8, 9]);
        assert_eq!(closed(&events).last(), Some(&GapEnd::Filled));
        assert!(pair.follower.gaps.is_empty());
    }
}

#[test]
fn a_gap_changes_when_its_missing_parent_arrives() {
    let mut pair = Pair::with_head(plain(), 5);
    pair.signed(block(A, 9));
    let opened = pair.gap();
    pair.events();
    assert_eq!(pair.linked(block(A, 8)), Inserted::Pending);
    let gap = pair.gap();
    assert_eq!((gap.id, gap.before, gap.missing), (opened.id, id(A, 8), 2));
    assert_eq!(pair.events(), [ChainEvent::GapChanged(gap)]);
}

#[test]
fn several_gaps_are_separate_and_the_lowest_is_first() {
    let mut pair = Pair::with_head(plain(), 5);
    for number in [20, 21, 9, 10, 14] {
        assert_eq!(pair.signed(block(A, number)), Inserted::Pending);
    }
    let gaps: Vec<_> =
        pair.view.gaps().map(|gap| (gap.after.number, gap.before.number, gap.missing)).collect();
    assert_eq!(gaps, [(5, 9, 3), (10, 14, 3), (14, 20, 5)]);
    assert_eq!(pair.gap().before, id(A, 9));
}

#[test]
fn two_gaps_become_one_when_the_blocks_between_arrive() {
    let mut pair = Pair::with_head(plain(), 5);
    (7..9).for_each(|number| assert_eq!(pair.signed(block(A, number)), Inserted::Pending));
    (11..19).for_each(|number| assert_eq!(pair.signed(block(A, number)), Inserted::Pending));
    pair.signed(block(A, 10));
    pair.events();
    pair.signed(block(A, 9));
    let events = pair.events();
    assert_eq!(closed(&events), [GapEnd::Merged]);
    assert!(matches!(events.last(), Some(ChainEvent::GapChanged(gap)) if gap.wanted == id(A, 6)));
    assert_eq!(pair.view.gaps().count(), 1);
    pair.signed(block(A, 6));
    assert_eq!(pair.head(), id(A, 18));
}

#[test]
fn the_longest_of_branches_that_link_at_once_wins() {
    let mut pair = Pair::with_head(plain(), 5);
    for waiting in [block(A, 7), on(id(A, 6), B, 7), block(B, 8), block(B, 9), block(A, 8)] {
        assert_eq!(pair.signed(waiting), Inserted::Pending);
    }
    assert_eq!(pair.view.gaps().count(), 1);
    assert_eq!(pair.signed(block(A, 6)), Inserted::Extended);
    assert_eq!((pair.head(), pair.follower.reorgs), (id(B, 9), 0));
}

#[test]
fn the_first_of_equally_long_branches_wins() {
    for (first, second) in [(A, B), (B, A)] {
        let mut pair = Pair::with_head(plain(), 5);
        let at_seven = |branch| on(id(A, 6), branch, 7);
        for waiting in [at_seven(second), at_seven(first), block(first, 8), block(second, 8)] {
            pair.signed(waiting);
        }
        pair.signed(block(A, 6));
        assert_eq!(pair.head(), id(first, 8));
    }
}

#[test]
fn the_missing_ancestors_of_a_longer_branch_are_a_fork() {
    let mut pair = Pair::with_head(plain(), 10);
    assert_eq!(pair.signed(block(B, 11)), Inserted::Pending);
    let gap = pair.gap();
    assert_eq!((gap.after, gap.before, gap.wanted), (id(A, 10), id(B, 11), id(B, 10)));
    assert!(gap.is_fork());
    for number in [10, 9] {
        assert_eq!(pair.linked(block(B, number)), Inserted::Pending);
        let gap = pair.gap();
        assert_eq!((gap.after, gap.wanted), (id(A, number - 1), id(B, number - 1)));
        assert!(gap.is_fork());
    }
    pair.events();
    assert_eq!(pair.linked(on(id(A, 7), B, 8)), Inserted::Reorganised);
    assert_eq!(pair.head(), id(B, 11));
    assert_eq!(closed(&pair.events()), [GapEnd::Filled]);
}

#[test]
fn a_gap_can_become_a_fork() {
    let mut pair = Pair::with_head(plain(), 10);
    pair.signed(block(B, 12));
    assert_eq!((pair.gap().missing, pair.gap().is_fork()), (1, false));
    pair.linked(block(B, 11));
    assert_eq!((pair.gap().missing, pair.gap().is_fork()), (0, true));
}

#[test]
fn an_unlinked_competitor_is_a_gap_only_above_the_head() {
    let mut pair = Pair::with_head(plain(), 10);
    assert_eq!(pair.signed(block(B, 10)), Inserted::Pending);
    assert_eq!(pair.view.gap(), None);
    assert_eq!(pair.view.highest(), Some(id(A, 10)));
    assert_eq!(pair.signed(block(B, 11)), Inserted::Pending);
    let first = pair.gap();
    assert_eq!(first.wanted, id(B, 9));
    pair.events();
    // The canonical chain catches up, then the branch grows.
    assert_eq!(pair.signed(block(A, 11)), Inserted::Extended);
    assert_eq!(closed(&pair.events()), [GapEnd::Outrun]);
    assert_eq!(pair.view.gap(), None);
    pair.signed(block(B, 12));
    assert_eq!(pair.gap().wanted, id(B, 9));
    assert_ne!(pair.gap().id, first.id, "it was told that this gap is closed");
}

// Blocks that are not signed themselves.

#[test]
fn an_unsigned_block_needs_a_child_or_a_signed_block_above() {
    let mut pair = Pair::with_head(plain(), 5);
    assert_eq!(pair.linked(block(A, 6)), Inserted::Unlinked);
    assert_eq!(pair.linked(block(A, 8)), Inserted::Unlinked);
    pair.signed(block(A, 9));
    assert_eq!(pair.linked(block(B, 8)), Inserted::Unlinked);
    assert_eq!(pair.linked(block(A, 7)), Inserted::Unlinked);
    assert_eq!(pair.linked(block(A, 8)), Inserted::Pending);
    assert_eq!(pair.linked(block(A, 6)), Inserted::Extended);
    assert_eq!(pair.linked(block(A, 7)), Inserted::Extended);
    assert_eq!(pair.head(), id(A, 9));
    assert_eq!(pair.linked(block(A, 10)), Inserted::Unlinked);
}

#[test]
fn an_unsigned_branch_never_wins_by_blocks_above_the_signed_ones() {
    let mut pair = Pair::with_head(plain(), 5);
    assert_eq!(pair.linked(on(id(A, 3), B, 4)), Inserted::Competitor);
    assert_eq!(pair.linked(block(B, 5)), Inserted::Unlinked);
    assert_eq!(pair.linked(block(B, 6)), Inserted::Unlinked);
    assert_eq!(pair.head(), id(A, 5));
}

#[test]
fn a_gap_of_any_length_fills_in_ascending_order_in_bounded_memory() {
    let mut pair = Pair::with_head(small(16, 4, OnFull::DropLowest), 5);
    for number in 3000..3040 {
        assert_eq!(pair.signed(block(A, number)), Inserted::Pending);
    }
    let first_kept = pair.gap().before.number;
    assert_eq!((first_kept, pair.recent().len()), (3028, 4));
    for number in 6..first_kept {
        assert_eq!(pair.linked(block(A, number)), Inserted::Extended);
    }
    assert_eq!(pair.head(), id(A, 3039));
    assert!(pair.follower.gaps.is_empty() && pair.follower.skips.is_empty());
}

#[test]
fn a_position_is_deep_known_held_or_above_the_head() {
    let config = ChainViewConfig { max_blocks: 8, keep_depth: 2, max_remembered: 3, ..plain() };
    let pair = Pair::with_head(config, 20);
    let kinds: Vec<u8> = (0..=22)
        .map(|number| match pair.view.find(number) {
            Position::Deep => 0,
            Position::Known(hash) => {
                assert_eq!(hash, id(A, number).hash);
                1
            }
            Position::Held(block) => {
                assert_eq!(block.number(), number);
                2
            }
            Position::Above => 3,
        })
        .collect();
    assert!(kinds.is_sorted(), "{kinds:?}");
    let count = |kind| kinds.iter().filter(|found| **found == kind).count();
    // The position below the held blocks is known too.
    assert_eq!((count(1), count(2), count(3)), (4, 8, 2));
    assert!(Pair::new(plain()).view.find(0) == Position::Above, "nothing is canonical yet");
}

#[test]
fn a_stored_chain_agrees_if_its_head_is_canonical() {
    let config = ChainViewConfig { max_blocks: 8, max_remembered: 3, ..plain() };
    let pair = Pair::with_head(config, 20);
    for (head, agrees) in [
        (Some(id(A, 20)), true),
        (Some(id(A, 11)), true),
        (Some(id(B, 15)), false),
        (Some(id(A, 1)), false),
        (Some(id(A, 21)), false),
        (None, false),
    ] {
        assert_eq!(pair.view.agrees_with(head), agrees, "{head:?}");
    }
}

#[test]
fn ends_and_reasons_have_names() {
    let ends = [
        (GapEnd::Filled, "filled"),
        (GapEnd::Merged, "merged"),
        (GapEnd::Outrun, "outrun"),
        (GapEnd::Skipped, "skipped"),
        (GapEnd::Dropped, "dropped"),
        (GapEnd::Mislinked, "mislinked"),
    ];
    assert_eq!(ends.map(|(end, _)| end.name()), ends.map(|(_, name)| name));
    let reasons = [
        (SkipReason::Patience, "patience"),
        (SkipReason::Full, "full"),
        (SkipReason::Unreachable, "unreachable"),
        (SkipReason::TooLong, "too_long"),
    ];
    assert_eq!(reasons.map(|(reason, _)| reason.name()), reasons.map(|(_, name)| name));
}
