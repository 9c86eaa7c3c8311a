//! The trouble list of a node, and whether it is ready.

use super::*;
use crate::node::{NotReady, SILENCE};
use crate::peers::{ConnectionId, Door};
use crate::trouble::{Report, Role, Trouble, TroubleChange, TroubleEntry, TroubleKind};

/// Returns the kinds that began and ended since the last call, in their order.
fn changes(conversation: &mut Conversation) -> Vec<(TroubleKind, bool)> {
    let changes = std::mem::take(&mut conversation.changes);
    let said = changes.into_iter().map(|change| match change {
        TroubleChange::Began(entry) => (entry.trouble.kind(), true),
        TroubleChange::Ended(entry) => (entry.trouble.kind(), false),
    });
    said.collect()
}

fn entry(conversation: &Conversation, kind: TroubleKind) -> Option<TroubleEntry> {
    let mut entries = conversation.node.troubles(conversation.now);
    entries.find(|entry| entry.trouble.kind() == kind)
}

fn trouble(conversation: &Conversation, kind: TroubleKind) -> Option<Trouble> {
    entry(conversation, kind).map(|entry| entry.trouble)
}

fn kinds(conversation: &Conversation) -> Vec<TroubleKind> {
    conversation.node.trouble_kinds().collect()
}

/// Returns a block with this timestamp, the `nth` above the first, by any signer.
fn timed(signer: u8, nth: u64, timestamp: u64) -> Vec<u8> {
    let envelope = changed(V4, |payload| {
        payload.timestamp = timestamp;
        payload.block_number += nth;
    });
    signed_by(&key(signer), &body(&envelope))
}

/// A chain in which each block builds on the one before.
struct Maker(Option<Envelope>);

impl Maker {
    /// Makes the next block, with the present time.
    fn next(&mut self, conversation: &Conversation) -> Envelope {
        let timestamp = conversation.now.unix_seconds();
        let made = changed(V4, |payload| {
            payload.timestamp = timestamp;
            if let Some(parent) = &self.0 {
                payload.block_number = parent.payload.block_number + 1;
                payload.parent_hash = parent.payload.block_hash;
            }
        });
        self.0 = Some(made.clone());
        made
    }
}

/// A node with two peers.
fn connected(config: NodeConfig) -> Conversation {
    let mut conversation = Conversation::with(config);
    conversation.tell(Input::Connected(peer(1)));
    conversation.tell(Input::Connected(peer(2)));
    conversation
}

/// Lets the chain make blocks for a time, one every two seconds, brought by peers 1 and 2 in turn.
fn follow(conversation: &mut Conversation, maker: &mut Maker, blocks: u8) {
    for at in 0..blocks {
        let block = maker.next(conversation);
        conversation.hear_from(1 + at % 2, V4, Unpacked::from_contents(&signed(&block)));
        conversation.pass(2 * SECOND);
    }
}

#[test]
fn a_node_that_follows_its_chain_reports_nothing() {
    let mut conversation = connected(config(V4));
    let mut maker = Maker(None);
    for _ in 0..10 {
        conversation.tell(Input::Report(Report::Mesh([2; 4])));
        conversation.tell(Input::Report(Report::Store(None)));
        follow(&mut conversation, &mut maker, 180);
    }
    assert_eq!(changes(&mut conversation), []);
    assert_eq!(conversation.node.not_ready(conversation.now), []);
}

#[test]
fn a_silent_chain_is_reported_and_the_next_block_ends_it() {
    let mut conversation = connected(config(V4));
    let mut maker = Maker(None);
    follow(&mut conversation, &mut maker, 3);
    // The last block came two seconds ago; ten intervals are 20 s.
    conversation.pass(18 * SECOND - Duration::from_millis(1));
    assert_eq!(changes(&mut conversation), []);
    conversation.pass(Duration::from_millis(1));
    assert_eq!(changes(&mut conversation), [(TroubleKind::NoBlocks, true)]);
    let head = conversation.node.view().head();
    let silence = 20 * SECOND;
    let expected = Trouble::NoBlocks { head, silence };
    assert_eq!(trouble(&conversation, TroubleKind::NoBlocks), Some(expected));
    follow(&mut conversation, &mut maker, 4);
    assert_eq!(changes(&mut conversation), [(TroubleKind::NoBlocks, false)]);
}

