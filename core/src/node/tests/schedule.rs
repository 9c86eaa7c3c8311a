//! Stale fork schedules: the operator is warned, and peers are not blamed.

use super::*;
use crate::gossip::ScheduleRule;
use std::collections::BTreeMap;

/// Returns a node whose table lacks Jovian, with a peer.
fn stale() -> Conversation {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::Connected(peer(1)));
    conversation.said();
    conversation
}

/// Returns blocks of a chain that uses blob gas since Jovian.
fn jovian_chain(length: usize) -> Vec<Envelope> {
    let with_blob_gas = |mut envelope: Envelope| {
        envelope.payload.blob_gas_used = Some(40_000);
        sealed(envelope)
    };
    let first = with_blob_gas(block(V4));
    let next = |parent: &Envelope| Some(with_blob_gas(child(parent, 0)));
    std::iter::successors(Some(first), next).take(length).collect()
}

fn doubts(said: &[Said]) -> Vec<ScheduleDoubt> {
    let each = said.iter().filter_map(|said| match said {
        Said::ScheduleInDoubt(doubt) => Some(*doubt),
        _ => None,
    });
    each.collect()
}

fn score(conversation: &Conversation) -> f64 {
    conversation.node.peers().score(conversation.now, &peer(1))
}

#[test]
fn honest_blocks_of_an_unknown_fork_cost_their_sender_nothing() {
    let mut conversation = stale();
    let before = score(&conversation);
    for (nth, block) in jovian_chain(20).iter().enumerate() {
        let message = conversation.hear_block(block);
        let said = conversation.said();
        assert!(said.contains(&Said::Refused(message, Reason::ForkBlobGas)), "{said:?}");
        assert!(said.contains(&Said::Block(id(block))), "the view follows: {said:?}");
        assert_eq!(doubts(&said).len(), usize::from(nth == 0));
        assert_eq!(conversation.node.view().head(), Some(id(block)));
    }
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
    assert!(score(&conversation) >= before);
}

#[test]
fn blocks_of_an_unknown_fork_still_count_as_repeats_and_per_height() {
    let mut conversation = stale();
    let block = |salt| {
        changed(V4, |payload| {
            payload.blob_gas_used = Some(1);
            payload.gas_used = salt;
        })
    };
    for (salt, expected) in [
        (0, Reason::ForkBlobGas),
        (0, Reason::AlreadySeen),
        (1, Reason::ForkBlobGas),
        (2, Reason::ForkBlobGas),
        (3, Reason::ForkBlobGas),
        (4, Reason::ForkBlobGas),
        (5, Reason::ForkBlobGas),
        (6, Reason::TooManyBlocks),
    ] {
        let message = conversation.hear_block(&block(salt));
        let said = conversation.said();
        assert!(said.contains(&Said::Refused(message, expected)), "{salt}: {said:?}");
    }
}

#[test]
fn a_forger_is_blamed_regardless_of_our_schedule() {
    let mut conversation = stale();
    let before = block_at(V4, NOW - 2);
    conversation.hear_from(2, V4, Unpacked::from_contents(&signed(&before)));
    let forged = signed_by(&key(8), &body(&jovian_chain(1)[0]));
    let message = conversation.hear(V4, &forged);
    assert!(conversation.said().contains(&Said::Refused(message, Reason::SignerInDoubt)));
    assert_eq!(conversation.node.schedule_doubt(), None);
    conversation.pass(2 * SECOND);
    let next = block_at(V4, conversation.now.unix_seconds());
    conversation.hear_from(2, V4, Unpacked::from_contents(&signed(&next)));
    assert!(conversation.node.peers().gate().ban_of(&peer(1)).is_some());
    assert_eq!(conversation.node.schedule_doubt(), None);
}

