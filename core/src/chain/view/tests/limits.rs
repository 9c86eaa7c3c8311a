//! Tests of giving up, bounds, resuming and reading.

use super::*;

// Giving up.

#[test]
fn a_gap_that_is_not_closed_in_time_is_skipped() {
    let mut pair = Pair::with_head(patient(30), 5);
    pair.signed(block(A, 9));
    pair.advance(3);
    pair.signed(block(A, 10));
    assert_eq!(pair.view.next_wakeup(), Some(at(30)));
    pair.advance(26);
    assert_eq!(pair.head(), id(A, 5));
    pair.events();
    pair.advance(1);
    let skipped = ChainEvent::Skipped {
        from: id(A, 5),
        to: id(A, 9),
        reason: SkipReason::Patience,
        detached: false,
    };
    let [closed, rest @ ..] = &pair.events()[..] else { panic!("no events") };
    assert!(matches!(closed, ChainEvent::GapClosed { end: GapEnd::Skipped, .. }));
    assert_eq!(
        rest,
        [skipped, ChainEvent::Extended(block(A, 9)), ChainEvent::Extended(block(A, 10))]
    );
    assert_eq!((pair.recent(), pair.view.window_floor()), (vec![9, 10], Some(id(A, 8))));
    // A late block for a skipped position does not make a branch.
    assert_eq!(pair.signed(block(A, 7)), Inserted::Pending);
    assert_eq!((pair.view.gap(), pair.view.off_branch()), (None, None));
    assert_eq!(pair.signed(block(A, 8)), Inserted::Known);
    assert_eq!(pair.signed(block(A, 11)), Inserted::Extended);
    assert_eq!(pair.view.next_wakeup(), None);
}

#[test]
fn blocks_that_wait_for_an_ancestor_are_counted_until_they_link() {
    let mut pair = Pair::with_head(plain(), 5);
    assert_eq!(pair.view.pending(), (0, 0));
    let sizes = [block(A, 8), block(A, 9)].map(|block| block.size());
    pair.signed(block(A, 8));
    assert_eq!(pair.view.pending(), (1, sizes[0]));
    pair.signed(block(A, 9));
    assert_eq!(pair.view.pending(), (2, sizes[0] + sizes[1]));
    pair.signed(block(A, 7));
    pair.signed(block(A, 6));
    assert_eq!(pair.view.pending(), (0, 0));
}

#[test]
fn without_patience_a_gap_waits_forever() {
    let mut pair = Pair::with_head(plain(), 5);
    pair.signed(block(A, 9));
    assert_eq!(pair.view.next_wakeup(), None);
    pair.advance(u64::from(u32::MAX));
    assert_eq!(pair.head(), id(A, 5));
}

#[test]
fn patience_restarts_only_when_a_block_of_the_gap_arrives() {
    let mut pair = Pair::with_head(patient(30), 5);
    pair.signed(block(A, 9));
    pair.advance(10);
    // The head moves, and the gap's upper end with it; another gap opens.
    pair.signed(block(A, 6));
    pair.signed(block(A, 10));
    pair.signed(block(A, 20));
    assert_eq!(pair.view.next_wakeup(), Some(at(30)));
    pair.linked(block(A, 8));
    assert_eq!(pair.view.next_wakeup(), Some(at(40)));
    // A block was found that will be inserted later. This does not affect the other gap.
    pair.advance(10);
    let [lowest, other] = [0, 1].map(|at| pair.view.gaps().nth(at).expect("two gaps").id);
    pair.view.progressed(at(20), other);
    assert_eq!(pair.view.next_wakeup(), Some(at(40)));
    pair.view.progressed(at(20), lowest);
    assert_eq!(pair.view.next_wakeup(), Some(at(50)));
    pair.advance(30);
    assert_eq!(pair.head(), id(A, 20));
}

