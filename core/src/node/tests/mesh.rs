//! A node with a gossip router of its own.

use super::frames::{Net, data, routing, stranger, topic, who};
use super::*;
use crate::mesh::Topic;
use crate::peers::{
    ConnectionId, DisconnectReason, Door, Knock, LimitsConfig, PeerEvent, PeersConfig, Scoring,
};

fn v4() -> Topic {
    Topic::new(V4.index()).expect("one of four")
}

fn dropped(net: &Net, at: usize) -> Vec<DisconnectReason> {
    let events = net.seats[at].peer_events();
    let reasons = events.iter().filter_map(|event| match event {
        PeerEvent::Dropped { why, .. } => Some(*why),
        _ => None,
    });
    reasons.collect()
}

/// Checks that no message is under way in a node.
fn assert_nothing_left(net: &Net, at: usize) {
    let seat = &net.seats[at];
    assert_eq!((net.sizes(at).judging, net.sizes(at).judging_bytes), (0, 0));
    assert_eq!(seat.node.mesh.as_ref().expect("a router").judging(), 0);
    let validator = &seat.node.validator;
    assert_eq!((validator.waiting(), validator.running(), seat.node.jobs.len()), (0, 0, 0));
}

#[test]
fn two_nodes_meet_and_a_block_goes_from_one_to_the_other() {
    let mut net = Net::line(2);
    for at in [0, 1] {
        let other = who(1 - at);
        assert!(PayloadVersion::ALL.iter().all(|on| net.peers(at).is_subscribed(&other, *on)));
        assert!(net.peers(at).is_in_mesh(&other, V4));
        let router = net.seats[at].node.router().expect("a router");
        assert!(router.mesh_of(v4()).eq([&other]));
    }
    let block = block(V4);
    net.publish(0, 1, &block);
    let published = |event: &Event| matches!(event, Event::Published { result: Ok(_), .. });
    assert!(net.seats[0].events.iter().any(published));
    assert_eq!(net.seats[1].head(), Some(id(&block)));
    let [verdict] = net.seats[1].verdicts[..] else { panic!("{:?}", net.seats[1].verdicts) };
    assert_eq!((verdict.from, verdict.topic, verdict.result), (who(0), V4, Ok(id(&block))));
    assert_eq!(net.seats[1].ran, [JobKind::Name, JobKind::Validate]);
    assert_eq!(net.seats[0].ran, [JobKind::Seal, JobKind::Validate, JobKind::Pack]);
    (0..2).for_each(|at| assert_nothing_left(&net, at));
}

#[test]
fn a_block_passes_through_a_line_of_five_and_each_judges_it_once() {
    let mut net = Net::line(5);
    net.connect(4, 0);
    net.pass(2 * SECOND);
    let blocks = chain(V4, 6);
    for (at, block) in blocks.iter().enumerate() {
        net.publish(0, at as u64, block);
        net.pass(SECOND);
    }
    for at in 0..5 {
        let seat = &net.seats[at];
        assert_eq!(seat.head(), blocks.last().map(id), "node {at}");
        assert_eq!(seat.verdicts.len(), if at == 0 { 0 } else { blocks.len() }, "node {at}");
        assert!(seat.verdicts.iter().all(|verdict| verdict.result.is_ok()));
        assert_nothing_left(&net, at);
    }
    // The neighbour that was first has delivered, and has lost nothing.
    let score = net.peers(1).scores(net.now, &who(0)).gossip;
    assert!(score.blocks.first_message_deliveries > 5.0 && score.total > 4.0, "{score:?}");
    assert!(score.blocks.time_in_mesh > 5.0 && score.behavioural_penalty == 0.0);
}

#[test]
fn a_publication_waits_for_a_node_and_browsers_are_none() {
    let mut net = Net::new((0..2).map(routing));
    let block = block(V4);
    net.publish(0, 1, &block);
    net.connect_at(Door::Browser, stranger(1), 0);
    net.say(stranger(1), 0, |writer| {
        writer.subscription(&topic(), true);
        writer.graft(&topic());
    });
    net.pass(3 * SECOND);
    assert!(net.peers(0).is_in_mesh(&who(stranger(1)), V4));
    let router = net.seats[0].node.router().expect("a router");
    assert_eq!((router.nodes_in_mesh(v4()), router.mesh_of(v4()).count()), (0, 1));
    let is_published = |net: &Net| {
        let mut events = net.seats[0].events.iter();
        events.any(|event| matches!(event, Event::Published { result: Ok(_), .. }))
    };
    assert!(!is_published(&net));
    net.connect(0, 1);
    net.pass(2 * SECOND);
    assert!(is_published(&net));
    assert_eq!(net.seats[1].head(), Some(id(&block)));
}

