//! Blocks in order, gaps, reorgs and restarts, as seen by the store and by listeners.

use super::*;
use crate::chain::GapEnd;
use crate::payload::Block;

/// Returns the outputs after an accepted block that extends the head.
fn extended(message: u64, block: &Envelope) -> [Said; 3] {
    let block = id(block);
    [Said::Accepted(message, block), Said::Store(block), Said::Block(block)]
}

#[test]
fn blocks_are_stored_and_delivered_in_order() {
    let mut conversation = Conversation::on(V4);
    for (message, block) in (1..).zip(chain(V4, 5)) {
        conversation.hear_block(&block);
        assert_eq!(conversation.said(), extended(message, &block));
    }
}

#[test]
fn results_that_return_out_of_order_are_delivered_in_order() {
    let mut conversation = Conversation::on(V4);
    let blocks = chain(V4, 4);
    conversation.hear_block(&blocks[0]);
    conversation.said();
    conversation.hold_jobs = true;
    for block in &blocks[1..] {
        conversation.hear_block(block);
    }
    conversation.jobs.make_contiguous().reverse();
    conversation.run_all_jobs();
    let [_, b1, b2, b3] = [0, 1, 2, 3].map(|n| id(&blocks[n]));
    assert_eq!(
        conversation.said(),
        [
            Said::Accepted(4, b3),
            Said::GapOpened(b2),
            Said::Accepted(3, b2),
            Said::GapChanged(b1),
            Said::Accepted(2, b1),
            Said::GapClosed(GapEnd::Filled),
            Said::Store(b1),
            Said::Block(b1),
            Said::Store(b2),
            Said::Block(b2),
            Said::Store(b3),
            Said::Block(b3),
        ]
    );
}

#[test]
fn a_second_block_at_a_height_is_reported_but_not_stored() {
    let mut conversation = Conversation::on(V4);
    let first = block(V4);
    conversation.hear_block(&first);
    conversation.said();
    let two = child(&first, 2);
    let other = child(&first, 3);
    conversation.hear_block(&two);
    conversation.said();
    let message = conversation.hear_block(&other);
    let expected = [Said::Accepted(message, id(&other)), Said::Equivocation(id(&two), id(&other))];
    assert_eq!(conversation.said(), expected);
    assert_eq!(conversation.node.view().head(), Some(id(&two)));
}

#[test]
fn a_longer_branch_rewinds_the_store_before_it_extends_it() {
    let mut conversation = Conversation::on(V4);
    let root = block(V4);
    let old = [child(&root, 1), child(&child(&root, 1), 1)];
    let new1 = child(&root, 2);
    let new2 = child(&new1, 2);
    let new3 = child(&new2, 2);
    for block in [&root, &old[0], &old[1], &new1, &new2] {
        conversation.hear_block(block);
    }
    assert_eq!(conversation.node.view().head(), Some(id(&old[1])), "the first block wins a height");
    conversation.said();
    let message = conversation.hear_block(&new3);
    let [n1, n2, n3] = [&new1, &new2, &new3].map(id);
    assert_eq!(conversation.said(), [Said::Accepted(message, n3)]);
    // At first the old branch may still grow. Then it has been silent for too long.
    conversation.pass(Duration::from_secs(3));
    assert_eq!(
        conversation.said(),
        [
            Said::Rewind(id(&root)),
            Said::Reorg {
                ancestor: id(&root),
                abandoned: vec![id(&old[0]), id(&old[1])],
                adopted: vec![n1, n2, n3],
            },
            Said::Store(n1),
            Said::Block(n1),
            Said::Store(n2),
            Said::Block(n2),
            Said::Store(n3),
            Said::Block(n3),
        ]
    );
}

#[test]
fn a_resumed_node_continues_with_the_next_block() {
    let blocks = chain(V4, 6);
    let recent: Vec<Block> = blocks[..4].iter().rev().map(decoded).collect();
    for recent in [recent, Vec::new()] {
        let head = Some(id(&blocks[3]));
        let mut conversation = Conversation::with(NodeConfig { head, recent, ..config(V4) });
        assert_eq!(conversation.node.view().head(), head);
        assert_eq!(conversation.said(), [], "nothing is reported again");
        conversation.hear_block(&blocks[4]);
        assert_eq!(conversation.said(), extended(1, &blocks[4]));
        conversation.hear_block(&blocks[5]);
        assert_eq!(conversation.said(), extended(2, &blocks[5]));
    }
}

#[test]
fn after_a_restart_a_known_block_is_relayed_but_not_delivered_again() {
    let blocks = chain(V4, 3);
    let recent = blocks.iter().rev().map(decoded).collect();
    let head = Some(id(&blocks[2]));
    let mut conversation = Conversation::with(NodeConfig { head, recent, ..config(V4) });
    for (message, block) in (1..).zip(&blocks) {
        conversation.hear_block(block);
        assert_eq!(conversation.said(), [Said::Accepted(message, id(block))]);
    }
}

#[test]
fn a_resumed_node_sees_missed_blocks_as_a_gap() {
    let blocks = chain(V4, 6);
    let head = Some(id(&blocks[1]));
    let mut conversation = Conversation::with(NodeConfig { head, ..config(V4) });
    conversation.hear_block(&blocks[4]);
    assert_eq!(
        conversation.said(),
        [Said::Accepted(1, id(&blocks[4])), Said::GapOpened(id(&blocks[3]))]
    );
    assert_eq!(conversation.node.view().gap().map(|gap| gap.missing), Some(2));
}

#[test]
fn a_resumed_node_can_follow_a_reorg_below_its_head() {
    let root = block(V4);
    let old = child(&root, 1);
    let recent = vec![decoded(&old), decoded(&root)];
    let head = Some(id(&old));
    let mut conversation = Conversation::with(NodeConfig { head, recent, ..config(V4) });
    let new = child(&root, 2);
    conversation.hear_block(&new);
    conversation.hear_block(&child(&new, 2));
    conversation.pass(Duration::from_secs(3));
    assert!(conversation.said().contains(&Said::Rewind(id(&root))));
    assert_eq!(conversation.node.view().head(), Some(id(&child(&new, 2))));
}