#[test]
fn silence_is_measured_from_the_start_or_from_genesis() {
    let mut conversation = connected(config(V4));
    conversation.pass(20 * SECOND);
    assert_eq!(changes(&mut conversation), [(TroubleKind::NoBlocks, true)]);

    let mut early = config(V4);
    early.chain.genesis.time = NOW + 600;
    let mut conversation = connected(early);
    conversation.pass(619 * SECOND);
    assert_eq!(changes(&mut conversation), []);
    conversation.pass(SECOND);
    assert_eq!(changes(&mut conversation), [(TroubleKind::NoBlocks, true)]);
}

#[test]
fn a_fast_chain_may_be_silent_for_the_maximum_message_delay() {
    assert!(SILENCE >= 10 * SECOND);
    let mut fast = config(V4);
    fast.chain.forks = crate::chain::ForkSchedule::up_to(Fork::Denim);
    let mut conversation = connected(fast);
    conversation.pass(SILENCE - Duration::from_millis(1));
    assert_eq!(changes(&mut conversation), []);
    conversation.pass(Duration::from_millis(1));
    assert_eq!(changes(&mut conversation), [(TroubleKind::NoBlocks, true)]);
}

#[test]
fn browsers_do_not_count_as_block_sources() {
    let mut conversation = Conversation::with(config(V4));
    let (id, door, ip) = (ConnectionId(1), Door::Browser, None);
    let now = conversation.now;
    let secured = Knock::Secured { id, door, peer: peer(3), ip, is_inbound: true };
    conversation.node.knock(now, &Knock::Accept { id, door, ip }).expect("may come");
    conversation.node.knock(now, &secured).expect("may come");
    conversation.tell(Input::Connected(peer(3)));
    conversation.pass(30 * SECOND);
    assert!(changes(&mut conversation).contains(&(TroubleKind::NoPeers, true)));
    assert!(conversation.node.not_ready(conversation.now).contains(&NotReady::NoPeer));
    conversation.tell(Input::Connected(peer(1)));
    conversation.pass(5 * SECOND);
    assert!(changes(&mut conversation).contains(&(TroubleKind::NoPeers, false)));
}

#[test]
fn a_mesh_on_the_wrong_topic_does_not_count() {
    let mut conversation = connected(config(V4));
    let mut maker = Maker(None);
    conversation.tell(Input::Report(Report::Mesh([2, 2, 2, 0])));
    follow(&mut conversation, &mut maker, 31);
    assert_eq!(changes(&mut conversation), [(TroubleKind::NoMesh, true)]);
    let no_mesh = Trouble::NoMesh { topic: V4, peers: 2 };
    assert_eq!(trouble(&conversation, TroubleKind::NoMesh), Some(no_mesh));
    conversation.tell(Input::Report(Report::Mesh([0, 0, 0, 1])));
    follow(&mut conversation, &mut maker, 6);
    assert_eq!(changes(&mut conversation), [(TroubleKind::NoMesh, false)]);
}

#[test]
fn an_unknown_signer_is_reported_after_five_seconds() {
    let mut config = config(V4);
    config.chain.unsafe_block_signer = None;
    let mut conversation = connected(config);
    assert!(
        conversation
            .node
            .not_ready(conversation.now)
            .contains(&NotReady::Trouble(Trouble::SignerUnknown))
    );
    conversation.pass(5 * SECOND);
    assert_eq!(changes(&mut conversation), [(TroubleKind::SignerUnknown, true)]);
    conversation.tell(Input::SetSigner(Some(sequencer().address())));
    assert_eq!(changes(&mut conversation), [(TroubleKind::SignerUnknown, false)]);
}