#[test]
fn an_invalid_block_costs_its_sender_the_connection_and_is_not_relayed() {
    let mut net = Net::line(2);
    net.meet(stranger(1), 0);
    net.send(stranger(1), 0, &[7; 80]);
    let verdict = net.seats[0].verdicts[0];
    assert_eq!((verdict.from, verdict.acceptance()), (who(stranger(1)), Acceptance::Reject));
    assert!(net.peers(0).score(net.now, &who(stranger(1))) < -100.0);
    assert!(net.seats[0].has_banned(stranger(1)));
    assert_eq!(dropped(&net, 0), [DisconnectReason::Banned]);
    assert!(!net.is_linked(0, stranger(1)));
    net.pass(5 * SECOND);
    assert_eq!((net.seats[1].messages, net.seats[1].verdicts.len()), (0, 0));
    assert!(net.peers(0).score(net.now, &who(1)) >= 0.0);
    assert_nothing_left(&net, 0);
}

#[test]
fn all_senders_of_an_invalid_block_are_charged() {
    let mut net = Net::new([routing(1)]);
    net.seats[0].holds = Some(JobKind::Validate);
    for number in 1..=3 {
        net.meet(stranger(number), 0);
        net.send(stranger(number), 0, &[7; 80]);
    }
    assert_eq!(net.seats[0].jobs.len(), 1, "it is judged once");
    net.run_jobs(0);
    assert_eq!(net.seats[0].verdicts.len(), 1);
    assert!((1..=3).all(|number| net.seats[0].has_banned(stranger(number))));
}

#[test]
fn a_peer_that_leaves_in_mid_validation_leaves_nothing_behind() {
    let good = signed(&block(V4));
    for (kind, contents) in [
        (JobKind::Name, &good[..]),
        (JobKind::Validate, &good[..]),
        (JobKind::Name, &[7; 80]),
        (JobKind::Validate, &[7; 80]),
    ] {
        let mut net = Net::line(2);
        net.seats[0].holds = Some(kind);
        net.meet(stranger(1), 0);
        net.send(stranger(1), 0, contents);
        assert_eq!(net.seats[0].jobs.len(), 1);
        net.disconnect(stranger(1), 0);
        net.run_jobs(0);
        assert_nothing_left(&net, 0);
        let is_good = contents.len() > 80;
        assert_eq!(net.seats[0].verdicts[0].result.is_ok(), is_good);
        // Good or bad, its message counts: it is relayed, or its sender kept out.
        assert_eq!(net.seats[1].head().is_some(), is_good);
        assert_eq!(net.seats[0].has_banned(stranger(1)), !is_good);
        let sizes = net.sizes(0);
        assert_eq!((sizes.peers, sizes.promises, sizes.turns, sizes.held), (1, 0, 0, 0));
    }
}

#[test]
fn a_naming_job_that_panics_frees_its_place_and_another_copy_brings_the_message() {
    let mut net = Net::new([routing(1)]);
    net.meet(stranger(1), 0);
    net.seats[0].holds = Some(JobKind::Name);
    for attempt in 0..10 {
        net.send(stranger(1), 0, &signed(&block(V4)));
        let job = net.seats[0].jobs.pop_front().unwrap_or_else(|| panic!("attempt {attempt}"));
        net.tell(0, Input::JobDone(JobResult::panicked(job.id())));
    }
    assert_nothing_left(&net, 0);
    net.send(stranger(1), 0, &signed(&block(V4)));
    net.run_jobs(0);
    assert_eq!(net.seats[0].head(), Some(id(&block(V4))));
    assert_eq!(net.peers(0).scores(net.now, &who(stranger(1))).gossip.behavioural_penalty, 0.0);
}