#[test]
fn patience_is_shorter_while_nothing_could_fill_a_gap() {
    let mut pair = Pair::with_head(patient(30), 5);
    pair.signed(block(A, 9));
    pair.view.set_patience(Duration::from_secs(6));
    assert_eq!(pair.view.next_wakeup(), Some(at(6)));
    pair.view.set_patience(Duration::from_secs(60));
    assert_eq!(pair.view.next_wakeup(), Some(at(30)));
    // No gap is given up while blocks are being inserted.
    pair.view.delay_skips(at(5));
    assert_eq!(pair.view.next_wakeup(), Some(at(35)));
}

#[test]
fn only_a_gap_above_the_limit_is_skipped_at_once() {
    let config = ChainViewConfig { max_gap: Some(3), ..patient(30) };
    let mut pair = Pair::with_head(config, 5);
    // Three blocks are missing.
    pair.signed(block(A, 9));
    assert_eq!(pair.view.next_wakeup(), Some(at(30)));
    pair.advance(0);
    assert_eq!(pair.head(), id(A, 5));
    // Four are missing above the first gap, which has its whole patience.
    pair.signed(block(A, 14));
    pair.advance(29);
    assert_eq!(pair.head(), id(A, 5));
    (6..=8).for_each(|number| assert_ne!(pair.linked(block(A, number)), Inserted::Unlinked));
    assert!(pair.view.next_wakeup().is_some_and(|due| due <= at(29)), "it is due");
    pair.advance(0);
    assert_eq!(pair.head(), id(A, 14));
    let skips: Vec<_> =
        pair.follower.skips.iter().map(|(from, to, why)| (*from, *to, *why)).collect();
    assert_eq!(skips, [(id(A, 9), id(A, 14), SkipReason::TooLong)]);
    // Without patience too.
    let mut pair = Pair::with_head(ChainViewConfig { max_gap: Some(0), ..plain() }, 5);
    pair.signed(block(A, 7));
    pair.advance(0);
    assert_eq!(pair.head(), id(A, 7));
}

/// Messages that overtake each other make gaps of a moment.
#[test]
fn no_gap_is_too_long_while_the_shown_branch_grows() {
    let interval = Duration::from_secs(2);
    let config = ChainViewConfig { max_gap: Some(0), interval, ..patient(30) };
    let mut pair = Pair::with_head(config, 5);
    pair.signed(block(A, 7));
    pair.advance(1);
    assert_eq!(pair.head(), id(A, 5));
    pair.signed(block(A, 6));
    assert_eq!(pair.head(), id(A, 7));
    pair.signed(block(A, 9));
    let due = pair.view.next_wakeup().expect("it is skipped some time");
    assert!(due > at(pair.now) && due <= at(pair.now + 4), "{due:?}");
    pair.advance(4);
    assert_eq!(pair.head(), id(A, 9));
}

#[test]
fn gaps_are_skipped_upwards_so_no_held_block_is_lost() {
    let mut pair = Pair::with_head(patient(30), 5);
    pair.signed(block(A, 20));
    pair.signed(block(A, 14));
    pair.signed(block(A, 9));
    pair.advance(10);
    pair.signed(block(A, 30));
    pair.advance(20);
    let skips: Vec<_> =
        pair.follower.skips.iter().map(|(from, to, _)| (from.number, to.number)).collect();
    assert_eq!(skips, [(5, 9), (9, 14), (14, 20)]);
    pair.advance(10);
    assert_eq!(pair.head(), id(A, 30));
}

#[test]
fn after_a_skipped_gap_the_longer_of_two_branches_is_followed() {
    let mut pair = Pair::with_head(patient(30), 5);
    for waiting in [block(A, 9), on(id(A, 8), B, 9), block(B, 10)] {
        pair.signed(waiting);
    }
    pair.advance(30);
    assert_eq!(pair.head(), id(B, 10));
    // The other branch is an ordinary competitor and wins if it grows.
    pair.signed(block(A, 10));
    assert_eq!(pair.signed(block(A, 11)), Inserted::Reorganised);
}