#[test]
fn a_wrong_signer_is_reported_with_the_key_that_signs() {
    let wrong = NodeConfig { signer: Some(key(8).address()), ..config(V4) };
    let mut conversation = connected(wrong);
    let mut maker = Maker(None);
    follow(&mut conversation, &mut maker, 4);
    assert_eq!(changes(&mut conversation), [(TroubleKind::SignerWrong, true)]);
    let expected = key(8).address();
    let found = Some(sequencer().address());
    let signer_wrong = Trouble::SignerWrong { expected, found, blocks: 4 };
    assert_eq!(trouble(&conversation, TroubleKind::SignerWrong), Some(signer_wrong.clone()));
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
    let not_ready = conversation.node.not_ready(conversation.now);
    assert!(not_ready.contains(&NotReady::Trouble(signer_wrong)), "{not_ready:?}");
    // The operator corrects it.
    conversation.tell(Input::SetSigner(Some(sequencer().address())));
    follow(&mut conversation, &mut maker, 6);
    assert_eq!(changes(&mut conversation), [(TroubleKind::SignerWrong, false)]);
    assert_eq!(conversation.node.not_ready(conversation.now), []);
}

#[test]
fn forgers_cannot_raise_a_trouble_while_good_blocks_arrive() {
    let mut conversation = connected(config(V4));
    let mut maker = Maker(None);
    for round in 0..100 {
        follow(&mut conversation, &mut maker, 1);
        for (who, salt) in (3..13).zip(100..) {
            let now = conversation.now.unix_seconds();
            let salt = salt + round * 100;
            for contents in [
                timed(8, salt, now),
                timed(8, salt, now - 300),
                timed(7, salt, now - 300),
                [round as u8, who].repeat(100),
            ] {
                conversation.hear_from(who, V4, Unpacked::from_contents(&contents));
            }
        }
    }
    assert_eq!(changes(&mut conversation), []);
}

#[test]
fn a_clock_that_is_wrong_from_the_start_is_reported() {
    for (behind, ahead_ms) in [(true, -120_000), (false, 120_000)] {
        let mut conversation = connected(config(V4));
        for at in 0..4_u64 {
            let now = conversation.now.unix_seconds();
            let right = if behind { now + 120 } else { now - 120 };
            let contents = timed(7, at, right);
            conversation.hear_from(1 + (at % 2) as u8, V4, Unpacked::from_contents(&contents));
            conversation.pass(2 * SECOND);
        }
        assert_eq!(changes(&mut conversation), [(TroubleKind::Clock, true)]);
        let clock = Trouble::Clock { ahead_ms };
        assert_eq!(trouble(&conversation, TroubleKind::Clock), Some(clock));
        // The clock is set.
        let unix = conversation.now.unix;
        conversation.now.unix = if behind { unix + 120 * SECOND } else { unix - 120 * SECOND };
        follow(&mut conversation, &mut Maker(None), 6);
        assert!(changes(&mut conversation).contains(&(TroubleKind::Clock, false)));
    }
}

#[test]
fn a_clock_far_before_the_stored_head_is_reported_at_once() {
    let recent = vec![decoded(&block_at(V4, NOW + 600))];
    let head = Some(BlockId::of(&recent[0]));
    let mut conversation = connected(NodeConfig { head, recent, ..config(V4) });
    assert_eq!(changes(&mut conversation), [(TroubleKind::Clock, true)]);
    let clock = Trouble::Clock { ahead_ms: -600_000 };
    assert_eq!(trouble(&conversation, TroubleKind::Clock), Some(clock));

    let mut early = config(V4);
    early.chain.genesis.time = NOW + 100_000;
    let mut conversation = connected(early);
    assert_eq!(changes(&mut conversation), [(TroubleKind::Clock, true)]);
}