#[test]
fn a_crowd_of_messages_is_bounded_and_each_that_is_judged_has_its_verdict() {
    let mut net = Net::new([routing(1)]);
    net.seats[0].holds = Some(JobKind::Validate);
    for number in 1..=5 {
        net.meet(stranger(number), 0);
        for salt in 0..128_u64 {
            let block = changed(V4, |payload| {
                payload.gas_used = salt;
                payload.block_number += number as u64;
            });
            net.send(stranger(number), 0, &signed(&block));
        }
        net.pass(SECOND);
    }
    assert_eq!(net.sizes(0).judging, crate::mesh::MAX_ENTRIES);
    assert_eq!(
        net.seats[0].node.mesh.as_ref().expect("a router").judging(),
        crate::mesh::JUDGING_AT_ONCE
    );
    net.run_jobs(0);
    assert_nothing_left(&net, 0);
    assert!(net.seats[0].verdicts.len() >= crate::mesh::MAX_ENTRIES);
}

#[test]
fn an_innocent_seeming_block_of_another_key_is_charged_once_the_signer_is_known() {
    let mut net = Net::new([NodeConfig { reads_signer: true, ..routing(1) }]);
    (1..=2).for_each(|number| net.meet(stranger(number), 0));
    let good = changed(V4, |payload| payload.block_number += 1);
    net.send(stranger(2), 0, &signed(&good));
    net.send(stranger(1), 0, &signed_by(&key(8), &body(&block(V4))));
    assert_eq!(net.seats[0].verdicts[1].result, Err(Reason::SignerInDoubt));
    assert!(net.is_linked(0, stranger(1)));
    let signer = Some(sequencer().address());
    net.pass(10 * SECOND);
    net.tell(0, Input::SignerRead { signer, as_of: NOW + 600 });
    assert!(net.seats[0].has_banned(stranger(1)));
}

/// Has a peer demand far more than it may, for as long as it is connected.
fn flood(net: &mut Net, from: usize) {
    for _ in 0..60 {
        for _ in 0..10 {
            if !net.is_linked(0, from) {
                return;
            }
            net.say(from, 0, |writer| {
                (0..300_u32).for_each(|number| writer.subscription(&number.to_string(), true));
            });
        }
        net.pass(SECOND);
    }
}

#[test]
fn a_flood_ends_in_a_ban() {
    let mut net = Net::line(2);
    net.meet(stranger(1), 0);
    flood(&mut net, stranger(1));
    assert!(net.seats[0].has_banned(stranger(1)));
    assert_eq!(dropped(&net, 0), [DisconnectReason::Flooding]);
    assert!(!net.is_linked(0, stranger(1)));
    assert!(net.is_linked(0, 1));
}

#[test]
fn a_flood_ends_in_a_ban_also_without_scores_but_not_of_a_static_peer() {
    let peers = PeersConfig { scoring: Scoring::None, ..PeersConfig::default() };
    let static_peers = vec![who(stranger(2)).into()];
    let mut net = Net::new([NodeConfig { peers, static_peers, ..routing(1) }]);
    for number in [1, 2] {
        net.meet(stranger(number), 0);
        flood(&mut net, stranger(number));
        assert_eq!(net.is_linked(0, stranger(number)), number == 2);
    }
    assert!(net.seats[0].has_banned(stranger(1)) && !net.seats[0].has_banned(stranger(2)));
    assert_eq!(dropped(&net, 0), [DisconnectReason::Flooding]);
}

#[test]
fn without_bans_a_flood_still_ends_the_connection() {
    let mut config = routing(1);
    config.peers.bans.is_enabled = false;
    let mut net = Net::new([config]);
    net.meet(stranger(1), 0);
    flood(&mut net, stranger(1));
    assert!(!net.seats[0].has_banned(stranger(1)) && !net.is_linked(0, stranger(1)));
    assert_eq!(dropped(&net, 0), [DisconnectReason::Flooding]);
}

#[test]
fn a_peer_that_reads_nothing_loses_its_stream_and_then_its_connection() {
    let mut net = Net::new([routing(1)]);
    net.deaf.insert(stranger(1));
    net.meet(stranger(1), 0);
    net.pass(45 * SECOND);
    assert!(net.is_linked(0, stranger(1)));
    net.pass(60 * SECOND);
    assert!(net.seats[0].has_banned(stranger(1)) && !net.is_linked(0, stranger(1)));
    assert_eq!(dropped(&net, 0), [DisconnectReason::Deaf]);
}