#[test]
fn a_longer_branch_from_below_the_window_is_followed_at_once() {
    let mut pair = Pair::with_head(small(4, 2, OnFull::DropLowest), 10);
    assert_eq!(pair.view.floor(), Some(id(A, 6)));
    assert_eq!(pair.signed(block(B, 11)), Inserted::Pending);
    // Each fetched block makes room by raising the floor. The branch turns out to leave below it.
    assert_eq!(pair.view.floor(), Some(id(A, 7)));
    assert_eq!(pair.linked(block(B, 10)), Inserted::Pending);
    assert_eq!(pair.linked(block(B, 9)), Inserted::Reanchored);
    assert_eq!(pair.follower.skips, [(id(A, 10), id(B, 9), SkipReason::Unreachable)]);
    assert_eq!(pair.head(), id(B, 11));
}

#[test]
fn the_highest_longer_branch_from_below_the_window_is_followed() {
    let config = ChainViewConfig {
        max_blocks: 100,
        max_bytes: 2000,
        keep_depth: 1,
        max_remembered: 0,
        ..plain()
    };
    let mut pair = Pair::with_head(config, 10);
    for waiting in [
        block(0xc, 9),
        block(0xc, 10),
        block(0xc, 11),
        block(B, 9),
        block(B, 10),
        block(B, 11),
        block(B, 12),
    ] {
        assert_eq!(pair.signed(waiting), Inserted::Pending);
    }
    assert_eq!((pair.view.gaps().count(), pair.view.floor()), (2, Some(id(A, 0))));
    // One large block raises the floor above the blocks that both branches want.
    pair.signed(Block { size: 1200, ..block(A, 30) });
    assert_eq!(pair.follower.skips, [(id(A, 10), id(B, 9), SkipReason::Unreachable)]);
    assert_eq!(pair.head(), id(B, 12));
}

#[test]
fn a_head_resumed_without_its_ancestors_is_left_for_a_longer_branch() {
    let mut view = ChainView::resume(at(0), plain(), id(A, 7), [], []);
    let mut follower = Follower::at(id(A, 7));
    assert_eq!(view.insert(at(0), block(B, 8), Origin::Signed), Inserted::Reanchored);
    follower.drain(&mut view);
    assert_eq!(follower.skips, [(id(A, 7), id(B, 8), SkipReason::Unreachable)]);
}

// Bounds.

#[test]
fn the_window_shrinks_first_but_keeps_its_depth() {
    let mut pair = Pair::with_head(small(8, 3, OnFull::DropLowest), 20);
    assert_eq!(pair.recent(), (13..=20).collect::<Vec<_>>());
    (30..40).for_each(|number| assert_eq!(pair.signed(block(A, number)), Inserted::Pending));
    assert_eq!(pair.recent(), [18, 19, 20]);
    assert_eq!(pair.view.blocks(), 8);
}

#[test]
fn any_configured_depth_leaves_room_to_notice_a_gap() {
    for max_blocks in 0..6 {
        let mut pair = Pair::with_head(small(max_blocks, usize::MAX, OnFull::DropLowest), 20);
        assert_eq!(pair.signed(block(A, 30)), Inserted::Pending);
        assert_eq!(pair.gap().wanted, id(A, 29));
    }
}

#[test]
fn competitors_are_dropped_when_the_window_passes_their_ancestor() {
    let mut pair = Pair::with_head(small(8, 3, OnFull::DropLowest), 5);
    assert_eq!(pair.signed(on(id(A, 2), B, 3)), Inserted::Competitor);
    assert_eq!(pair.signed(block(B, 4)), Inserted::Competitor);
    (6..=8).for_each(|number| pair.quietly(block(A, number)));
    assert_eq!(pair.view.floor(), Some(id(A, 2)));
    assert!(pair.view.get(&id(B, 4).hash).is_some());
    pair.quietly(block(A, 9));
    assert_eq!(pair.view.floor(), Some(id(A, 3)));
    assert_eq!(pair.view.get(&id(B, 3).hash).or(pair.view.get(&id(B, 4).hash)), None);
}