#[test]
fn a_catching_up_sequencer_and_replays_are_not_a_wrong_clock() {
    let mut conversation = connected(config(V4));
    let mut maker = Maker(None);
    follow(&mut conversation, &mut maker, 3);
    conversation.pass(300 * SECOND);
    changes(&mut conversation);
    // The sequencer was down for five minutes. It makes ten blocks a second until it catches up.
    let start = conversation.now.unix_seconds() - 300;
    for at in 0..110_u64 {
        let contents = timed(7, 100 + at, start + 2 * at);
        conversation.hear_from(1 + (at % 2) as u8, V4, Unpacked::from_contents(&contents));
        conversation.pass(SECOND / 10);
    }
    // One peer replays an old block again and again, in other forms.
    for at in 0..10 {
        let contents = timed(7, 300 + at, start);
        conversation.hear_from(3, V4, Unpacked::from_contents(&contents));
        conversation.pass(SECOND);
    }
    assert!(!kinds(&conversation).contains(&TroubleKind::Clock));
    assert!(!changes(&mut conversation).contains(&(TroubleKind::Clock, true)));
}

#[test]
fn a_signer_that_fails_is_reported_at_once_and_a_signature_ends_it() {
    let mut conversation = connected(NodeConfig { role: Role::Sequencer, ..config(V4) });
    let mut maker = Maker(None);
    assert_eq!(conversation.node.not_ready(conversation.now), []);
    conversation.signing = Signing::Fails("connection refused");
    let first = maker.next(&conversation);
    conversation.publish(&first);
    assert_eq!(changes(&mut conversation), [(TroubleKind::Signing, true)]);
    let signing = Trouble::Signing("connection refused".to_owned());
    assert_eq!(trouble(&conversation, TroubleKind::Signing), Some(signing.clone()));
    assert_eq!(conversation.node.not_ready(conversation.now), [NotReady::Trouble(signing)]);
    conversation.pass(5 * SECOND);
    conversation.signing = Signing::With(sequencer());
    conversation.pass(11 * SECOND);
    assert_eq!(changes(&mut conversation), [(TroubleKind::Signing, false)]);
    assert_eq!(conversation.node.not_ready(conversation.now), []);
}

#[test]
fn a_wrong_signing_key_is_reported_as_signing_trouble() {
    let mut conversation = connected(config(V4));
    conversation.signing = Signing::With(key(8));
    let first = Maker(None).next(&conversation);
    conversation.publish(&first);
    let expected = Trouble::Signing(Reason::WrongSigner.to_string());
    assert_eq!(trouble(&conversation, TroubleKind::Signing), Some(expected));
}

#[test]
fn a_block_that_no_peer_takes_is_reported_after_a_while() {
    let mut conversation = connected(config(V4));
    conversation.network = Network::Answers(SendOutcome::NoPeers);
    let first = Maker(None).next(&conversation);
    conversation.publish(&first);
    conversation.pass(5 * SECOND);
    assert_eq!(changes(&mut conversation), [(TroubleKind::Publishing, true)]);
    conversation.network = Network::Answers(SendOutcome::Sent);
    conversation.pass(12 * SECOND);
    assert_eq!(changes(&mut conversation), [(TroubleKind::Publishing, false)]);
}

#[test]
fn own_blocks_keep_a_sequencer_from_reporting_silence() {
    let mut conversation = connected(config(V4));
    let mut maker = Maker(None);
    for _ in 0..60 {
        let block = maker.next(&conversation);
        conversation.publish(&block);
        conversation.pass(2 * SECOND);
    }
    assert_eq!(changes(&mut conversation), []);
}

#[test]
fn a_configuration_that_refuses_every_block_is_reported() {
    let mut conversation = connected(config(V4));
    // Blocks of another fork than the topic's, from different peers.
    for at in 0..6_u64 {
        let contents = signed(&changed(V3, |payload| payload.block_number += at));
        conversation.hear_from(1 + (at % 2) as u8, V4, Unpacked::from_contents(&contents));
        conversation.pass(6 * SECOND);
    }
    conversation.pass(8 * SECOND);
    let expected = Trouble::Refused { reason: Reason::Payload, refused: 6, of: 6 };
    assert_eq!(trouble(&conversation, TroubleKind::Refused), Some(expected));
    let mut maker = Maker(None);
    follow(&mut conversation, &mut maker, 90);
    assert_eq!(trouble(&conversation, TroubleKind::Refused), None);
}