#[test]
fn scores_are_counted_once_and_remembered() {
    let mut net = Net::new([routing(1)]);
    let sender = who(stranger(1));
    net.meet(stranger(1), 0);
    net.pass(2 * SECOND);
    for block in chain(V4, 3) {
        net.send(stranger(1), 0, &signed(&block));
        net.send(stranger(1), 0, &signed(&block));
    }
    // The next heartbeat reads it.
    net.pass(SECOND);
    let scores = net.peers(0).scores(net.now, &sender).gossip;
    let router = net.seats[0].node.router().expect("a router").score_of(net.now.monotonic, &sender);
    assert_eq!(scores.blocks.first_message_deliveries, router.blocks.first_message_deliveries);
    assert!((2.5..=3.0).contains(&scores.blocks.first_message_deliveries), "{scores:?}");
    assert!(scores.total > 0.0 && (scores.total - router.total).abs() < 0.1);
    net.pass(16 * SECOND);
    let remembered = net.peers(0).book().get(&sender).expect("known").scores.gossip;
    assert!(remembered.total > 0.0 && remembered.blocks.time_in_mesh > 10.0, "{remembered:?}");
}

#[test]
fn a_bad_score_outlasts_the_connection() {
    let mut config = routing(1);
    config.peers.bans.is_enabled = false;
    config.peers.min_score = None;
    let mut net = Net::new([config]);
    let bad = who(stranger(1));
    net.meet(stranger(1), 0);
    net.send(stranger(1), 0, &[7; 80]);
    let score = net.peers(0).score(net.now, &bad);
    assert!(score < -100.0);
    net.disconnect(stranger(1), 0);
    assert_eq!(net.peers(0).score(net.now, &bad), score);
    net.pass(20 * SECOND);
    net.meet(stranger(1), 0);
    assert_eq!(net.peers(0).score(net.now, &bad), score);
}

#[test]
fn twelve_nodes_at_one_address_lose_score_but_browsers_do_not() {
    let limits = LimitsConfig::default();
    let limits = LimitsConfig { tcp: limits.browser, ..limits };
    let peers = PeersConfig { limits, ..PeersConfig::default() };
    let mut net = Net::new([NodeConfig { peers, ..routing(1) }]);
    let ip = Some(core::net::IpAddr::from([10, 0, 0, 7]));
    for (door, from, penalty) in [(Door::Browser, 140, 0.0), (Door::Tcp, 120, -35.0 * 4.0)] {
        for number in from..from + 12 {
            let (id, peer) = (ConnectionId(number as u64), who(number));
            for knock in [
                Knock::Accept { id, door, ip },
                Knock::Secured { id, door, peer, ip, is_inbound: true },
            ] {
                net.seats[0].node.knock(net.now, &knock).expect("there is room");
            }
            net.tell(0, Input::Connected(peer));
        }
        assert_eq!(net.peers(0).score(net.now, &who(from)), 0.0);
        net.pass(SECOND);
        assert_eq!(net.peers(0).score(net.now, &who(from)), penalty);
    }
}

#[test]
fn the_node_knows_the_size_of_its_mesh_without_a_report() {
    let mut net = Net::new(
        (0..2).map(|seed| NodeConfig { role: crate::trouble::Role::Gateway, ..routing(seed) }),
    );
    let lacks = |net: &Net| net.seats[0].node.not_ready(net.now).contains(&NotReady::NoMesh);
    assert!(lacks(&net));
    net.connect(0, 1);
    net.pass(SECOND);
    assert!(!lacks(&net));
    net.disconnect(0, 1);
    assert!(lacks(&net));
}

#[test]
fn a_large_block_is_taken_whole_and_relayed() {
    let mut net = Net::line(3);
    let large = changed(V4, |payload| {
        let mut bytes = vec![2; 600_000];
        let mut state = 1_u64;
        bytes[1..].iter_mut().for_each(|byte| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        });
        payload.transactions.push(bytes.into());
    });
    assert!(data(&signed(&large)).len() > 500_000);
    net.publish(0, 1, &large);
    assert_eq!(net.seats[2].head(), Some(id(&large)));
}

#[test]
fn a_node_without_a_router_ignores_streams() {
    let mut conversation = Conversation::on(V4);
    let event = crate::mesh::StreamEvent::Frame(peer(1), vec![1, 2, 3].into());
    conversation.tell(Input::Mesh(event));
    assert_eq!(conversation.said(), []);
    let now = conversation.now;
    assert_eq!(conversation.node.transmit(now, &peer(1), 1 << 20), None);
    assert!(conversation.node.router().is_none());
}