#[test]
fn competitors_are_dropped_before_unlinked_blocks_and_those_before_waiting_ones() {
    let mut pair = Pair::with_head(small(6, 3, OnFull::DropLowest), 10);
    assert_eq!(pair.signed(on(id(A, 9), B, 10)), Inserted::Competitor);
    assert_eq!(pair.signed(block(0xc, 10)), Inserted::Pending);
    pair.signed(block(A, 20));
    let held = |pair: &Pair| {
        [id(B, 10), id(0xc, 10), id(A, 20)].map(|id| pair.view.get(&id.hash).is_some())
    };
    assert_eq!(held(&pair), [true, true, true]);
    pair.signed(block(A, 21));
    assert_eq!(held(&pair), [false, true, true]);
    pair.signed(block(A, 22));
    assert_eq!(held(&pair), [false, false, true]);
    pair.events();
    pair.signed(block(A, 23));
    assert_eq!(held(&pair), [false, false, false]);
    assert_eq!((pair.gap().before, pair.recent()), (id(A, 21), vec![8, 9, 10]));
    assert!(matches!(pair.events()[..], [ChainEvent::GapChanged(gap)] if gap.wanted == id(A, 20)));
}

#[test]
fn the_pending_branch_that_reaches_highest_is_kept() {
    let mut pair = Pair::with_head(small(6, 2, OnFull::DropLowest), 5);
    for waiting in [on(id(A, 19), B, 20), block(B, 21), block(A, 20), block(A, 21), block(A, 22)] {
        assert_eq!(pair.signed(waiting), Inserted::Pending);
    }
    assert_eq!(pair.view.gaps().count(), 1);
    assert_eq!(pair.view.get(&id(B, 20).hash).or(pair.view.get(&id(B, 21).hash)), None);
    assert_eq!((pair.gap().before, pair.gap().wanted), (id(A, 20), id(A, 19)));
}

#[test]
fn a_single_pending_block_is_evicted_for_a_higher_one() {
    let mut pair = Pair::with_head(small(4, 2, OnFull::DropLowest), 5);
    for number in [10, 20] {
        assert_eq!(pair.signed(block(A, number)), Inserted::Pending);
    }
    pair.events();
    assert_eq!(pair.signed(block(A, 30)), Inserted::Pending);
    let events = pair.events();
    assert_eq!(closed(&events), [GapEnd::Dropped]);
    assert_eq!(pair.signed(block(A, 8)), Inserted::Dropped);
    let gaps: Vec<_> = pair.view.gaps().map(|gap| gap.before.number).collect();
    assert_eq!(gaps, [20, 30]);
}

#[test]
fn a_view_that_may_reanchor_does_so_when_full() {
    let mut pair = Pair::with_head(small(6, 2, OnFull::Reanchor), 5);
    for number in 10..14 {
        assert_eq!(pair.signed(block(A, number)), Inserted::Pending);
    }
    assert_eq!(pair.recent(), [4, 5]);
    assert_eq!(pair.signed(block(A, 14)), Inserted::Reanchored);
    assert_eq!(pair.follower.skips, [(id(A, 5), id(A, 10), SkipReason::Full)]);
    assert_eq!(pair.recent(), [10, 11, 12, 13, 14]);
}

#[test]
fn bytes_are_bounded_like_blocks() {
    let mut pair = Pair::with_head(ChainViewConfig { max_bytes: 1000, ..plain() }, 20);
    assert_eq!((pair.view.blocks(), pair.view.bytes()), (10, 1000));
    // With large blocks the window keeps at most half of the bytes, so that a gap is always
    // noticed.
    pair.signed(Block { size: 500, ..block(A, 30) });
    assert_eq!((pair.recent().len(), pair.view.bytes()), (5, 1000));
}

#[test]
fn an_oversized_block_is_delivered_but_not_held() {
    let mut pair = Pair::with_head(ChainViewConfig { max_bytes: 1000, ..plain() }, 5);
    pair.events();
    let huge = Block { size: usize::MAX, ..block(A, 6) };
    assert_eq!(pair.signed(huge), Inserted::Extended);
    assert_eq!(pair.events(), [ChainEvent::Extended(huge)]);
    assert_eq!((pair.view.blocks(), pair.head()), (0, id(A, 6)));
    assert_eq!(pair.signed(Block { size: usize::MAX, ..block(A, 9) }), Inserted::Dropped);
    assert_eq!(pair.signed(block(A, 7)), Inserted::Extended);
}