#[test]
fn the_doubts_about_the_schedule_are_in_the_list() {
    let mut config = config(V4);
    config.chain.unknown_forks.insert("interop_time".to_owned(), NOW + 8 * 86_400);
    let mut conversation = connected(config);
    assert_eq!(kinds(&conversation), []);
    conversation.pass(Duration::from_secs(86_400));
    assert!(kinds(&conversation).contains(&TroubleKind::UnknownFork));
    let block = changed(V4, |payload| {
        payload.timestamp = conversation.now.unix_seconds();
        payload.blob_gas_used = Some(1);
    });
    conversation.hear_block(&block);
    assert!(kinds(&conversation).contains(&TroubleKind::ScheduleInDoubt));
    conversation.pass(SCHEDULE_DOUBT_TTL);
    assert!(!kinds(&conversation).contains(&TroubleKind::ScheduleInDoubt));
}

#[test]
fn a_gap_without_progress_is_reported() {
    let mut conversation = connected(config(V4));
    let mut maker = Maker(None);
    follow(&mut conversation, &mut maker, 2);
    let lost = maker.next(&conversation);
    let start = conversation.now.monotonic;
    // Without a source, the view skips the gap when its patience ends.
    while conversation.node.view().gap().is_some() || conversation.now.monotonic == start {
        follow(&mut conversation, &mut maker, 1);
        if conversation.now.monotonic.since(start) > 32 * SECOND {
            break;
        }
    }
    match conversation.node.view().gap() {
        Some(_) => {
            let number = lost.payload.block_number;
            let gap = Trouble::Gap { from: number, to: number, servers: 0 };
            assert_eq!(trouble(&conversation, TroubleKind::Gap), Some(gap));
            conversation.hear_block(&lost);
            follow(&mut conversation, &mut maker, 4);
            assert_eq!(kinds(&conversation), []);
        }
        None => assert_eq!(changes(&mut conversation), []),
    }
}

#[test]
fn two_sequencers_with_one_key_are_reported() {
    let mut conversation = connected(config(V4));
    let mut maker = Maker(None);
    follow(&mut conversation, &mut maker, 2);
    let mut other = maker.0.clone().expect("a block");
    for salt in 0..12 {
        follow(&mut conversation, &mut maker, 1);
        other = changed(V4, |payload| {
            payload.block_number = other.payload.block_number + 1;
            payload.parent_hash = other.payload.block_hash;
            payload.timestamp = conversation.now.unix_seconds();
            payload.gas_used = 100 + salt;
        });
        conversation.hear_block(&other);
    }
    assert_eq!(changes(&mut conversation), [(TroubleKind::TwoSequencers, true)]);
    follow(&mut conversation, &mut maker, 60);
    assert_eq!(changes(&mut conversation), [(TroubleKind::TwoSequencers, false)]);
}

#[test]
fn driver_reports_stay_in_the_list_until_they_clear() {
    type Make = fn(Option<String>) -> Report;
    let reports: [(Make, TroubleKind); 10] = [
        (Report::Store, TroubleKind::Store),
        (Report::PeerStore, TroubleKind::PeerStore),
        (Report::StoreDamaged, TroubleKind::StoreDamaged),
        (Report::KeyFile, TroubleKind::KeyFile),
        (Report::Engine, TroubleKind::Engine),
        (Report::Labels, TroubleKind::Labels),
        (Report::L1, TroubleKind::L1),
        (Report::Feed, TroubleKind::Feed),
        (Report::Proofs, TroubleKind::Proofs),
        (Report::Certificate, TroubleKind::Certificate),
    ];
    for (report, kind) in reports {
        let mut conversation = connected(config(V4));
        let mut maker = Maker(None);
        conversation.tell(Input::Report(report(Some("it\nfails".to_owned()))));
        follow(&mut conversation, &mut maker, 16);
        assert_eq!(changes(&mut conversation), [(kind, true)]);
        let TroubleEntry { trouble, since, last } = entry(&conversation, kind).expect("an entry");
        assert!(trouble.to_string().contains("it fails"), "{trouble}");
        // Reported once, the trouble lasts.
        assert_eq!((since, last), (NOW, conversation.now.unix_seconds()));
        conversation.tell(Input::Report(report(None)));
        follow(&mut conversation, &mut maker, 4);
        assert_eq!(changes(&mut conversation), [(kind, false)]);
    }
}

