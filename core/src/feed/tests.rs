//! The cursor and the sink, one situation after another. [`course`] has random ones.

mod course;

use super::*;
use crate::chain::{BlockId, ChainBlock, ChainView, ChainViewConfig, Descent, Origin, Span};
use crate::time::Instant;
use alloy_primitives::B256;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made {
    number: u64,
    hash: B256,
    parent: B256,
}

impl ChainBlock for Made {
    fn number(&self) -> u64 {
        self.number
    }

    fn hash(&self) -> B256 {
        self.hash
    }

    fn parent_hash(&self) -> B256 {
        self.parent
    }

    fn size(&self) -> usize {
        1000
    }
}

fn hash(number: u64) -> B256 {
    B256::from(alloy_primitives::U256::from(number))
}

/// Returns a block with this number, on this branch.
fn made(number: u64, branch: u64, parent_branch: u64) -> Made {
    let name = |number: u64, branch: u64| hash(branch * 1_000_000 + number);
    Made {
        number,
        hash: name(number, branch),
        parent: name(number.saturating_sub(1), parent_branch),
    }
}

fn id(number: u64, branch: u64) -> BlockId {
    BlockId::of(&made(number, branch, branch))
}

fn at(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(millis))
}

fn page(head: BlockId, ancestor: Option<BlockId>, blocks: Vec<Made>) -> Page<Made> {
    let way = match ancestor {
        Some(ancestor) => Way::To { ancestor, abandoned: Span::default() },
        None => Way::NotAsked,
    };
    Page { head: Some(head), way, blocks }
}

#[test]
fn a_log_starts_at_the_requested_block_and_reports_pruned_ones() {
    let blocks = || vec![made(5, 0, 0), made(6, 0, 0)];
    let mut cursor = Cursor::new(Position::Start { from: None });
    assert_eq!(cursor.query(), Query::From(0));
    let taken = cursor.take(page(id(6, 0), None, blocks()));
    assert_eq!(taken.events, blocks().into_iter().map(FeedEvent::Block).collect::<Vec<_>>());
    assert!(!taken.more);
    let mut cursor = Cursor::new(Position::Start { from: Some(3) });
    assert_eq!(cursor.query(), Query::From(3));
    let taken = cursor.take(page(id(9, 0), None, blocks()));
    assert_eq!(taken.events[0], FeedEvent::Skipped { from: None, to: id(5, 0), is_fork: false });
    assert!(taken.more && taken.events.len() == 3);
    assert_eq!(cursor.query(), Query::After(Tip { id: id(6, 0), parent: Some(id(5, 0).hash) }));
}

/// Returns a page of a store that has blocks up to 6 and does not know the log's block 9.
fn early_page() -> Page<Made> {
    Page {
        head: Some(id(6, 0)),
        way: Way::Unknown { may_come: true },
        blocks: vec![made(5, 0, 0), made(6, 0, 0)],
    }
}

#[test]
fn a_log_ahead_of_the_store_waits_while_the_node_catches_up() {
    let mut view = ChainView::new(ChainViewConfig::default());
    for number in 5..=6 {
        view.insert(at(0), made(number, 0, 0), Origin::Signed);
        while view.poll_event().is_some() {}
    }
    let mut cursor = Cursor::new(Position::At(Tip::new(id(9, 1))));
    let mut page = early_page();
    page.settle(&view, false);
    assert_eq!(cursor.take(page), Taken { events: Vec::new(), more: false });
    assert_eq!(cursor.position(), Position::At(Tip::new(id(9, 1))));
    // The node is up to date, and the block is not on its chain.
    let mut page = early_page();
    page.settle(&view, true);
    let skipped = FeedEvent::Skipped { from: Some(id(9, 1)), to: id(5, 0), is_fork: true };
    assert_eq!(cursor.take(page).events[0], skipped);
}

