//! Work beside another client, which proves blocks of the same range.

use super::misled::check;
use super::*;
use crate::chain::BlockId;
use crate::peers::Conduct;
use crate::sync::client::Range;

/// Returns a client that asked peer 1 for the blocks below 200, and its stream at the frontier.
fn asking(blocks: &[Block]) -> (SegmentClient, StreamId) {
    let mut client = SegmentClient::new(SegmentClientConfig::new(1));
    client.connected(peer(1));
    client.aim(at(0), Some(Range { wanted: BlockId::of(&blocks[200]), lowest: 1 }));
    let mut frontier = None;
    while let Some(step) = client.poll(at(0)) {
        if let SegmentStep::Open { id, request, .. } = step
            && request.first.number() == 200
        {
            frontier = Some(id);
        }
    }
    (client, frontier.expect("the frontier is asked for"))
}

#[test]
fn what_another_client_proved_is_not_proved_again() {
    let blocks = chain(200, 0, 50);
    let (mut client, id) = asking(&blocks);
    client.received(at(0), id, &packed([&blocks[200], &blocks[199], &blocks[198]]).frame);
    check(&mut client);
    client.proved_elsewhere(at(0), &blocks[200]);
    let mut proved = Vec::new();
    while let Some(step) = client.poll(at(0)) {
        match step {
            SegmentStep::Proved(block, _) => proved.push(block.number()),
            SegmentStep::Conduct(_, conduct) => assert_eq!(conduct, Conduct::ValidResponse),
            _ => {}
        }
    }
    assert_eq!(proved, [199, 198]);
}

#[test]
fn a_segment_that_another_client_proved_is_cancelled() {
    let blocks = chain(200, 0, 50);
    let (mut client, id) = asking(&blocks);
    for block in blocks[1..].iter().rev() {
        client.proved_elsewhere(at(0), block);
    }
    assert_eq!(client.range(), None);
    let mut steps = std::iter::from_fn(|| client.poll(at(0)));
    assert!(steps.any(|step| matches!(step, SegmentStep::Cancel(stream) if stream == id)));
    assert_eq!(client.streams(), 0);
}

#[test]
fn work_is_expected_from_a_server_until_it_is_late() {
    let blocks = chain(200, 0, 50);
    let (mut client, id) = asking(&blocks);
    assert!(client.is_at_work(at(999)));
    assert!(!client.is_at_work(at(1_000)), "it has sent nothing for a second");
    // A part of a chunk shows that the server works, but not for ever.
    let frame = packed([&blocks[200]]).frame;
    client.received(at(1_500), id, &frame[..1]);
    assert!(client.is_at_work(at(2_499)));
    assert!(!client.is_at_work(at(2_500)));
    client.received(at(3_900), id, &frame[1..2]);
    assert!(client.is_at_work(at(3_999)));
    assert!(!client.is_at_work(at(4_000)), "no block came for four seconds");
}
