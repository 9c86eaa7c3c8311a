//! Giving up, bounds, resuming and reading.

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
    let skipped = ChainEvent::Skipped { from: id(A, 5), to: id(A, 9), reason: SkipReason::Patience };
    let [closed, rest @ ..] = &pair.events()[..] else { panic!("no events") };
    assert!(matches!(closed, ChainEvent::GapClosed { end: GapEnd::Skipped, .. }));
    assert_eq!(rest, [skipped, ChainEvent::Extended(block(A, 9)), ChainEvent::Extended(block(A, 10))]);
    assert_eq!((pair.recent(), pair.view.floor()), (vec![9, 10], Some(id(A, 8))));
    assert_eq!(pair.signed(block(A, 7)), Inserted::TooOld);
    assert_eq!(pair.signed(block(A, 8)), Inserted::Known);
    assert_eq!(pair.signed(block(A, 11)), Inserted::Extended);
    assert_eq!(pair.view.next_wakeup(), None);
}

#[test]
fn what_waits_for_an_ancestor_is_counted_until_it_links() {
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
fn patience_starts_anew_when_the_head_or_the_gap_makes_progress() {
    let mut pair = Pair::with_head(patient(30), 5);
    pair.signed(block(A, 9));
    pair.advance(20);
    pair.signed(block(A, 6));
    assert_eq!(pair.view.next_wakeup(), Some(at(50)));
    pair.advance(20);
    pair.linked(block(A, 8));
    assert_eq!(pair.view.next_wakeup(), Some(at(70)));
    // Growing at its upper end does not bring it closer.
    pair.advance(5);
    pair.signed(block(A, 10));
    assert_eq!(pair.view.next_wakeup(), Some(at(70)));
}

#[test]
fn skipping_goes_upwards_so_that_nothing_held_is_left_out() {
    let mut pair = Pair::with_head(patient(30), 5);
    pair.signed(block(A, 20));
    pair.signed(block(A, 14));
    pair.signed(block(A, 9));
    pair.advance(10);
    pair.signed(block(A, 30));
    pair.advance(20);
    let skips: Vec<_> = pair.follower.skips.iter().map(|(from, to, _)| (from.number, to.number)).collect();
    assert_eq!(skips, [(5, 9), (9, 14), (14, 20)]);
    pair.advance(10);
    assert_eq!(pair.head(), id(A, 30));
}

#[test]
fn a_skipped_gap_with_two_branches_goes_on_with_the_longer_one() {
    let mut pair = Pair::with_head(patient(30), 5);
    for waiting in [block(A, 9), on(id(A, 8), B, 9), block(B, 10)] {
        pair.signed(waiting);
    }
    pair.advance(30);
    assert_eq!(pair.head(), id(B, 10));
    // The other one is a competitor like any other, and wins if it grows.
    pair.signed(block(A, 10));
    assert_eq!(pair.signed(block(A, 11)), Inserted::Reorganised);
}

#[test]
fn a_longer_branch_from_below_the_window_is_followed_at_once() {
    let mut pair = Pair::with_head(small(4, 2, OnFull::DropLowest), 10);
    assert_eq!(pair.view.floor(), Some(id(A, 6)));
    assert_eq!(pair.signed(block(B, 11)), Inserted::Pending);
    // Each fetched block makes room by raising the floor, which the branch turns out to leave below.
    assert_eq!(pair.view.floor(), Some(id(A, 7)));
    assert_eq!(pair.linked(block(B, 10)), Inserted::Pending);
    assert_eq!(pair.linked(block(B, 9)), Inserted::Reanchored);
    assert_eq!(pair.follower.skips, [(id(A, 10), id(B, 9), SkipReason::Unreachable)]);
    assert_eq!(pair.head(), id(B, 11));
}

#[test]
fn of_longer_branches_from_below_the_window_the_highest_is_followed() {
    let config = ChainViewConfig { max_blocks: 100, max_bytes: 2000, keep_depth: 1, ..plain() };
    let mut pair = Pair::with_head(config, 10);
    for waiting in
        [block(0xc, 9), block(0xc, 10), block(0xc, 11), block(B, 9), block(B, 10), block(B, 11), block(B, 12)]
    {
        assert_eq!(pair.signed(waiting), Inserted::Pending);
    }
    assert_eq!((pair.view.gaps().count(), pair.view.floor()), (2, Some(id(A, 0))));
    // One large block raises the floor above what both branches want.
    pair.signed(Block { size: 1200, ..block(A, 30) });
    assert_eq!(pair.follower.skips, [(id(A, 10), id(B, 9), SkipReason::Unreachable)]);
    assert_eq!(pair.head(), id(B, 12));
}

#[test]
fn a_head_resumed_without_its_ancestors_is_left_for_a_longer_branch() {
    let mut view = ChainView::resume(plain(), id(A, 7), []);
    let mut follower = Follower::at(id(A, 7));
    assert_eq!(view.insert(at(0), block(B, 8), Origin::Signed), Inserted::Reanchored);
    follower.drain(&mut view);
    assert_eq!(follower.skips, [(id(A, 7), id(B, 8), SkipReason::Unreachable)]);
}

// Bounds.

#[test]
fn the_window_gives_way_first_and_keeps_its_depth() {
    let mut pair = Pair::with_head(small(8, 3, OnFull::DropLowest), 20);
    assert_eq!(pair.recent(), (13..=20).collect::<Vec<_>>());
    (30..40).for_each(|number| assert_eq!(pair.signed(block(A, number)), Inserted::Pending));
    assert_eq!(pair.recent(), [18, 19, 20]);
    assert_eq!(pair.view.blocks(), 8);
}

#[test]
fn no_depth_that_is_asked_for_keeps_a_gap_from_being_noticed() {
    for max_blocks in 0..6 {
        let mut pair = Pair::with_head(small(max_blocks, usize::MAX, OnFull::DropLowest), 20);
        assert_eq!(pair.signed(block(A, 30)), Inserted::Pending);
        assert_eq!(pair.gap().wanted, id(A, 29));
    }
}

#[test]
fn competitors_that_link_below_the_window_go_with_it() {
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
fn then_competitors_go_then_unlinked_ones_then_what_waits() {
    let mut pair = Pair::with_head(small(6, 3, OnFull::DropLowest), 10);
    assert_eq!(pair.signed(on(id(A, 9), B, 10)), Inserted::Competitor);
    assert_eq!(pair.signed(block(0xc, 10)), Inserted::Pending);
    pair.signed(block(A, 20));
    let held = |pair: &Pair| [id(B, 10), id(0xc, 10), id(A, 20)].map(|id| pair.view.get(&id.hash).is_some());
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
fn of_competing_branches_that_wait_the_highest_reaching_is_kept() {
    let mut pair = Pair::with_head(small(6, 2, OnFull::DropLowest), 5);
    for waiting in [on(id(A, 19), B, 20), block(B, 21), block(A, 20), block(A, 21), block(A, 22)] {
        assert_eq!(pair.signed(waiting), Inserted::Pending);
    }
    assert_eq!(pair.view.gaps().count(), 1);
    assert_eq!(pair.view.get(&id(B, 20).hash).or(pair.view.get(&id(B, 21).hash)), None);
    assert_eq!((pair.gap().before, pair.gap().wanted), (id(A, 20), id(A, 19)));
}

#[test]
fn a_lone_block_that_waits_is_dropped_for_a_higher_one() {
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
fn a_view_that_may_leave_blocks_out_does_so_when_full() {
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
    // Of large blocks the window keeps half of the bytes at most, so that a gap is always noticed.
    pair.signed(Block { size: 500, ..block(A, 30) });
    assert_eq!((pair.recent().len(), pair.view.bytes()), (5, 1000));
}

#[test]
fn a_block_larger_than_all_room_is_handed_on_but_not_held() {
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
fn a_resumed_view_goes_on_at_its_head_and_repeats_nothing() {
    let stored = (1..=7).rev().map(|number| block(A, number));
    let mut view = ChainView::resume(plain(), id(A, 7), stored);
    let mut follower = Follower::at(id(A, 7));
    assert_eq!(follower.drain(&mut view), []);
    assert_eq!((view.head(), view.floor(), view.blocks()), (Some(id(A, 7)), Some(id(A, 0)), 7));
    assert_eq!(view.insert(at(0), block(A, 7), Origin::Signed), Inserted::Known);
    assert_eq!(view.insert(at(0), block(A, 8), Origin::Signed), Inserted::Extended);
    assert_eq!(follower.drain(&mut view), [ChainEvent::Extended(block(A, 8))]);
}

#[test]
fn a_resumed_view_follows_a_reorg_of_blocks_handed_on_before() {
    let stored = (1..=7).rev().map(|number| block(A, number));
    let mut view = ChainView::resume(plain(), id(A, 7), stored);
    let mut follower =
        Follower { chain: (0..=7).map(|number| id(A, number)).collect(), ..Follower::default() };
    view.insert(at(0), on(id(A, 6), B, 7), Origin::Signed);
    assert_eq!(view.insert(at(0), block(B, 8), Origin::Signed), Inserted::Reorganised);
    follower.drain(&mut view);
    assert_eq!(follower.chain.len(), 9);
}

#[test]
fn resuming_stops_where_blocks_do_not_link_or_the_room_ends() {
    let broken = [block(A, 7), block(A, 6), block(B, 5), block(A, 4)];
    let view = ChainView::resume(plain(), id(A, 7), broken);
    assert_eq!((view.blocks(), view.floor()), (2, Some(id(A, 5))));
    view.assert_consistent();

    let view = ChainView::resume(plain(), id(A, 7), [block(A, 6)]);
    assert_eq!((view.blocks(), view.floor()), (0, Some(id(A, 7))));

    let endless = (0..=1_000_000).rev().map(|number| block(A, number));
    let view = ChainView::resume(small(10, 2, OnFull::DropLowest), id(A, 1_000_000), endless);
    assert_eq!(view.blocks(), 10);
    view.assert_consistent();

    let all = (0..=3).rev().map(|number| block(A, number));
    let view = ChainView::resume(plain(), id(A, 3), all);
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