#[test]
fn reported_equivocations_are_bounded() {
    let mut pair = Pair::with_head(ChainViewConfig { max_blocks: 100_000, ..plain() }, 2);
    for n in 0..REPORTED_MAX as u64 + 10 {
        let mut rival = on(id(A, 1), B, 2);
        rival.id.hash = id(B, n).hash;
        assert_eq!(pair.view.insert(at(0), rival, Origin::Signed), Inserted::Competitor);
    }
    assert_eq!(pair.view.reported.len(), REPORTED_MAX);
}

// Resuming and reading.

#[test]
fn a_resumed_view_continues_at_its_head_without_repeats() {
    let stored = (1..=7).rev().map(|number| block(A, number));
    let mut view = ChainView::resume(at(0), plain(), id(A, 7), stored, []);
    let mut follower = Follower::at(id(A, 7));
    assert_eq!(follower.drain(&mut view), []);
    assert_eq!((view.head(), view.floor(), view.blocks()), (Some(id(A, 7)), Some(id(A, 0)), 7));
    assert_eq!(view.insert(at(0), block(A, 7), Origin::Signed), Inserted::Known);
    assert_eq!(view.insert(at(0), block(A, 8), Origin::Signed), Inserted::Extended);
    assert_eq!(follower.drain(&mut view), [ChainEvent::Extended(block(A, 8))]);
}

#[test]
fn a_resumed_view_follows_a_reorg_of_blocks_delivered_before() {
    let stored = (1..=7).rev().map(|number| block(A, number));
    let mut view = ChainView::resume(at(0), plain(), id(A, 7), stored, []);
    let mut follower =
        Follower { chain: (0..=7).map(|number| id(A, number)).collect(), ..Follower::default() };
    view.insert(at(0), on(id(A, 6), B, 7), Origin::Signed);
    assert_eq!(view.insert(at(0), block(B, 8), Origin::Signed), Inserted::Reorganised);
    follower.drain(&mut view);
    assert_eq!(follower.chain.len(), 9);
}

#[test]
fn resuming_stops_at_a_broken_link_or_when_full() {
    let broken = [block(A, 7), block(A, 6), block(B, 5), block(A, 4)];
    let view = ChainView::resume(at(0), plain(), id(A, 7), broken, []);
    assert_eq!((view.blocks(), view.floor()), (2, Some(id(A, 5))));
    view.assert_consistent();

    let view = ChainView::resume(at(0), plain(), id(A, 7), [block(A, 6)], []);
    assert_eq!((view.blocks(), view.floor()), (0, Some(id(A, 7))));

    let endless = (0..=1_000_000).rev().map(|number| block(A, number));
    let view =
        ChainView::resume(at(0), small(10, 2, OnFull::DropLowest), id(A, 1_000_000), endless, []);
    assert_eq!(view.blocks(), 10);
    view.assert_consistent();

    let all = (0..=3).rev().map(|number| block(A, number));
    let view = ChainView::resume(at(0), plain(), id(A, 3), all, []);
    assert_eq!((view.blocks(), view.floor(), view.head()), (4, None, Some(id(A, 3))));
    view.assert_consistent();
}

#[test]
fn blocks_are_found_by_number_and_by_hash() {
    let mut pair = Pair::with_head(plain(), 5);
    pair.signed(on(id(A, 4), B, 5));
    pair.signed(block(A, 9));
    let view = &pair.view;
    assert_eq!(view.canonical(5), Some(&block(A, 5)));
    assert_eq!((view.canonical(0), view.canonical(6), view.canonical(9)), (None, None, None));
    assert_eq!((view.canonical_hash(0), view.canonical_hash(6)), (Some(id(A, 0).hash), None));
    assert_eq!(view.canonical_by_hash(&id(A, 5).hash), Some(&block(A, 5)));
    assert_eq!(view.canonical_by_hash(&id(B, 5).hash), None);
    assert_eq!(view.get(&id(B, 5).hash), Some(&on(id(A, 4), B, 5)));
    assert_eq!(view.get(&id(A, 9).hash), Some(&block(A, 9)));
    assert_eq!(view.recent().rev().map(Block::number).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
}