#[test]
fn an_up_to_date_node_waits_for_its_store() {
    let mut view = ChainView::new(ChainViewConfig::default());
    for number in 7..=9 {
        view.insert(at(0), made(number, 0, 0), Origin::Signed);
        while view.poll_event().is_some() {}
    }
    let mut page = Page { head: Some(id(3, 0)), ..early_page() };
    page.settle(&view, true);
    assert_eq!(page.way, Way::Unknown { may_come: true });
}

#[test]
fn an_abandoned_branch_is_retracted_before_the_new_one_arrives() {
    let mut cursor = Cursor::new(Position::At(Tip::new(id(7, 1))));
    let abandoned = Span::of(&[id(6, 1), id(7, 1)]);
    let found = Page {
        head: Some(id(9, 0)),
        way: Way::To { ancestor: id(5, 0), abandoned: abandoned.clone() },
        blocks: (6..=9).map(|number| made(number, 0, 0)).collect(),
    };
    let taken = cursor.take(found);
    let adopted = vec![id(6, 0), id(7, 0), id(8, 0)];
    let reorg = FeedEvent::Reorg { ancestor: id(5, 0), abandoned, adopted };
    assert_eq!((taken.events.len(), &taken.events[0]), (5, &reorg));
}

#[test]
fn a_rewind_is_reported_before_the_new_branch_outgrows_the_old() {
    let mut cursor = Cursor::new(Position::At(Tip::new(id(20_000, 1))));
    let ids: Vec<BlockId> = (6..=20_000).map(|number| id(number, 1)).collect();
    let abandoned = Span::of(&ids);
    let at_ancestor = Page {
        head: Some(id(5, 0)),
        way: Way::To { ancestor: id(5, 0), abandoned: abandoned.clone() },
        blocks: Vec::new(),
    };
    let taken = cursor.take::<Made>(at_ancestor);
    let reorg = FeedEvent::Reorg { ancestor: id(5, 0), abandoned, adopted: Vec::new() };
    assert_eq!(taken, Taken { events: vec![reorg], more: false });
    let Position::At(tip) = cursor.position() else { panic!("{cursor:?}") };
    assert_eq!(tip.id, id(5, 0));
    let taken = cursor.take(page(id(6, 0), Some(id(5, 0)), vec![made(6, 0, 0)]));
    assert_eq!(taken.events, [FeedEvent::Block(made(6, 0, 0))]);
}

#[test]
fn a_branch_of_unknown_origin_is_skipped_and_marked_as_a_fork() {
    let mut cursor = Cursor::new(Position::At(Tip::new(id(9, 1))));
    let blocks = vec![made(12, 0, 0)];
    let taken = cursor.take(Page { head: Some(id(12, 0)), way: Way::Lost, blocks });
    let skipped = FeedEvent::Skipped { from: Some(id(9, 1)), to: id(12, 0), is_fork: true };
    assert_eq!(taken.events, [skipped, FeedEvent::Block(made(12, 0, 0))]);
    // No event is reported until there is a block of the other branch.
    let mut cursor = Cursor::new(Position::At(Tip::new(id(9, 1))));
    let nothing = Page { head: None, way: Way::Lost, blocks: Vec::<Made>::new() };
    assert_eq!(cursor.take(nothing), Taken { events: Vec::new(), more: false });
}

#[test]
fn a_replaced_announcement_is_retracted_and_repeated() {
    let mut cursor = Cursor::new(Position::Before { from: Some(id(5, 0)), to: id(9, 1) });
    assert_eq!(cursor.query(), Query::From(9));
    let taken = cursor.take(page(id(9, 2), None, vec![made(9, 2, 2)]));
    let taken_back =
        FeedEvent::Reorg { ancestor: id(5, 0), abandoned: Span::default(), adopted: Vec::new() };
    assert_eq!(taken, Taken { events: vec![taken_back], more: true });
    assert_eq!(cursor.query(), Query::After(Tip::new(id(5, 0))));
    let taken = cursor.take(page(id(9, 2), Some(id(5, 0)), vec![made(8, 2, 2), made(9, 2, 2)]));
    assert_eq!(
        taken.events[0],
        FeedEvent::Skipped { from: Some(id(5, 0)), to: id(8, 2), is_fork: false }
    );
}