#[test]
fn panics_lost_parts_and_a_shared_key_are_reported() {
    let mut conversation = connected(config(V4));
    conversation.tell(Input::Report(Report::Panics(0)));
    assert_eq!(changes(&mut conversation), []);
    conversation.tell(Input::Report(Report::Panics(1)));
    conversation.tell(Input::Report(Report::Panics(1)));
    conversation.tell(Input::Report(Report::KeyInUse("/ip4/1.2.3.4".to_owned())));
    conversation.tell(Input::Report(Report::PartLost("rpc".to_owned())));
    let began = [TroubleKind::Panicked, TroubleKind::KeyInUse, TroubleKind::PartLost];
    assert_eq!(changes(&mut conversation), began.map(|kind| (kind, true)));
    let mut maker = Maker(None);
    follow(&mut conversation, &mut maker, 200);
    follow(&mut conversation, &mut maker, 120);
    assert_eq!(kinds(&conversation), [TroubleKind::PartLost]);
}

/// Returns the names of the reasons why a node of this role is not ready.
fn reasons(role: Role, change: impl FnOnce(&mut Conversation)) -> Vec<&'static str> {
    let mut conversation = connected(NodeConfig { role, ..config(V4) });
    conversation.tell(Input::Report(Report::Mesh([2; 4])));
    follow(&mut conversation, &mut Maker(None), 3);
    assert_eq!(conversation.node.not_ready(conversation.now), [], "{role}");
    change(&mut conversation);
    conversation.node.not_ready(conversation.now).iter().map(NotReady::name).collect()
}

#[test]
fn readiness_depends_on_the_role() {
    let expect = |change: fn(&mut Conversation), expected: [&[&str]; 4]| {
        for (role, expected) in Role::ALL.into_iter().zip(expected) {
            assert_eq!(reasons(role, change), expected, "{role}");
        }
    };
    // In the order: follower, gateway, sequencer, engine follower.
    expect(
        |node| node.tell(Input::Report(Report::Store(Some("full".to_owned())))),
        [&["store"], &["store"], &["store"], &["store"]],
    );
    expect(
        |node| node.tell(Input::Report(Report::Engine(Some("away".to_owned())))),
        [&[], &[], &[], &["engine"]],
    );
    expect(|node| node.tell(Input::Report(Report::Mesh([0; 4]))), [&[], &["no_mesh"], &[], &[]]);
    expect(
        |node| {
            node.tell(Input::Disconnected(peer(1)));
            node.tell(Input::Disconnected(peer(2)));
        },
        [&["no_peer"], &["no_peer"], &[], &["no_peer"]],
    );
    expect(
        |node| node.tell(Input::SetSigner(None)),
        [&["signer_unknown"], &["signer_unknown"], &[], &["signer_unknown"]],
    );
    expect(|node| node.pass(59 * SECOND), [&["old_head"], &["old_head"], &[], &["old_head"]]);
    expect(|node| node.pass(58 * SECOND), [&[], &[], &[], &[]]);
    expect(
        |node| {
            node.signing = Signing::Fails("locked");
            let block = changed(V4, |payload| payload.timestamp = node.now.unix_seconds());
            node.publish(&block);
        },
        [&[], &[], &["signing"], &[]],
    );
}

#[test]
fn a_node_without_a_head_or_a_signer_is_not_ready() {
    let conversation = connected(config(V4));
    assert_eq!(conversation.node.not_ready(conversation.now), [NotReady::NoHead]);
    let role = Role::Sequencer;
    let conversation = connected(NodeConfig { role, can_sign: false, ..config(V4) });
    assert_eq!(conversation.node.not_ready(conversation.now), [NotReady::NoSigner]);
    for reason in [NotReady::NoHead, NotReady::NoPeer, NotReady::NoMesh, NotReady::NoSigner] {
        let text = reason.to_string();
        assert!(text.starts_with(char::is_uppercase) && !text.ends_with('.'), "{text}");
    }
}