#[test]
fn the_doubt_is_reported_at_once_and_then_once_a_minute() {
    let mut conversation = stale();
    let chain = jovian_chain(40);
    let mut told = Vec::new();
    for (nth, block) in chain.iter().enumerate() {
        // All have one timestamp, so the wall clock does not move.
        conversation.now.monotonic = conversation.now.monotonic + 5 * SECOND;
        conversation.hear_block(block);
        told.extend(doubts(&conversation.said()).iter().map(|doubt| (nth, doubt.blocks)));
    }
    assert_eq!(told, [(0, 1), (12, 13), (24, 25), (36, 37)]);
    let doubt = conversation.node.schedule_doubt().expect("it goes on");
    assert_eq!((doubt.rule, doubt.fork), (ScheduleRule::BlobGas, Fork::Jovian));
    assert_eq!((doubt.blocks, doubt.since, doubt.activation), (40, NOW, None));
    let text = doubt.to_string();
    for part in ["40 signed blocks", "fork_blob_gas", "lacks jovian", "correct the time of jovian"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_doubt_ends_ten_minutes_after_the_last_doubtful_block() {
    let mut conversation = stale();
    conversation.hear_block(&jovian_chain(1)[0]);
    conversation.pass(SCHEDULE_DOUBT_TTL - SECOND);
    let doubt = conversation.node.schedule_doubt().expect("it goes on");
    conversation.said();
    conversation.pass(SECOND);
    assert_eq!(conversation.node.schedule_doubt(), None);
    assert!(conversation.said().contains(&Said::ScheduleDoubtEnded(doubt)));
}

#[test]
fn the_doubt_ends_after_a_thousand_blocks_that_follow_the_schedule() {
    let mut conversation = stale();
    let jovian = jovian_chain(1);
    conversation.hear_block(&jovian[0]);
    let mut parent = jovian[0].clone();
    for nth in 1..=SCHEDULE_DOUBT_BLOCKS {
        assert!(conversation.node.schedule_doubt().is_some(), "{nth}");
        let mut next = child(&parent, 0);
        next.payload.blob_gas_used = Some(0);
        parent = sealed(next);
        conversation.hear_block(&parent);
    }
    assert_eq!(conversation.node.schedule_doubt(), None);
    let said = conversation.said();
    assert!(said.iter().any(|said| matches!(said, Said::ScheduleDoubtEnded(_))));
}

#[test]
fn a_topic_expected_later_becomes_live_when_blocks_arrive_on_it() {
    let mut conversation = Conversation::on(V3);
    conversation.tell(Input::Connected(peer(1)));
    assert_eq!(conversation.live, [false, false, true, false]);
    let block = block(V4);
    let message = conversation.hear_block(&block);
    let said = conversation.said();
    assert!(said.contains(&Said::Accepted(message, id(&block))), "{said:?}");
    let [doubt] = doubts(&said)[..] else { panic!("{said:?}") };
    assert_eq!((doubt.rule, doubt.fork), (ScheduleRule::Version, Fork::Isthmus));
    assert_eq!(conversation.live, [false, false, true, true]);
    assert_eq!(conversation.node.topic_in_use(conversation.now), V4);
    assert!(score(&conversation) > 0.0, "deliveries on that topic are rewarded");
    conversation.pass(SCHEDULE_DOUBT_TTL);
    assert_eq!(conversation.live, [false, false, true, false]);
    assert_eq!(conversation.node.topic_in_use(conversation.now), V3);
}

#[test]
fn a_block_inserted_by_the_operator_is_accepted_and_raises_the_same_doubt() {
    let mut conversation = stale();
    let block = &jovian_chain(1)[0];
    let inserted = vouched(block).expect("its hash is true");
    conversation.tell(Input::Insert(inserted));
    let said = conversation.said();
    assert!(said.contains(&Said::Block(id(block))), "{said:?}");
    assert_eq!(doubts(&said).len(), 1);
    for version in PayloadVersion::ALL {
        let other = super::block(version);
        assert_eq!(vouched(&other).expect("good").version(), version);
    }
}

/// Returns a node whose configuration names forks that this software does not know.
fn with_unknown(forks: &[(&str, u64)]) -> Conversation {
    let unknown = forks.iter().map(|(name, time)| ((*name).to_owned(), *time));
    let mut config = config(V4);
    config.chain.unknown_forks = unknown.collect::<BTreeMap<_, _>>();
    Conversation::with(config)
}

fn unknown(said: Vec<Said>) -> Vec<(String, u64, bool)> {
    let each = said.into_iter().filter_map(|said| match said {
        Said::UnknownFork(name, time, is_active) => Some((name, time, is_active)),
        _ => None,
    });
    each.collect()
}

#[test]
fn an_unknown_fork_is_reported_at_the_start_and_at_its_activation() {
    let (past, soon, never) = (NOW - 1, NOW + 3600, u64::MAX);
    let mut conversation =
        with_unknown(&[("atlas_time", past), ("zeus_time", soon), ("omega_time", never)]);
    let told = |name: &str, time, is_active| (name.to_owned(), time, is_active);
    let expected = [
        told("atlas_time", past, true),
        told("omega_time", never, false),
        told("zeus_time", soon, false),
    ];
    assert_eq!(unknown(conversation.said()), expected);
    conversation.pass(Duration::from_secs(3599));
    assert_eq!(unknown(conversation.said()), []);
    conversation.pass(SECOND);
    assert_eq!(unknown(conversation.said()), [told("zeus_time", soon, true)]);
    conversation.pass(Duration::from_secs(86_400));
    assert_eq!(unknown(conversation.said()), []);
    let now = conversation.now;
    let active = conversation.node.unknown_forks(now).map(|fork| fork.is_active);
    assert_eq!(active.collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn a_jumping_clock_reports_an_unknown_fork_once() {
    let mut conversation = with_unknown(&[("atlas_time", NOW + 100)]);
    conversation.said();
    for offset in [200, 0, 200] {
        conversation.now.unix = Duration::from_secs(NOW + offset);
        conversation.tell(Input::Wake);
    }
    assert_eq!(unknown(conversation.said()), [("atlas_time".to_owned(), NOW + 100, true)]);
}

#[test]
fn what_an_unknown_fork_may_change_costs_its_sender_nothing() {
    let broken = || {
        let mut block = block(V4);
        block.payload.block_hash = B256::repeat_byte(9);
        signed(&block)
    };
    for (since, expected) in [(NOW - 1, Reason::UnknownFork), (NOW + 3600, Reason::BlockHash)] {
        let mut conversation = with_unknown(&[("atlas_time", since)]);
        for number in 1..=2 {
            conversation.tell(Input::Connected(peer(number)));
        }
        // It shows that no other fork has changed the header by now.
        let good = Unpacked::from_contents(&signed(&block(V4)));
        conversation.hear_from(2, V4, good);
        conversation.said();
        let message = conversation.hear(V4, &broken());
        let said = conversation.said();
        assert!(said.contains(&Said::Refused(message, expected)), "{said:?}");
        let bans = conversation.node.peers().gate().peer_bans().count();
        assert_eq!(bans, usize::from(expected == Reason::BlockHash));
    }
}

#[test]
fn a_fork_that_nobody_named_costs_no_sender_and_is_told() {
    let mut conversation = Conversation::on(V4);
    for number in 1..=2 {
        conversation.tell(Input::Connected(peer(number)));
    }
    conversation.hear_block(&block(V4));
    conversation.said();
    // From now on the hash covers a field that we don't know.
    for number in 1..60_u64 {
        conversation.pass(2 * SECOND);
        let mut next = changed(V4, |payload| {
            payload.block_number += number;
            payload.timestamp += 2 * number;
        });
        next.payload.block_hash.0[0] ^= 1;
        let message = Unpacked::from_contents(&signed(&next));
        let message = conversation.hear_from(1 + (number % 2) as u8, V4, message);
        let said = conversation.said();
        assert!(said.contains(&Said::Refused(message, Reason::HashInDoubt)), "{said:?}");
    }
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
    let told = conversation.node.troubles(conversation.now).map(|entry| entry.trouble.to_string());
    let told = told.collect::<Vec<_>>();
    let is_it = |text: &String| text.contains("new fork") && text.contains("a newer version");
    assert!(told.iter().any(is_it), "{told:?}");
}