#[test]
fn a_hole_that_the_view_can_fill_is_not_skipped() {
    let mut view = ChainView::new(ChainViewConfig::default());
    for number in 5..=8 {
        view.insert(at(0), made(number, 0, 0), Origin::Signed);
        while view.poll_event().is_some() {}
    }
    let numbers = |ancestor: BlockId, numbers: &[u64]| {
        let blocks = numbers.iter().map(|number| made(*number, 0, 0)).collect();
        let mut page = page(id(8, 0), Some(ancestor), blocks);
        page.settle(&view, true);
        let taken = Cursor::new(Position::At(Tip::new(ancestor))).take(page.clone());
        assert!(!taken.more || page.blocks.len() == numbers.len(), "it does not ask at once");
        page.blocks.iter().map(|block| block.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(id(4, 0), &[5, 8]), [5], "6 and 7 are on their way to the disk");
    assert_eq!(numbers(id(7, 3), &[8]), [0_u64; 0], "another 7 is");
    assert_eq!(numbers(id(2, 0), &[5, 6]), [5, 6], "3 and 4 never were");
}

#[test]
fn connection_attempts_back_off_and_an_outage_is_reported_once() {
    let mut sink: FeedSink<Made> = FeedSink::new(at(0), None, Some(id(7, 0)));
    let (mut now, mut waits, mut told) = (0, Vec::new(), 0);
    for _ in 0..10 {
        loop {
            match sink.poll(at(now)) {
                Some(SinkStep::Connect(step)) => {
                    sink.disconnected(at(now), step, FeedFailure::Connection("nobody".into()));
                }
                Some(SinkStep::Failing(_)) => told += 1,
                None => break,
                other => panic!("{other:?}"),
            }
        }
        let next = sink.next_wakeup().expect("another attempt").since(at(now)).as_millis() as u64;
        waits.push(next);
        now += next;
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000, 15_000]);
    assert_eq!((told, sink.behind()), (1, 0));
    sink.stored(id(12, 0));
    assert_eq!(sink.behind(), 5);
}

#[test]
fn an_attempt_without_an_answer_times_out() {
    let mut sink: FeedSink<Made> = FeedSink::new(at(0), None, None);
    let Some(SinkStep::Connect(first)) = sink.poll(at(0)) else { panic!("no attempt") };
    assert_eq!(sink.next_wakeup(), Some(at(20_000)));
    assert_eq!(
        sink.poll(at(20_000)),
        Some(SinkStep::Failing(FeedFailure::Timeout(CONNECT_TIMEOUT)))
    );
    // The answer arrives after all, but too late.
    sink.connected(first, StreamEnd::default());
    assert_eq!(sink.poll(at(20_249)), None);
    let Some(SinkStep::Connect(second)) = sink.poll(at(20_250)) else { panic!("no attempt") };
    sink.connected(second, StreamEnd::default());
    sink.stored(id(5, 0));
    let Some(SinkStep::Load(load, _)) = sink.poll(at(20_250)) else { panic!("nothing is read") };
    sink.loaded(at(20_250), load, Ok(page(id(5, 0), None, vec![made(5, 0, 0)])));
    let published = sink.poll(at(20_250));
    assert!(
        matches!(published, Some(SinkStep::Publish { follows: Follows::Number(0), .. })),
        "{published:?}"
    );
    assert_eq!(sink.poll(at(30_249)), None);
    assert_eq!(sink.next_wakeup(), Some(at(30_250)));
    assert_eq!(sink.poll(at(30_250)), None, "the outage goes on");
    assert_eq!(sink.failure(), Some(&FeedFailure::Timeout(ACK_TIMEOUT)));
}
